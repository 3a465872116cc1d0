"""What a process that failed has printed, read for its cause: exception types, error numbers, names, paths; no prose.

Sentences of two libraries are matched all the same, for they never vary and nothing else tells: SQLite, gunicorn.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.host.system import files
from deployer.wire.advice import Next, do, run
from deployer.wire.causes import Cause

__all__ = ["CAUSES", "Found", "ends_of_migration", "of_answer", "of_ending", "of_output", "why_command"]

_AGAIN = run("fab deploy")
_LOGS = run("fab logs -n 200", "all it said")

APP_ERROR = Cause(
    "app-error",
    "the process ends or fails, and none of the causes here explains it",
    "",
    _LOGS + do("fix it, commit, then") + _AGAIN,
)
COMMAND_ERROR = Cause(
    "command-error",
    "a command of the build or a check fails, and none of the causes here explains it",
    "",
    do("its output is above; run it by hand to see it fail, fix it, commit, then") + _AGAIN,
)
MISSING_PACKAGE = Cause(
    "missing-package",
    "`ModuleNotFoundError` names a module that is not in the project's code",
    "the package that has the module {module} is not installed: no locked dependency brings it",
    do("add the package to the dependencies, lock them (uv add, uv lock or requirements.txt), commit, then") + _AGAIN,
)
MISSING_MODULE = Cause(
    "missing-module",
    "`ModuleNotFoundError` names a module below a package of the project's own",
    "the code that was shipped has no module {module}",
    do("is it committed, and spelt as it is imported? what git ignores does not ship (include in deploy.toml)")
    + run("git status --ignored")
    + _AGAIN,
)
MISSING_VARIABLE = Cause(
    "missing-variable",
    "`KeyError` of `os.environ`, `UndefinedValueError` (decouple) or `ImproperlyConfigured` (Django) names a variable",
    "the environment variable {name} is not set",
    do("give {name} a value, in [env] of deploy.toml or, if it is secret, in the env_file that it names; then")
    + _AGAIN,
)
NO_DATABASE = Cause(
    "no-database",
    "an `OperationalError` that is raised while connecting, or a refused connection (`[Errno 111]`)",
    "it cannot connect to {what}",
    do("check that it runs, that this host may reach it, and what [env] or env_file say of it; then") + _AGAIN,
)
READ_ONLY_CODE = Cause(
    "read-only-code",
    "`[Errno 30]` or `[Errno 13]` for a path in the release, or SQLite cannot open or write its file",
    "it writes{path}, and its code is read-only once it is built",
    do("let the app write below $STATE_DIRECTORY (/var/lib/{app}), and the build make what belongs to the code; "
       "commit, then") + _AGAIN,
)  # fmt: skip
NOT_ALLOWED = Cause(
    "not-allowed",
    "`[Errno 13]` or `[Errno 1]` for any other path",
    "the app's user may not use {path}",
    do("give the user {app} the right to it on the host, or relax the sandbox for it: [web.unit] in deploy.toml; then")
    + _AGAIN,
)
DISK_FULL = Cause(
    "app-disk-full",
    "`[Errno 28]`",
    "a file system is full",
    do("make room on the host (df -h), then") + _AGAIN,
)
PORT_IN_USE = Cause(
    "port-in-use",
    "`[Errno 98]`, or gunicorn's own word for it",
    "it binds an address that is in use",
    do("the app gets its socket from systemd: take bind, --bind, --port out of [web], its arguments and its settings "
       "(a free command serves on file descriptor 3); then") + _AGAIN,
)  # fmt: skip
NO_MEMORY = Cause(
    "no-memory",
    "systemd reports `oom-kill`, or it raises `MemoryError`",
    "the memory was not enough for it",
    do("fewer workers, more memory or swap, a higher MemoryMax; or overlap = false under [web], so that one generation "
       "runs at a time") + run("fab logs -n 200", "all it said") + _AGAIN,
)  # fmt: skip
KILLED = Cause(
    "killed",
    "the process is killed by SIGKILL (137), and systemd does not report `oom-kill`",
    "it was killed by SIGKILL; when memory is short the kernel does that",
    do("whether it was for memory, the kernel's log tells: on the host, as root, journalctl -k")
    + run("fab logs -n 200", "all it said")
    + _AGAIN,
)
HEALTH_HOST = Cause(
    "health-host",
    "the health check is answered 400",
    "",
    do('set a name that ALLOWED_HOSTS has: health = {{ host = "shop.example.com" }} under [web] in deploy.toml; then')
    + _AGAIN,
)
HEALTH_PATH = Cause(
    "health-path",
    "the health check is answered 404, 405 or 410",
    "",
    do('is {path} a page of the app? else name one that is: health = {{ path = "/" }} under [web] in deploy.toml; then')
    + _AGAIN,
)
HEALTH_LOGIN = Cause(
    "health-login",
    "the health check is answered 401, 403, 407 or a redirect that health.status does not accept",
    "",
    do("let health.path under [web] in deploy.toml name a page that anybody may see, over https, or add the answer to "
       "health.status; then") + _AGAIN,
)  # fmt: skip
HEALTH_SLOW = Cause(
    "health-slow",
    "no answer comes within health.timeout, and the process runs",
    "",
    do("find what it waits for")
    + _LOGS
    + do("or give it longer: health = {{ timeout = … }} under [web] in deploy.toml (now {timeout:g} s); then")
    + _AGAIN,
)
MIGRATION_NEVER_BEGAN = Cause(
    "migration-never-began",
    "the first thing that the migration prints is a traceback that does not pass through a migration",
    "it ended before it had begun with the database",
    _AGAIN,
)
MIGRATION_BROKE_OFF = Cause(
    "migration-broke-off",
    "the migration fails in any other way: what it had done is not known",
    "",
    do("look at the database: what the migration did before it failed, if anything, is still done") + _AGAIN,
)

CAUSES = (
    APP_ERROR, COMMAND_ERROR, MISSING_PACKAGE, MISSING_MODULE, MISSING_VARIABLE, NO_DATABASE, READ_ONLY_CODE,
    NOT_ALLOWED, DISK_FULL, PORT_IN_USE, NO_MEMORY, KILLED, HEALTH_HOST, HEALTH_PATH, HEALTH_LOGIN, HEALTH_SLOW,
    MIGRATION_NEVER_BEGAN, MIGRATION_BROKE_OFF,
)  # fmt: skip

_EXCEPTION = re.compile(r"(?:\w+\.)*(?P<type>[A-Z]\w*)(?:: (?P<text>.*))?")
_TYPES = ("Error", "Exception", "Configured", "Exit", "Interrupt", "Warning")
_FRAME = re.compile(r'\s+File "(?P<file>[^"]+)", line \d+, in (?P<function>.+)')
_TRACEBACK = "Traceback (most recent call last):"
_NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b")
_ERRNO = re.compile(r"\[Errno ([0-9]{1,4})\][^']*(?:'([^']*)'.*)?")
_SQLITE = ("unable to open database file", "attempt to write a readonly database")
_MIGRATING = ("/migrations/", "alembic/runtime/", "/versions/")
_LATEST = 3
"""So many exceptions, counted from the last, belong to one failure: each may be raised while another is handled."""


@dataclass(frozen=True)
class Found:
    """A cause and what fills it in. ``why`` goes behind the message of what failed."""

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
class _Raised:
    """An exception as Python prints it, with the frames above it: file and function."""

    type: str
    text: str
    frames: tuple[tuple[str, str], ...]

    def passes(self, function: str, file: str = "") -> bool:
        return any(one.endswith(file) and name == function for one, name in self.frames)


def of_output(lines: Sequence[str], app: str, code: Path, default: Cause = COMMAND_ERROR) -> Found:
    """Why a command, or a process of the release whose code is at ``code``, failed, by the lines that it printed."""
    for raised in reversed(_raised(lines)[-_LATEST:]):
        found = _of_exception(raised, app, code)
        if found is not None:
            return found
    if any("Connection in use: (" in line or "[Errno 98]" in line for line in lines[-50:]):
        return Found(PORT_IN_USE)
    return Found(default, {"app": app})


def why_command(status: int, lines: Sequence[str], app: str, code: Path) -> Found:
    """Why a command ended with ``status``. A shell reports 137 for what was killed by SIGKILL."""
    return Found(KILLED) if status in (137, -9) else of_output(lines, app, code)


def of_ending(result: str, signal: str) -> Found | None:
    """What systemd says of a process's end (its ``Result=``, and the signal): None when that explains nothing."""
    if result == "oom-kill":
        return Found(NO_MEMORY)
    return Found(KILLED) if signal == "SIGKILL" else None


