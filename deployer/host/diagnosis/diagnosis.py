"""Finds the cause in what a failed process printed: exception types, error numbers, names and paths, no prose.

A few sentences are matched all the same, because they never vary and nothing else tells: SQLite's, gunicorn's, those of
compilers, loaders and shells (``missing``).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from deployer.host.diagnosis import missing
from deployer.host.diagnosis.causes import (
    COMMAND_ERROR,
    DISK_FULL,
    HEALTH_HOST,
    HEALTH_LOGIN,
    HEALTH_PATH,
    HEALTH_SLOW,
    KILLED,
    MIGRATION_BROKE_OFF,
    MIGRATION_NEVER_BEGAN,
    MISSING_LIBRARY,
    MISSING_MODULE,
    MISSING_PACKAGE,
    MISSING_PROGRAM,
    MISSING_TO_BUILD,
    MISSING_VARIABLE,
    NO_DATABASE,
    NO_MEMORY,
    NOT_ALLOWED,
    PORT_IN_USE,
    READ_ONLY_CODE,
)
from deployer.host.system import ownership
from deployer.wire.advice import Next
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["Explanation", "from_command", "from_end", "from_migration", "from_output", "from_response"]

_EXCEPTION = pattern(r"(?:\w+\.)*(?P<type>[A-Z]\w*)(?:: (?P<text>.*))?")
_TYPES = ("Error", "Exception", "Configured", "Exit", "Interrupt", "Warning")
_FRAME = pattern(r'\s+File "(?P<file>[^"]+)", line \d+, in (?P<function>.+)')
_TRACEBACK = "Traceback (most recent call last):"
_NAME = pattern(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b")
_ERRNO = pattern(r"\[Errno ([0-9]{1,4})\][^']*(?:'([^']*)'.*)?")
_SQLITE = ("unable to open database file", "attempt to write a readonly database")
_MIGRATING = ("/migrations/", "alembic/runtime/", "/versions/")
_LACKS = {
    missing.HEADER: MISSING_TO_BUILD,
    missing.TOOL: MISSING_TO_BUILD,
    missing.LIBRARY: MISSING_LIBRARY,
    missing.PROGRAM: MISSING_PROGRAM,
}
_SERVICES = {
    name: f"have the host set it: [host.{service}] in deploy.toml, fab setup -H root@HOST, then fab deploy"
    for name, service in (("DATABASE_URL", "postgresql"), ("REDIS_URL", "redis"))
}
_LATEST = 3
"""How many exceptions, from the last, belong to one failure: each may have been raised while handling another."""


@dataclass(frozen=True)
class Explanation:
    """A recognized cause and its values. ``why`` follows the message of what failed; ``next`` is the advice."""

    cause: Cause
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def why(self) -> str:
        text = self.cause.message.format(**self.values)
        return f": {text}" if text else ""

    @property
    def next(self) -> Next:
        return self.cause.advice(**self.values)


@dataclass(frozen=True)
class _PythonError:
    """An exception as Python prints it, with the frames above it, each a file and a function."""

    type: str
    text: str
    frames: tuple[tuple[str, str], ...]


def from_output(lines: Sequence[str], app: str, code: Path, default: Cause = COMMAND_ERROR) -> Explanation:
    """Why a command, or a process of the release with its code at ``code``, failed, from the lines it printed."""
    for raised in reversed(_raised(lines)[-_LATEST:]):
        found = _of_exception(raised, app, code)
        if found is not None:
            return found
    if lack := missing.lacking(lines):
        return _of_lack(lack)
    if any("Connection in use: (" in line or "[Errno 98]" in line for line in lines[-50:]):
        return Explanation(PORT_IN_USE)
    return Explanation(default, {"app": app})


def from_command(status: int, lines: Sequence[str], app: str, code: Path) -> Explanation:
    """Why a command ended with ``status``. A shell reports 137 for a command killed by SIGKILL."""
    return Explanation(KILLED) if status in (137, -9) else from_output(lines, app, code)


def from_end(result: str, signal: str) -> Explanation | None:
    """The cause in how systemd says a process ended (``Result=``, and the signal); None when there is none."""
    if result == "oom-kill":
        return Explanation(NO_MEMORY)
    return Explanation(KILLED) if signal == "SIGKILL" else None


def from_response(status: int, path: str, timeout: float) -> Explanation | None:
    """Why a health check got ``status`` (0: no response); None when only the log can tell."""
    if status == 0:
        return Explanation(HEALTH_SLOW, {"timeout": timeout})
    if status == 400:
        return Explanation(HEALTH_HOST)
    if status in (404, 405, 410):
        return Explanation(HEALTH_PATH, {"path": path})
    if status in (401, 403, 407) or 300 <= status < 400:
        return Explanation(HEALTH_LOGIN)
    return None


def from_migration(lines: Sequence[str], app: str, code: Path, status: int = 1) -> Explanation:
    """Why a migration failed, and whether it can have changed the database."""
    raised = _raised(lines)
    first = next((line for line in lines if line.strip()), "")
    began = first != _TRACEBACK or any(part in file for one in raised for file, _ in one.frames for part in _MIGRATING)
    why = from_command(status, lines, app, code)
    if not raised or began:
        return Explanation(_with(why.cause, MIGRATION_BROKE_OFF), why.values)
    return Explanation(_with(why.cause, MIGRATION_NEVER_BEGAN), why.values)


def _with(cause: Cause, end: Cause) -> Cause:
    """The cause of a failed migration, with what the migration may have done."""
    known = end is MIGRATION_NEVER_BEGAN
    message = "; ".join(filter(None, (cause.message, end.message)))
    return Cause(end.name, end.when, message, cause.next if known else Next((*end.next[:1], *cause.next)))


def _raised(lines: Iterable[str]) -> list[_PythonError]:
    """The exceptions of all tracebacks in order; of equal ones only the last."""
    found: dict[tuple[str, str], _PythonError] = {}
    frames: list[tuple[str, str]] = []
    inside = False
    for line in lines:
        frame, exception = _FRAME.fullmatch(line), _EXCEPTION.fullmatch(line)
        if line.strip() == _TRACEBACK:
            frames, inside = [], True
        elif frame:
            frames.append((frame["file"], frame["function"]))
            inside = True
        elif inside and exception and exception["type"].endswith(_TYPES):
            one = _PythonError(exception["type"], exception["text"] or "", tuple(frames))
            found.pop((one.type, one.text), None)
            found[one.type, one.text] = one
            inside = False
    return list(found.values())


def _of_exception(raised: _PythonError, app: str, code: Path) -> Explanation | None:
    quoted = re.search(r"'([^']*)'", raised.text)
    name = quoted[1] if quoted else ""
    if raised.type == "ModuleNotFoundError" and name:
        own = _is_own(name.partition(".")[0], code)
        return Explanation(MISSING_MODULE if own else MISSING_PACKAGE, {"module": name})
    if lack := missing.lacking([raised.text]):
        return _of_lack(lack)
    variable = _variable(raised, name)
    if variable:
        return Explanation(MISSING_VARIABLE, {"name": variable, "other": _SERVICES.get(variable, "")})
    if raised.type == "MemoryError":
        return Explanation(NO_MEMORY)
    if raised.type == "OperationalError":
        return _of_database(raised, app)
    return _of_errno(raised, app)


def _of_lack(lack: missing.Lack) -> Explanation:
    """What the host lacks. A package that is not known has to be looked for."""
    named = ", ".join(f'"{name}"' for name in lack.packages)
    return Explanation(_LACKS[lack.kind], {"what": lack.name, "packages": named or f"the package that has {lack.name}"})


def _is_own(top: str, code: Path) -> bool:
    """Whether a module belongs to the project's code. The process chose the name and the build what is there: no link
    in the code is followed, and no name leads out of it."""
    root = Path(os.path.realpath(str(code)))  # a release's link to its tree, which is root's
    places = (f"{below}{top}{end}" for below in ("", "src/") for end in ("", ".py"))
    return top.isidentifier() and any(_is_there(root, place) for place in places)


def _is_there(root: Path, path: str) -> bool:
    with contextlib.suppress(OSError):
        return ownership.mode_below(root, path) != 0
    return False


def _variable(raised: _PythonError, name: str) -> str:
    """The name of the missing environment variable; empty when the exception is not about one."""
    if raised.type == "KeyError":
        asked = any(file.endswith(("<frozen os>", "/os.py")) for file, _ in raised.frames)
        return name if asked and _NAME.fullmatch(name) else ""
    if raised.type in ("UndefinedValueError", "ImproperlyConfigured"):
        of_environ = raised.type == "UndefinedValueError" or any("environ" in file for file, _ in raised.frames)
        named = next((word for word in _NAME.findall(raised.text) if len(word) > 2), "")
        return named if of_environ or named == "SECRET_KEY" else ""
    return ""


def _of_database(raised: _PythonError, app: str) -> Explanation | None:
    if raised.text.startswith(_SQLITE):
        return Explanation(READ_ONLY_CODE, {"path": " to an SQLite file beside the code", "app": app})
    if any("connect" in function for _, function in raised.frames) and "sqlite" not in str(raised.frames):
        return Explanation(NO_DATABASE, {"what": "its database"})
    return None


def _of_errno(raised: _PythonError, app: str) -> Explanation | None:
    error = _ERRNO.fullmatch(raised.text)
    if error is None:
        return None
    number, path = int(error[1]), error[2] or ""
    if number == 2 and "/" not in path and any(function == "_execute_child" for _, function in raised.frames):
        return _of_lack(missing.program(path))
    if number == 98:
        return Explanation(PORT_IN_USE)
    if number == 111:
        return Explanation(NO_DATABASE, {"what": "a service that it needs"})
    if number == 28:
        return Explanation(DISK_FULL)
    in_code = not os.path.isabs(path) or path.startswith(f"/srv/{app}/")
    if number == 30 or (number == 13 and path and in_code):
        return Explanation(READ_ONLY_CODE, {"path": f" to {path}" if path else "", "app": app})
    if number in (1, 13) and path:
        return Explanation(NOT_ALLOWED, {"path": path, "app": app})
    return None
