"""A release as it is asked for: frozen values, and the strict reader that makes them of untrusted JSON.

The laptop builds these values from ``deploy.toml``; the host reads them again from the channel and trusts nothing.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from deployer.wire.processes import MOST_PROCESSES, Process, Timer, Unit, Web
from deployer.wire.protocol import APP, APP_LENGTH, DIGEST
from deployer.wire.reader import LINE, MOST_TEXT, TEXT, Reader
from deployer.wire.shared import PLAIN_LENGTH, PLAIN_PATH, Shared, parse_shared

_HOUR = 3600.0
COMMAND_TIMEOUT = (1.0, 7 * 86400.0)
"""Seconds that each command of a build, or a migration, may take."""
HEALTHY = (0.1, 3600.0)
"""Seconds in which a candidate must answer its health check."""
SETTLE = (0.0, 600.0)
WATCH = (0.0, 3600.0)
DRAIN = (0.0, 3600.0)
KEEP = (2, 1000)
URL_LENGTH = 2048
HOST_LENGTH = 253
MOST_RANGES = 20
"""Ranges of statuses that count as healthy."""
LOCKS = ("uv", "pylock", "requirements", "none")

_COMMAND = re.compile(r"[^\x00\ud800-\udfff]+\Z")
HOST_HEADER = re.compile(r"(?:[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)\Z")
_HOST = re.compile(rf"(?:{HOST_HEADER.pattern})?\Z")
URL_PATH = re.compile(r"/[!-~]*\Z")
_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?\Z")
PYTHON = re.compile(r"3\.[0-9]{1,2}\Z")
_PYTHON = re.compile(rf"(?:{PYTHON.pattern})?\Z")
_REQUIRES = re.compile(r"[0-9A-Za-z<>=!~.,*+ -]{0,200}\Z")
DIRECTORY, DIRECTORY_LENGTH = PLAIN_PATH, PLAIN_LENGTH
"""A directory of the project, relative to it."""
_DIRECTORY = re.compile(rf"(?:{DIRECTORY.pattern})?\Z")
PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
"""The name of a dependency group or an extra."""
PART_LENGTH = 128
MOST_PARTS = 64
_PATH = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}\Z")


@dataclass(frozen=True)
class SourceSpec:
    """Where the code came from. ``digest`` is that of its tree of files; ``commit`` may be empty, ``ref`` as typed."""

    digest: str
    commit: str
    ref: str
    dirty: bool

    @classmethod
    def parse(cls, value: Any) -> SourceSpec:
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
class LockSpec:
    """The file that pins the dependencies, and all else that an installer reads, relative to the code.

    ``files`` are single files, ``directories`` sources that are installed from the code itself (``.``: all of it).
    ``requires`` is what the lock says of Python (``>=3.11``), empty when it says nothing. ``directory`` is where the
    installer runs (empty: at the root of the code). ``groups`` and ``extras`` are installed besides what is by default.
    """

    kind: str
    path: str
    files: tuple[str, ...]
    directories: tuple[str, ...] = ()
    requires: str = ""
    directory: str = ""
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Whether an installer may read this file of the code: it names the environment, and is there for a build."""
        return path in self.files or any(
            directory == "." or path.startswith(f"{directory}/") for directory in self.directories
        )

    @classmethod
    def parse(cls, value: Any) -> LockSpec:
        """Records written before local sources, directories, groups and extras were recorded have none."""
        none: dict[str, Any] = {"directories": [], "requires": "", "directory": "", "groups": [], "extras": []}
        read = Reader({**none, **value} if isinstance(value, dict) else value, "lock")
        kind = read.choice("kind", LOCKS)
        path = read.text("path", LINE, 1024)
        files = read.texts("files", _PATH, 4096)
        directories = read.texts("directories", _PATH, 4096)
        requires = read.text("requires", _REQUIRES)
        directory = read.text("directory", _DIRECTORY, DIRECTORY_LENGTH)
        parts = [_parts(read, key) for key in ("groups", "extras")]
        read.done()
        if (kind == "none") != (path == "") or (path and path not in files):
            raise ValueError("lock: path, kind and files do not fit each other")
        return cls(
            kind=kind,
            path=path,
            files=files,
            directories=directories,
            requires=requires,
            directory=directory,
            groups=parts[0],
            extras=parts[1],
        )


def _parts(read: Reader, key: str) -> tuple[str, ...]:
    parts = read.texts(key, PART, MOST_PARTS)
    if any(len(part) > PART_LENGTH for part in parts):
        raise ValueError(f"lock.{key}: holds a name of more than {PART_LENGTH} characters")
    return parts


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
            path=read.text("path", URL_PATH, URL_LENGTH),
            host=read.text("host", _HOST, HOST_LENGTH),
            status=_ranges(read.raw("status")),
            timeout=read.seconds("timeout", *HEALTHY),
            settle=read.seconds("settle", *SETTLE),
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
    if not ranges or len(ranges) > MOST_RANGES or any(not 100 <= low <= high <= 599 for low, high in ranges):
        raise ValueError("health.status: each range must lie within 100 to 599")
    return ranges


