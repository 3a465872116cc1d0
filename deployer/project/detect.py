"""What a project says about itself: found by reading its files, never by importing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.project import git, lockfile
from deployer.project.application import choices, find_callables
from deployer.project.django import (
    TextFiles,
    last_string,
    literal,
    module_text,
    settings_module,
    settings_values,
    strings,
)
from deployer.project.files import JUNK_DIRECTORIES
from deployer.project.shipped import parse_toml
from deployer.wire.protocol import APP, APP_LENGTH

__all__ = ["DiskFiles", "Project", "inspect"]

HEALTH = re.compile(r"""path\(\s*r?["']\^?(/?(?:healthz?|health[-_]check|livez|readyz|ping|up|status)/?)\$?["']""")
GENERIC = frozenset({"config", "core", "conf", "project", "settings", "backend", "src", "app", "main", "mysite"})


@dataclass(frozen=True, slots=True)
class DiskFiles:
    """The files of a directory."""

    root: Path

    def read_text(self, path: str) -> str | None:
        """A file's text; None when there is none that is UTF-8 text."""
        try:
            return (self.root / path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What was found; None (or empty) for what was not. Paths are relative to the root, with ``/``."""

    root: Path
    name: str
    git: bool = False
    manage: str | None = None
    elsewhere: tuple[str, ...] = ()  # each manage.py in a directory below, when there is none at the root
    settings: str | None = None
    wsgi: str | None = None
    asgi: str | None = None
    choices: tuple[str, ...] = ()  # the applications, as ``wsgi = "app:app"``, when there are several
    lock: str | None = None
    host: str | None = None  # the first host name of ALLOWED_HOSTS
    health: str | None = None
    static_url: str | None = None
    static_root: str | None = None
    migrations: bool = False
    doubts: tuple[str, ...] = ()  # settings that suit a laptop and not a host, a sentence each


def inspect(root: Path) -> Project:
    """Read the project's files on the disk. Raises nothing for files that cannot be read or understood."""
    files = DiskFiles(root)
    settings = settings_module(files)
    values = settings_values(files, settings) if settings else {}
    found = find_callables(files, values, settings)
    callables = {kind: names[0] for kind, names in found.items()}
    django = files.read_text("manage.py") is not None
    return Project(
        root=root,
        name=guess_name(files, settings, root),
        git=git.dot_git(root) is not None,
        manage="manage.py" if django else None,
        elsewhere=() if django else manage_below(root),
        settings=settings,
        wsgi=callables.get("wsgi"),
        asgi=callables.get("asgi"),
        choices=tuple(choices(found, settings) or ([] if django or found else packages_below(root))),
        lock=next((name for name in lockfile.KINDS if files.read_text(name) is not None), None),
        host=next((name for name in strings(values.get("ALLOWED_HOSTS")) if is_host(name)), None),
        health=guess_health(files, values),
        static_url=static_url(values),
        static_root=last_string(values.get("STATIC_ROOT")),
        migrations="DATABASES" in values,
        doubts=tuple(doubts_about(values)),
    )


def doubts_about(values: dict[str, ast.expr]) -> Iterator[str]:
    """What ``startproject`` writes and a host refuses: said before the first deploy does."""
    databases = ast.unparse(values["DATABASES"]) if "DATABASES" in values else ""
    if "sqlite3" in databases and "BASE_DIR" in databases:
        yield (
            "the SQLite database lies in the code, which is read-only on a host: "
            'put it below os.environ.get("STATE_DIRECTORY", BASE_DIR)'
        )
    hosts = values.get("ALLOWED_HOSTS")
    if isinstance(hosts, ast.List) and not hosts.elts:
        yield "ALLOWED_HOSTS is empty: name the site's host there, and under [web] health = { host = … }"
    debug = values.get("DEBUG")
    if isinstance(debug, ast.Constant) and debug.value is True:
        yield 'DEBUG is on: read it from the environment, such as DEBUG = os.environ.get("DEBUG") == "1"'


def is_host(name: str) -> bool:
    """Whether an entry of ALLOWED_HOSTS is a public host's name."""
    return name not in ("localhost", "testserver") and bool(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]+\Z", name))


def static_url(values: dict[str, ast.expr]) -> str | None:
    """STATIC_URL as a prefix with a slash at both ends; None when it is none, or another host's."""
    url = literal(values.get("STATIC_URL"))
    if not isinstance(url, str) or "//" in url or not url.strip("/"):
        return None
    return f"/{url.strip('/')}/"


def guess_health(files: TextFiles, values: dict[str, ast.expr]) -> str | None:
    """The path of a health page in the root URL configuration."""
    module = literal(values.get("ROOT_URLCONF"))
    match = HEALTH.search(module_text(files, module) or "") if isinstance(module, str) else None
    return f"/{match[1].lstrip('/')}" if match else None


def guess_name(files: TextFiles, settings: str | None, root: Path) -> str:
    """A name for the app: the distribution's, the settings package's or the directory's, made to fit."""
    package = (settings or "").partition(".")[0]
    for name in (project_name(files), "" if package in GENERIC else package, root.absolute().name):
        fitting = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")[:APP_LENGTH].strip("-")
        if APP.fullmatch(fitting):
            return fitting
    return "app"


def project_name(files: TextFiles) -> str:
    """``name`` in pyproject.toml; empty when there is none."""
    try:
        name = parse_toml(files.read_text("pyproject.toml") or "").get("project", {}).get("name", "")
    except (ValueError, AttributeError):
        return ""
    return name if isinstance(name, str) else ""


def packages_below(root: Path) -> list[str]:
    """The applications of several packages, each with a ``wsgi.py`` (else ``asgi.py``); none where one has it.

    Without a manage.py nothing says which of them is the project's.
    """
    for kind in ("wsgi", "asgi"):
        below = sorted(path.parent.name for path in root.glob(f"*/{kind}.py"))
        names = [name for name in below if name.isidentifier() and name not in JUNK_DIRECTORIES]
        if names:
            return [f'{kind} = "{name}.{kind}:application"' for name in names] if names[1:] else []
    return []


def manage_below(root: Path) -> tuple[str, ...]:
    """Each manage.py in a directory below, at most two levels down."""
    candidates = sorted((*root.glob("*/manage.py"), *root.glob("*/*/manage.py")))
    kept = [path.relative_to(root).as_posix() for path in candidates]
    return tuple(path for path in kept if not JUNK_DIRECTORIES & set(path.split("/")))
