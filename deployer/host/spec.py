"""A release as it is asked for: frozen values, and the strict reader that makes them of untrusted JSON.

The laptop builds these values from ``deploy.toml``; the host reads them again from the channel and trusts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from re import Pattern
from typing import Any

from deployer.host.protocol import APP, APP_LENGTH, DIGEST, ENV_NAME

SERVERS = ("gunicorn", "uvicorn", "hypercorn", "command")
LOCKS = ("uv", "pylock", "requirements", "none")

_LINE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*\Z")
_TEXT = re.compile(r"[^\x00\ud800-\udfff]*\Z")
WORD = _TEXT
"""An argument of a command: anything but NUL."""
_COMMAND = re.compile(r"[^\x00\ud800-\udfff]+\Z")
_VALUE = re.compile(r"(?![\s\S]*\\\Z)[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*\Z")
"""A directive's value. A backslash at its end would make the next line a part of it."""
_TARGET = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.()]*)?\Z")
_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]_]{0,253}\Z")
_URL_PATH = re.compile(r"/[!-~]*\Z")
_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?\Z")
_PYTHON = re.compile(r"(?:3\.[0-9]{1,2})?\Z")
ENV_NAME_LINE = re.compile(ENV_NAME.pattern)
_DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]{1,40}\Z")
_PATH = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}\Z")

RESERVED_ENV = re.compile(
    r"(LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|(STATE|CACHE|LOGS|RUNTIME|CONFIGURATION)_DIRECTORY|DEPLOYER_.*|PATH|LD_.*"
    r"|PYTHONHOME|PYTHONSTARTUP|HOME|USER|LOGNAME|SHELL|INVOCATION_ID|JOURNAL_STREAM|MAINPID|WATCHDOG_.*"
    r"|VIRTUAL_ENV|CREDENTIALS_DIRECTORY|PYTHONEXECUTABLE|BASH_ENV)\Z"
)
"""Names that systemd or deployer itself sets, or that the dynamic linker obeys."""