@dataclass(frozen=True)
class Spec:
    """All that shapes a release but its environment. Times are seconds.

    ``directory`` is that of the code in which everything of the app runs (empty: its root); ``shared`` are paths of the
    code that lie in the app's state directory instead.
    ``web`` is None on a host that runs none; ``health`` and ``overlap`` are about it. ``build_timeout`` is for each
    command that builds; ``migrate_timeout`` for the migration, and for each check of a process.
    """

    source: SourceSpec
    lock: LockSpec
    python: str
    build: tuple[str, ...]
    migrate: str
    web: Web | None
    health: Health
    watch: float
    drain: float
    keep: int
    overlap: bool
    processes: tuple[Process, ...] = ()
    timers: tuple[Timer, ...] = ()
    build_timeout: float = _HOUR
    migrate_timeout: float = _HOUR
    directory: str = ""
    shared: tuple[Shared, ...] = ()

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        for part in (value["web"], *value["processes"], *value["timers"]):
            if part is not None:
                part["unit"] = {name: list(values) for name, values in part["unit"]}
        return value

    @property
    def units(self) -> tuple[tuple[str, Unit], ...]:
        """The overrides of directives, each with the key of deploy.toml that they stand at."""
        web = [("web", self.web.unit)] if self.web is not None else []
        processes = [(f"processes.{one.name}", one.unit) for one in self.processes]
        timers = [(f"timers.{one.name}", one.unit) for one in self.timers]
        return (*web, *processes, *timers)

    @property
    def programs(self) -> dict[str, str]:
        """The first word of each command, with its key in deploy.toml."""
        named = [(f"timers.{one.name}", one.command[0]) for one in self.timers]
        named += [(f"processes.{one.name}", one.command[0]) for one in self.processes]
        if self.web is not None:
            named.append(("web", self.web.args[0] if self.web.server == "command" else self.web.server))
        return {program: key for key, program in named}

    @property
    def background(self) -> tuple[Process | Timer, ...]:
        """What takes no requests."""
        return (*self.processes, *self.timers)

    @property
    def web_unit(self) -> Unit:
        """What ``[web.unit]`` overrides; a command of the app's that is no process of its lives under it, too."""
        return self.web.unit if self.web is not None else ()

    @classmethod
    def parse(cls, value: Any) -> Spec:
        """Raises ValueError naming the key that is refused.

        Records written before there were processes, timers, a directory and shared paths have none.
        """
        read = Reader(value, "spec")
        web = read.raw("web")
        spec = cls(
            source=SourceSpec.parse(read.raw("source")),
            lock=LockSpec.parse(read.raw("lock")),
            python=read.text("python", _PYTHON),
            build=read.texts("build", _COMMAND),
            migrate=read.text("migrate", TEXT, MOST_TEXT),
            web=None if web is None else Web.parse(web),
            health=Health.parse(read.raw("health")),
            watch=read.seconds("watch", *WATCH),
            drain=read.seconds("drain", *DRAIN),
            build_timeout=_limit(read, "build_timeout"),
            migrate_timeout=_limit(read, "migrate_timeout"),
            keep=read.integer("keep", *KEEP),
            overlap=read.boolean("overlap"),
            processes=tuple(Process.parse(one) for one in _list(read, "processes")),
            timers=tuple(Timer.parse(one) for one in _list(read, "timers")),
            directory=read.text("directory", _DIRECTORY, DIRECTORY_LENGTH) if read.has("directory") else "",
            shared=parse_shared(read.raw("shared")) if read.has("shared") else (),
        )
        read.done()
        spec._check_names()
        return spec

    def _check_names(self) -> None:
        names = [one.name for one in self.background]
        if self.web is None and not names:
            raise ValueError("spec: nothing would run")
        if len(set(names)) < len(names):
            raise ValueError("spec: two processes or timers have one name")


def _limit(read: Reader, key: str) -> float:
    """Seconds that a command may take. Records written before this was a setting have none."""
    return read.seconds(key, *COMMAND_TIMEOUT) if read.has(key) else _HOUR


def _list(read: Reader, key: str) -> list[Any]:
    value = read.raw(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_PROCESSES:
        raise ValueError(f"spec.{key}: must be a list of at most {MOST_PROCESSES}")
    return value


def parse_app(value: Any) -> str:
    """A checked app name. Raises ValueError."""
    if not isinstance(value, str) or not APP.fullmatch(value) or len(value) > APP_LENGTH:
        raise ValueError(f"not an app name: {str(value)[:60]!r} (lower-case letters, digits and single hyphens)")
    return value
