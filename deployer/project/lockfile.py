"""The file that pins an app's dependencies, among those that ship, and all that an installer reads besides it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import ConfigError
from deployer.project import pylock, requirements, uvlock
from deployer.project.shipped import Reads, Shipped
from deployer.project.source import Source
from deployer.wire.advice import do, run
from deployer.wire.causes import Cause

NO_LOCK = Cause(
    "no-lock",
    "no uv.lock, pylock.toml or requirements.txt is among the files that ship, and a server is to be installed",
    "none of {kinds} ships with the code: the dependencies are not known",
    run("uv lock", "or pip freeze > requirements.txt") + do("then git add and commit the file"),
)
NOT_PINNED = Cause(
    "not-pinned",
    "a requirement names no version, commit or hash, and `--strict` or `release.locked` asks for one",
    "{loose}",
    run("uv lock", "or uv pip compile requirements.in -o requirements.txt")
    + do("or pin each: a commit after the @ of git+…, #sha256=… after any other URL; then commit")
    + do("or deploy without --strict and release.locked"),
)
NOT_INSTALLED = Cause(
    "not-installed",
    "the lock has a program that is to run, and only through an extra, a group or a condition that no host installs",
    "{program} is in {path} only through {where}, which is not installed on a host",
    do("make it a dependency of the project itself ({add}), then commit"),
)
CAUSES = (NO_LOCK, NOT_PINNED, NOT_INSTALLED)
KINDS = {"uv.lock": "uv", "pylock.toml": "pylock", "requirements.txt": "requirements"}
"""File names, the first that ships wins."""
_READERS: Mapping[str, Callable[[Shipped, str], Reads]] = {
    "uv": uvlock.read,
    "pylock": pylock.read,
    "requirements": requirements.read,
}
_SHOWN = 5
_PYTHON_VERSION = ".python-version"
_VERSION = re.compile(r"(?:cpython[@-]|python)?(3\.[0-9]{1,2})(?:\.[0-9]+)?")
"""A patch release is the host's to choose: it has one Python 3.12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``kind`` is ``uv``, ``pylock``, ``requirements`` or ``none``; ``path`` the file or ``""``.

    ``files`` and ``directories`` (``.``: the project) are all that an installer reads: with their contents, they name
    the environment on a host. ``requires`` is what the lock says of Python; beside requirements, which say nothing of
    it, what the project says. ``floating`` are requirements that are not
    pinned, each as ``file:line: text``; ``warnings`` are for the user, one line each.
    """

    kind: str
    path: str = ""
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    requires: str = ""
    floating: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    """The Python (``3.12``) that ``.python-version`` asks for, as uv and pyenv read it, where ``requires`` is empty."""

    @property
    def says_python(self) -> str:
        """The file that ``requires`` is from."""
        return "pyproject.toml" if self.kind == "requirements" else self.path

    @property
    def loose(self) -> str:
        """What is said once of the requirements that are not pinned; empty when all are."""
        if not self.floating:
            return ""
        more = f"; and {len(self.floating) - _SHOWN} more" if len(self.floating) > _SHOWN else ""
        return (
            "not pinned to a version, a commit or a hash, so that it is never updated and hosts may differ: "
            f"{'; '.join(self.floating[:_SHOWN])}{more}"
        )

    def refuse_loose(self) -> None:
        """Raises ConfigError when a requirement is not pinned."""
        if self.loose:
            raise ConfigError(
                **NOT_PINNED.told(loose=self.loose),
                state="nothing was touched",
            )

    def refuse_absent(self, programs: Collection[str]) -> None:
        """Raises ConfigError for a program whose package the lock has, and no host will be given."""
        for program in programs:
            if where := self.absent.get(program):
                raise ConfigError(
                    **NOT_INSTALLED.told(program=program, path=self.path, where=where, add=_add(self.kind, program)),
                    state="nothing was touched",
                )


def _add(kind: str, program: str) -> str:
    return f"uv add {program}" if kind == "uv" else f"and lock again, for {program} to be in it without a condition"


def find_lock(source: Source, *, required: bool = True) -> Lock:
    """The lock among the files that ship.

    ``required``: none is a ConfigError that says how to make one (an app with its own ``command`` may do
    without). Raises ConfigError for what a lock names and an installer would not find.
    """
    shipped = Shipped(source)
    path = next((name for name in KINDS if shipped.is_file(name)), None)
    if path is None and required:
        raise ConfigError(
            **NO_LOCK.told(kinds=", ".join(KINDS)),
            state="nothing was touched",
        )
    if path is None:
        return Lock(kind="none", warnings=tuple(_not_installed(shipped)))
    reads = _read(shipped, path).joined(settings(shipped))
    files, directories = shipped.closed(reads.files, reads.directories)
    requires = _requires(shipped) if KINDS[path] == "requirements" else reads.requires
    python, unused = ("", "") if requires else _python_version(shipped)
    return Lock(
        kind=KINDS[path],
        path=path,
        files=files,
        directories=directories,
        requires=requires,
        python=python,
        floating=reads.floating,
        warnings=(*(_whole(path) if "." in directories else ()), *filter(None, [unused])),
        absent=reads.absent,
    )


def _read(shipped: Shipped, path: str) -> Reads:
    try:
        return _READERS[KINDS[path]](shipped, path)
    except (AttributeError, KeyError, TypeError) as error:  # TOML, but of another shape
        raise ConfigError(
            message=f"{path} is not what its name says ({error})", next=do("lock again, and commit")
        ) from None


def _requires(shipped: Shipped) -> str:
    """The Python that the project says it needs: no installer of requirements reads that."""
    table = shipped.toml("pyproject.toml").get("project")
    requires = table.get("requires-python") if isinstance(table, dict) else None
    return requires.replace(" ", "") if isinstance(requires, str) else ""


def _python_version(shipped: Shipped) -> tuple[str, str]:
    """The Python that ``.python-version`` asks for, in its first line; and a warning when that is not used."""
    lines = (line.partition("#")[0].strip() for line in (shipped.text(_PYTHON_VERSION) or "").splitlines())
    asked = next(filter(None, lines), "")
    found = _VERSION.fullmatch(asked)
    if found or not asked:
        return (found[1] if found else ""), ""
    return "", f'{_PYTHON_VERSION} asks for {asked!r}, which is not used: python = "3.12" in deploy.toml, say, is'


def _not_installed(shipped: Shipped) -> Iterator[str]:
    """What the project depends on, and nothing pins: an app with its own command runs without it."""
    table = shipped.toml("pyproject.toml").get("project")
    if isinstance(table, dict) and table.get("dependencies"):
        yield f"pyproject.toml has dependencies, and none of {', '.join(KINDS)} ships: none of them is installed"


def _whole(path: str) -> Iterator[str]:
    yield (
        f"{path} installs the project itself, so that every change of the code rebuilds the environment; the code's "
        "own directory is importable without that"
    )


def settings(shipped: Shipped) -> Reads:
    """uv's own settings in the project: it reads them whatever the lock."""
    if shipped.is_file("uv.toml"):
        return _local("uv.toml", shipped.toml("uv.toml"))
    table = shipped.toml("pyproject.toml").get("tool")
    own = table.get("uv") if isinstance(table, dict) else None
    return _local("pyproject.toml", own) if isinstance(own, dict) else Reads()


def _local(path: str, table: Mapping[str, Any]) -> Reads:
    """The file with the settings, and the directories of wheels that they name."""
    index = table.get("index", ())
    urls = [one.get("url") for one in index if isinstance(one, dict)] if isinstance(index, list) else []
    for place in (table, table.get("pip", {})):
        links = place.get("find-links", ()) if isinstance(place, dict) else ()
        urls += links if isinstance(links, list) else []
    local = [posixpath.normpath(url) for url in urls if isinstance(url, str) and "://" not in url]
    return Reads(files=(path,), directories=tuple(one for one in local if not one.startswith(("/", ".."))))
