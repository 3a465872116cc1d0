"""All that is found of a project, in one value."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from deployer.project import git
from deployer.project.detect import health
from deployer.project.detect.application import choices, find_applications, of_django
from deployer.project.detect.disk import DiskFiles
from deployer.project.detect.frameworks import Application
from deployer.project.detect.locks import LockChoice, choose_lock, read_toml
from deployer.project.detect.procfile import Procfile, parse_procfile
from deployer.project.django import SETTINGS, Below, choose_settings, module_path
from deployer.project.django.site import Site, inspect_settings
from deployer.project.locks.lockfile import KINDS
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import APP, APP_LENGTH

__all__ = ["Project", "inspect"]

GENERIC = frozenset({"config", "core", "conf", "project", "settings", "backend", "src", "app", "main", "mysite", "api"})
_DEPTH = 2
"""Directories below the project's in which a manage.py is looked for."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """What was found; None (or empty) for what was not. Paths are relative to the root, with ``/``.

    ``directory`` is where the app runs, ``path`` where its modules are, relative to that (both empty: at the top).
    ``choices`` are the applications, as ``wsgi = "app:app"``, when there are several; ``elsewhere`` the directories
    below that have one, likewise. ``host`` is the site's name, ``confirmed`` when a person said so.
    """

    files: DiskFiles
    name: str
    git: bool = False
    directory: str = ""
    path: str = ""
    manage: bool = False
    elsewhere: tuple[str, ...] = ()
    django: Site | None = None
    wsgi: str | None = None
    asgi: str | None = None
    args: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    lock: LockChoice = field(default_factory=LockChoice)
    procfile: Procfile = field(default_factory=Procfile)
    celery: str = ""
    health: str = "/"
    host: str = ""
    confirmed: bool = False

    @property
    def root(self) -> Path:
        """The project's directory."""
        return self.files.root

    @property
    def is_python(self) -> bool:
        """Whether there is anything to deploy."""
        return self.manage or bool(self.wsgi or self.asgi or self.lock.path or self.lock.other or self.procfile.web)


def inspect(files: DiskFiles, *, directory: str = "", host: str = "") -> Project:
    """Read the project's files on the disk, as far as they matter. Raises nothing for files that cannot be read or
    understood.

    ``directory`` is where the app runs, and ``host`` the name of its site, as far as their user said so.
    """
    procfile = parse_procfile(files.read_text("Procfile") or "")
    places = [directory] if directory else _places(files, procfile)
    place = places[0] if len(places) == 1 else ""
    return _inspect(files, procfile, place, tuple(places) if len(places) > 1 else (), host)


def _places(files: DiskFiles, procfile: Procfile) -> list[str]:
    """Where the app may run: where manage.py is, or what the Procfile says, or the one directory with a lock."""
    if _is_manage(files.read_text("manage.py")):
        return [""]
    named = [path for path in files.named("manage.py", _DEPTH) if _is_manage(files.read_text(path))]
    manages = [path.rpartition("/")[0] for path in named]
    if procfile.directory and any(path.startswith(f"{procfile.directory}/") for path in files.paths):
        return [procfile.directory]
    if manages or _has_application(files, "") or _has_application(files, "src"):
        return manages or [""]
    names = ("pyproject.toml", *KINDS)
    projects = {path.rpartition("/")[0] for name in names for path in files.named(name, _DEPTH) if "/" in path}
    return [place for place in sorted(projects) if _has_application(files, place)] or [""]


def _is_manage(text: str | None) -> bool:
    """Whether a manage.py is Django's: other projects have programs of that name."""
    return text is not None and (SETTINGS in text or "execute_from_command_line" in text)


def _has_application(files: DiskFiles, directory: str) -> bool:
    below = Below(files, directory) if directory else files
    return bool(find_applications(below, {}, files.directories(directory)))