def of_answer(status: int, path: str, timeout: float) -> Found | None:
    """Why a health check was answered with ``status`` (0: not at all): None when the log has to say it."""
    if status == 0:
        return Found(HEALTH_SLOW, {"timeout": timeout})
    if status == 400:
        return Found(HEALTH_HOST)
    if status in (404, 405, 410):
        return Found(HEALTH_PATH, {"path": path})
    if status in (401, 403, 407) or 300 <= status < 400:
        return Found(HEALTH_LOGIN)
    return None


def ends_of_migration(lines: Sequence[str], app: str, code: Path, status: int = 1) -> Found:
    """What is known of a migration that failed: whether it can have done anything, and why it failed."""
    raised = _raised(lines)
    first = next((line for line in lines if line.strip()), "")
    began = first != _TRACEBACK or any(part in file for one in raised for file, _ in one.frames for part in _MIGRATING)
    why = why_command(status, lines, app, code)
    if not raised or began:
        return Found(_with(why.cause, MIGRATION_BROKE_OFF), why.values)
    return Found(_with(why.cause, MIGRATION_NEVER_BEGAN), why.values)


def _with(cause: Cause, end: Cause) -> Cause:
    """A cause of a migration's failure, told with what the migration can have done."""
    known = end is MIGRATION_NEVER_BEGAN
    message = "; ".join(filter(None, (cause.message, end.message)))
    return Cause(end.name, end.when, message, cause.next if known else Next((*end.next[:1], *cause.next)))


