"""What speaks against setting up a directory: said before anything is written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deployer.errors import ConfigError
from deployer.project.detect import Project
from deployer.project.locks.lockfile import KINDS
from deployer.wire.advice import Advice, Next, do, run

__all__ = ["chosen", "refuse_mistake", "refuse_place"]


def chosen(project: Project, *, wsgi: str, asgi: str) -> Project:
    """The project with what its user says of the application."""
    if not wsgi and not asgi:
        return project
    return replace(project, wsgi=wsgi or None, asgi=asgi or None, args=(), choices=())


def refuse_place(root: Path) -> None:
    """Raises ConfigError for the root directory and for home, before all that is below them is read."""
    root, home = root.absolute(), os.path.expanduser("~")  # noqa: PTH111  (Path.home() raises for an unknown user)
    if root in (Path(root.anchor), Path(home)) and not (root / "deploy.toml").exists():
        raise ConfigError(
            message=f"{root} is no project's directory",
            state="nothing was written",
            next=Next.of("cd to the project, then deployer init"),
        )


def refuse_mistake(project: Project) -> None:
    """Raises ConfigError for a directory that is not a project, before anything is written."""
    root = project.root.absolute()
    if (root / "deploy.toml").exists():
        return  # typed again: what is missing is added
    for why, next in _mistakes(project, root):
        raise ConfigError(message=why, state="nothing was written", next=Next.of(next))


def _mistakes(project: Project, root: Path) -> Iterator[tuple[str, Advice]]:
    """What speaks against this directory, and what to type instead."""
    above = next((place for place in root.parents if (place / "deploy.toml").exists()), None)
    if above is not None:
        yield (
            f"{root} belongs to {above / 'deploy.toml'}, which is used in all directories below it",
            "edit that file; or move this app out of that directory, then deployer init in its own",
        )
    yield from _ambiguous(project)
    yield from _below_the_project(project, root)
    if not (project.is_python or has_python(root)):
        yield f"there is no Python project in {root}", "cd to the project, then deployer init"


def _ambiguous(project: Project) -> Iterator[tuple[str, Advice]]:
    if project.choices:
        yield (
            f"several applications were found: {', '.join(project.choices)}",
            f"deployer init --{project.choices[0].replace(' = ', '=')}   (or one of the others)",
        )
    if project.elsewhere:
        found = ", ".join(f"{place}/" for place in project.elsewhere)
        yield (
            f"{len(project.elsewhere)} apps are below this directory, and none is in it: {found}",
            run(f"deployer init --directory {shlex.quote(project.elsewhere[0])}", "or another one of them"),
        )


def _below_the_project(project: Project, root: Path) -> Iterator[tuple[str, Advice]]:
    """A part of a project: its manage.py, or its lock file, is above."""
    manage = next((place for place in root.parents[:3] if (place / "manage.py").is_file()), None)
    if manage is not None and not (project.manage or project.lock.path):
        yield (
            f"the Django project is above {root}: {manage / 'manage.py'}",
            run(f"cd {shlex.quote(str(manage))} && deployer init"),
        )
    above = _lock_above(project, root)
    if above is not None:
        command = f"cd {shlex.quote(str(above.parent))} && deployer init"
        here = shlex.quote(root.relative_to(above.parent).as_posix())
        yield (
            f"the dependencies of {root} are above it, and what is above deploy.toml does not ship: {above}",
            run(f"{command} --directory {here}") + do("or give it a lock file of its own"),
        )


def _lock_above(project: Project, root: Path) -> Path | None:
    """The lock file above a project that has none, within the same repository."""
    runs = project.manage or project.wsgi or project.asgi
    if project.lock.path or project.lock.other or not project.git or not runs:
        return None
    for place in (root, *root.parents):
        found = next((place / name for name in KINDS if (place / name).is_file()), None)
        if found is not None or os.path.lexists(place / ".git"):
            return found
    return None


def has_python(root: Path) -> bool:
    """Whether there is anything of Python at the top, or a package one level down."""
    patterns = ("*.py", "pyproject.toml", "*/__init__.py", "src/*/__init__.py")
    return any(place.name != "fabfile.py" for pattern in patterns for place in root.glob(pattern))