def _inspect(files: DiskFiles, procfile: Procfile, place: str, elsewhere: tuple[str, ...], host: str) -> Project:
    below = Below(files, place) if place else files
    manage = not elsewhere and _is_manage(below.read_text("manage.py"))
    choice = choose_settings(below, files.directories(place))
    make = functools.partial(_made, files, procfile, place, elsewhere, manage, host)
    if choice is not None and not elsewhere:
        site = inspect_settings(below, choice, place, host)
        found = of_django(below, choice.module, site.values)
        celery = _celery(below, choice.module)
        return make(found=found, site=site, health=health.of_django(below, site.values), celery=celery)
    if elsewhere:
        return make(found={})
    found = find_applications(below, {}, files.directories(place))
    path = "" if found or not files.directories(f"{place}/src".lstrip("/")) else "src"
    if path:
        inner = f"{place}/src".lstrip("/")
        found = find_applications(Below(files, inner), {}, files.directories(inner))
    first = next((one for kind in ("wsgi", "asgi") for one in found.get(kind, ())), None)
    modules = Below(below, path) if path else below
    text = _text_of(modules, first.target) if first else ""
    return make(found=found, path=path if found else "", health=health.of_framework(text))


def _made(
    files: DiskFiles,
    procfile: Procfile,
    place: str,
    elsewhere: tuple[str, ...],
    manage: bool,
    host: str,
    *,
    found: dict[str, list[Application]],
    site: Site | None = None,
    path: str = "",
    health: str = "/",
    celery: str = "",
) -> Project:
    if procfile.target and site is None:
        one = Application(kind=procfile.kind, target=procfile.target)
        found = {procfile.kind: [one]}
    firsts = {kind: several[0] for kind, several in found.items() if several}
    several = choices(found)
    if procfile.kind and site is not None and procfile.kind in firsts:
        firsts = {procfile.kind: firsts[procfile.kind]}
    args = procfile.args or next((one.args for one in firsts.values()), ())
    return Project(
        files=files,
        name=guess_name(files, site.settings if site else None, place),
        git=git.dot_git(files.root) is not None,
        directory=place,
        path=path,
        manage=manage,
        elsewhere=elsewhere,
        django=site,
        wsgi=firsts["wsgi"].key if "wsgi" in firsts else None,
        asgi=firsts["asgi"].key if "asgi" in firsts else None,
        args=args,
        choices=tuple(several),
        lock=choose_lock(files, place),
        procfile=procfile,
        celery=celery,
        health=health,
        host=host or (site.host if site else None) or "",
    )


def _celery(files: Below | DiskFiles, settings: str) -> str:
    """The package whose ``celery`` module makes an app of Celery; empty when there is none."""
    parts = settings.split(".")
    packages = [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    return next((one for one in packages if module_path(files, f"{one}.celery") is not None), "")


def _text_of(files: Below | DiskFiles, target: str) -> str:
    path = module_path(files, target.partition(":")[0])
    return (files.read_text(path) if path else None) or ""


def guess_name(files: DiskFiles, settings: str | None, place: str) -> str:
    """A name for the app: the distribution's, the settings package's or the directory's, made to fit."""
    package = (settings or "").partition(".")[0]
    for name in (*_project_names(files, place), "" if package in GENERIC else package, files.root.absolute().name):
        fitting = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")[:APP_LENGTH].strip("-")
        if APP.fullmatch(fitting):
            return fitting
    return "app"


def _project_names(files: DiskFiles, place: str) -> Iterator[str]:
    """``name`` in pyproject.toml, of the project or of its directory; also where Poetry has it."""
    for path in dict.fromkeys((f"{place}/pyproject.toml".lstrip("/"), "pyproject.toml")):
        tables = read_toml(files, path)
        tool = tables.get("tool")
        for table in (tables.get("project"), tool.get("poetry") if isinstance(tool, dict) else None):
            name = table.get("name") if isinstance(table, dict) else None
            if isinstance(name, str) and name.lower() not in GENERIC:
                yield name