def _raised(lines: Iterable[str]) -> list[_Raised]:
    """The exceptions of all tracebacks, in their order, each once."""
    found: dict[tuple[str, str], _Raised] = {}
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
            one = _Raised(exception["type"], exception["text"] or "", tuple(frames))
            found.pop((one.type, one.text), None)
            found[one.type, one.text] = one
            inside = False
    return list(found.values())


def _of_exception(raised: _Raised, app: str, code: Path) -> Found | None:
    quoted = re.search(r"'([^']*)'", raised.text)
    name = quoted[1] if quoted else ""
    if raised.type == "ModuleNotFoundError" and name:
        own = _is_own(name.partition(".")[0], code)
        return Found(MISSING_MODULE if own else MISSING_PACKAGE, {"module": name})
    variable = _variable(raised, name)
    if variable:
        return Found(MISSING_VARIABLE, {"name": variable})
    if raised.type == "MemoryError":
        return Found(NO_MEMORY)
    if raised.type == "OperationalError":
        return _of_database(raised, app)
    return _of_errno(raised, app)


def _is_own(top: str, code: Path) -> bool:
    """Whether a module is of the project's code. The process chose its name, and the project's build what is there: no
    link in the code is followed, and no name leads out of it."""
    root = Path(os.path.realpath(str(code)))  # a release's link to its tree, which is root's
    places = (f"{below}{top}{end}" for below in ("", "src/") for end in ("", ".py"))
    return top.isidentifier() and any(_is_there(root, place) for place in places)


def _is_there(root: Path, path: str) -> bool:
    with contextlib.suppress(OSError):
        return files.mode_below(root, path) != 0
    return False


def _variable(raised: _Raised, name: str) -> str:
    """The environment variable that was asked for in vain."""
    if raised.type == "KeyError":
        asked = any(file.endswith(("<frozen os>", "/os.py")) for file, _ in raised.frames)
        return name if asked and _NAME.fullmatch(name) else ""
    if raised.type in ("UndefinedValueError", "ImproperlyConfigured"):
        of_environ = raised.type == "UndefinedValueError" or any("environ" in file for file, _ in raised.frames)
        named = next((word for word in _NAME.findall(raised.text) if len(word) > 2), "")
        return named if of_environ or named == "SECRET_KEY" else ""
    return ""


def _of_database(raised: _Raised, app: str) -> Found | None:
    if raised.text.startswith(_SQLITE):
        return Found(READ_ONLY_CODE, {"path": " to an SQLite file beside the code", "app": app})
    if any("connect" in function for _, function in raised.frames) and "sqlite" not in str(raised.frames):
        return Found(NO_DATABASE, {"what": "its database"})
    return None


def _of_errno(raised: _Raised, app: str) -> Found | None:
    error = _ERRNO.fullmatch(raised.text)
    if error is None:
        return None
    number, path = int(error[1]), error[2] or ""
    if number == 98:
        return Found(PORT_IN_USE)
    if number == 111:
        return Found(NO_DATABASE, {"what": "a service that it needs"})
    if number == 28:
        return Found(DISK_FULL)
    in_code = not os.path.isabs(path) or path.startswith(f"/srv/{app}/")
    if number == 30 or (number == 13 and path and in_code):
        return Found(READ_ONLY_CODE, {"path": f" to {path}" if path else "", "app": app})
    if number in (1, 13) and path:
        return Found(NOT_ALLOWED, {"path": path, "app": app})
    return None