class Reader:
    """Reads one JSON object strictly: each key once, of the right type; unknown keys refused by :meth:`done`.

    All methods raise ValueError naming the key's path.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: must be an object")
        self._values: dict[str, Any] = dict(value)
        self._where = where

    def _take(self, key: str, kind: type) -> Any:
        value = self._values.pop(key, None)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{self._where}.{key}: must be {kind.__name__}, not {type(value).__name__}")
        return value

    def text(self, key: str, pattern: Pattern[str] = _LINE, length: int = 4096) -> str:
        value: str = self._take(key, str)
        if len(value) > length or not pattern.match(value):
            raise ValueError(f"{self._where}.{key}: not allowed: {value[:200]!r}")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value: str = self._take(key, str)
        if value not in choices:
            raise ValueError(f"{self._where}.{key}: {value[:200]!r} is none of {', '.join(choices)}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value: int = self._take(key, int)
        if not low <= value <= high:
            raise ValueError(f"{self._where}.{key}: {value} is not between {low} and {high}")
        return value

    def seconds(self, key: str, low: float, high: float) -> float:
        value = self._values.pop(key, None)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"{self._where}.{key}: must be seconds between {low:g} and {high:g}")
        return float(value)

    def boolean(self, key: str) -> bool:
        value: bool = self._take(key, bool)
        return value

    def texts(self, key: str, pattern: Pattern[str] = _LINE, count: int = 256) -> tuple[str, ...]:
        values = self._take(key, list)
        if len(values) > count:
            raise ValueError(f"{self._where}.{key}: too many")
        for value in values:
            if not isinstance(value, str) or len(value) > 16384 or not pattern.match(value):
                raise ValueError(f"{self._where}.{key}: not allowed: {str(value)[:200]!r}")
        return tuple(values)

    def raw(self, key: str) -> Any:
        return self._values.pop(key, None)

    def done(self) -> None:
        if self._values:
            raise ValueError(f"{self._where}: unknown keys {', '.join(sorted(self._values))[:200]}")


@dataclass(frozen=True)
class Source:
    """Where the code came from. ``digest`` is that of its tree of files; ``commit`` may be empty, ``ref`` as typed."""

    digest: str
    commit: str
    ref: str
    dirty: bool

    @classmethod
    def parse(cls, value: Any) -> Source:
        read = Reader(value, "source")
        source = cls(
            digest=read.text("digest", DIGEST),
            commit=read.text("commit", _COMMIT),
            ref=read.text("ref", length=256),
            dirty=read.boolean("dirty"),
        )
        read.done()
        return source


@dataclass(frozen=True)
class Lock:
    """The file that pins the dependencies. ``files`` are all the files it consists of, relative to the code."""

    kind: str
    path: str
    files: tuple[str, ...]

    @classmethod
    def parse(cls, value: Any) -> Lock:
        read = Reader(value, "lock")
        kind = read.choice("kind", LOCKS)
        path = read.text("path", _LINE, 1024)
        files = read.texts("files", _PATH)
        read.done()
        if (kind == "none") != (path == "") or (path and path not in files):
            raise ValueError("lock: path, kind and files do not fit each other")
        return cls(kind=kind, path=path, files=files)


@dataclass(frozen=True)
class Health:
    """What a healthy answer is. ``status`` holds inclusive ranges; times are seconds.

    ``timeout`` bounds the wait for the first healthy answer, ``settle`` is how long the candidate must stay healthy
    before it gets traffic.
    """

    path: str
    host: str
    status: tuple[tuple[int, int], ...]
    timeout: float
    settle: float

    def accepts(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.status)

    @classmethod
    def parse(cls, value: Any) -> Health:
        read = Reader(value, "health")
        health = cls(
            path=read.text("path", _URL_PATH, 2048),
            host=read.text("host", _HOST),
            status=_ranges(read.raw("status")),
            timeout=read.seconds("timeout", 0.1, 3600),
            settle=read.seconds("settle", 0, 600),
        )
        read.done()
        return health


def _ranges(value: Any) -> tuple[tuple[int, int], ...]:
    try:
        ranges = tuple((low, high) for low, high in value)
    except (TypeError, ValueError):
        raise ValueError("health.status: must be a list of [low, high]") from None
    if any(type(bound) is not int for bounds in ranges for bound in bounds):
        raise ValueError("health.status: must hold whole numbers")
    if not ranges or len(ranges) > 20 or any(not 100 <= low <= high <= 599 for low, high in ranges):
        raise ValueError("health.status: each range must lie within 100 to 599")
    return ranges


@dataclass(frozen=True)
class Web:
    """The web process. ``target`` is ``module:attribute``; ``args`` more arguments, or the whole free command.

    ``memory`` is what the user expects one generation to need, in bytes (0: not said). ``unit`` overrides systemd
    directives; the host has the allow-list.
    """

    server: str
    target: str
    workers: int
    args: tuple[str, ...]
    memory: int
    unit: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def parse(cls, value: Any) -> Web:
        read = Reader(value, "web")
        web = cls(
            server=read.choice("server", SERVERS),
            target=read.text("target", _TARGET, 255),
            workers=read.integer("workers", 1, 1024),
            args=read.texts("args"),
            memory=read.integer("memory", 0, 1 << 60),
            unit=_unit(read.raw("unit")),
        )
        read.done()
        if (web.server == "command") != (not web.target) or (web.server == "command" and not web.args):
            raise ValueError("web: a server needs a target, a free command its arguments")
        return web


def _unit(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    read = Reader(value, "web.unit")
    names = sorted(value)
    for name in names:
        if not _DIRECTIVE.match(name):
            raise ValueError(f"web.unit: {name[:60]!r} is not the name of a systemd directive")
    return tuple((name, read.texts(name, _VALUE, 32)) for name in names)


@dataclass(frozen=True)
class Spec:
    """All that shapes a release but its environment. Times are seconds."""

    source: Source
    lock: Lock
    python: str
    build: tuple[str, ...]
    migrate: str
    web: Web
    health: Health
    watch: float
    drain: float
    keep: int
    overlap: bool

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["web"]["unit"] = {name: list(values) for name, values in self.web.unit}
        return value

    @classmethod
    def parse(cls, value: Any) -> Spec:
        """Raises ValueError naming the key that is not as it must be."""
        read = Reader(value, "spec")
        spec = cls(
            source=Source.parse(read.raw("source")),
            lock=Lock.parse(read.raw("lock")),
            python=read.text("python", _PYTHON),
            build=read.texts("build", _COMMAND),
            migrate=read.text("migrate", _TEXT, 16384),
            web=Web.parse(read.raw("web")),
            health=Health.parse(read.raw("health")),
            watch=read.seconds("watch", 0, 3600),
            drain=read.seconds("drain", 0, 3600),
            keep=read.integer("keep", 2, 1000),
            overlap=read.boolean("overlap"),
        )
        read.done()
        return spec


def parse_app(value: Any) -> str:
    """A checked app name. Raises ValueError."""
    if not isinstance(value, str) or not APP.match(value) or len(value) > APP_LENGTH:
        raise ValueError(f"not an app name: {str(value)[:60]!r} (lower-case letters, digits and single hyphens)")
    return value


def parse_environment(value: Any) -> dict[str, str]:
    """A checked environment. Raises ValueError naming the variable, never showing its value."""
    if not isinstance(value, dict) or len(value) > 2000:
        raise ValueError("env: must be an object of strings")
    for name, text in value.items():
        check_variable(name, text)
    return dict(value)


def check_variable(name: str, value: Any) -> None:
    """Raises ValueError when systemd could not carry this variable, or may not be given it."""
    if not ENV_NAME.match(name):
        raise ValueError(f"env: {name[:60]!r} is not the name of an environment variable")
    if RESERVED_ENV.match(name):
        raise ValueError(f"env: {name} is set by systemd or deployer itself")
    if not isinstance(value, str) or len(value) > 128 * 1024:
        raise ValueError(f"env: {name} must be a string of at most 128 KiB")
    if any((ord(character) < 32 and character not in "\t\n") or character == "\x7f" for character in value):
        raise ValueError(f"env: {name} holds a control character, which systemd refuses")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"env: {name} is not valid Unicode") from None


def environment_file(values: Mapping[str, str], note: str | None = None) -> bytes:
    """The text of an ``EnvironmentFile=`` (systemd.exec(5)): double quotes, in which only the double quote, the
    backslash, the backtick and the dollar are escaped; newlines stand as they are, nothing is expanded.
    """
    escape = str.maketrans({character: "\\" + character for character in '"\\`$'})
    lines = [f"# {note}\n"] if note else []
    lines += [f'{name}="{value.translate(escape)}"\n' for name, value in sorted(values.items())]
    return "".join(lines).encode()
