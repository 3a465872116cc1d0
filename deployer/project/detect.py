"""What a project says about itself: found by reading its files, never by importing them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deployer.config import Config
from deployer.errors import ConfigError
from deployer.project import git, lockfile
from deployer.project.django import (
    TextFiles,
    last_string,
    literal,
    module_text,
    settings_module,
    settings_values,
    strings,
    tree,
)
from deployer.project.files import JUNK_DIRECTORIES
from deployer.project.lockfile import Lock, find_lock
from deployer.project.shipped import parse_toml
from deployer.wire.advice import do
from deployer.wire.causes import Cause
from deployer.wire.protocol import APP, APP_LENGTH, WEB

__all__ = ["CAUSES", "DiskFiles", "Lock", "Project", "TextFiles", "complete", "find_lock", "inspect"]

SEVERAL_APPS = Cause(
    "several-apps",
    "deploy.toml names no application, and the files that ship have several",
    "several applications are among the files that ship: {several}",
    do("write one of them into deploy.toml: [web] {first}"),
)
NO_APP = Cause(
    "no-app",
    "deploy.toml names no application, and the files that ship have none that is known by its looks",
    "no WSGI or ASGI application was found in the files that ship",
    do('write it into deploy.toml: [web] wsgi = "shop.wsgi:application" (or asgi, or command){without}'),
)
CAUSES = (SEVERAL_APPS, NO_APP)
HEALTH = re.compile(r"""path\(\s*r?["']\^?(/?(?:healthz?|health[-_]check|livez|readyz|ping|up|status)/?)\$?["']""")
FRAMEWORKS = {"Flask": "wsgi", "FastAPI": "asgi", "Starlette": "asgi", "Litestar": "asgi", "Quart": "asgi"}
MODULES = ("wsgi.py", "asgi.py", "app.py", "main.py")
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


def complete(config: Config, files: TextFiles) -> Config:
    """The config with ``wsgi`` or ``asgi`` filled in from the files that ship, when no callable is set and one is
    needed.

    Raises ConfigError saying what to write when the files do not tell.
    """
    if not config.runs_web or config.web.wsgi or config.web.asgi or config.web.command:
        return config
    settings = settings_module(files)
    found = find_callables(files, settings_values(files, settings) if settings else {}, settings)
    if several := choices(found, settings):
        raise ConfigError(
            **SEVERAL_APPS.told(several=", ".join(several), first=several[0]),
            state="nothing was touched",
        )
    kind = choose_kind(found, config.web.server)
    if kind is None:
        raise ConfigError(
            **NO_APP.told(without=without(config)),
            state="nothing was touched",
        )
    return msgspec.structs.replace(config, web=msgspec.structs.replace(config.web, **{kind: found[kind][0]}))


def without(config: Config) -> str:
    """How to say that a host has no web process, where something else could run there."""
    others = [name for name in config.roles.names if name != WEB]
    host = next(iter(config.hosts), "HOST")
    return f'; or that there is none: [hosts."{host}"] processes = {json.dumps(others)}' if others else ""


def choose_kind(found: dict[str, list[str]], server: str | None) -> str | None:
    """``wsgi`` or ``asgi``: what the server asks for, else WSGI, which any Django app can do; or None."""
    order = ("asgi", "wsgi") if server in ("uvicorn", "hypercorn") else ("wsgi", "asgi")
    allowed = order[:1] if server else order
    return next((kind for kind in allowed if kind in found), None)


def find_callables(files: TextFiles, values: dict[str, ast.expr], settings: str | None) -> dict[str, list[str]]:
    """``wsgi`` and ``asgi``, as far as found: as the settings say, beside them, or those of a framework."""
    package = (settings or "").partition(".")[0]
    found: dict[str, list[str]] = {}
    for kind in ("wsgi", "asgi"):
        named = literal(values.get(f"{kind.upper()}_APPLICATION"))
        if isinstance(named, str) and "." in named and settings:
            found[kind] = [":".join(named.rsplit(".", 1))]
        elif package and files.read_text(f"{package}/{kind}.py") is not None:
            found[kind] = [f"{package}.{kind}:application"]
    return found or framework_applications(files)


def framework_applications(files: TextFiles) -> dict[str, list[str]]:
    """The applications that the usual modules at the top assign: ``app = Flask(__name__)`` and its like."""
    found: dict[str, list[str]] = {}
    for name in MODULES:
        for node in tree(files.read_text(name)).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                called, target = node.value.func, node.targets[0]
                kind = FRAMEWORKS.get(getattr(called, "id", getattr(called, "attr", "")))
                if kind and isinstance(target, ast.Name):
                    found.setdefault(kind, []).append(f"{name.removesuffix('.py')}:{target.id}")
    return found


def choices(found: dict[str, list[str]], settings: str | None) -> list[str]:
    """All of a framework's applications, when there is more than one. A Django project's are two faces of one."""
    several = not settings and sum(map(len, found.values())) > 1
    return [f"{kind} = {json.dumps(name)}" for kind, names in found.items() for name in names] if several else []


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
