"""A release as it is asked for: frozen values, and the strict reader that makes them of untrusted JSON.

The laptop builds these values from ``deploy.toml``; the host reads them again from the channel and trusts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import APP, APP_LENGTH, PROCESS, PROCESS_LENGTH, WEB
from deployer.wire.reader import MOST_TEXT, TEXT, Reader
from deployer.wire.release.health import Health
from deployer.wire.release.processes import COUNT, MOST_PROCESSES, WORKERS, Process, Timer, Unit, Web
from deployer.wire.release.shared import Shared, parse_shared
from deployer.wire.release.source import DIRECTORY_LENGTH, OPTIONAL_DIRECTORY, LockSpec, SourceSpec
from deployer.wire.release.versions import OPTIONAL_PYTHON

_HOUR = 3600.0
COMMAND_TIMEOUT = (1.0, 7 * 86400.0)
"""Seconds that each command of a build, or a migration, may take."""
WATCH = (0.0, 3600.0)
DRAIN = (0.0, 3600.0)
KEEP = (2, 1000)

_COMMAND = pattern(r"[^\x00\ud800-\udfff]+\Z")


@dataclass(frozen=True)
class Spec:
    """All that shapes a release but its environment. Times are seconds.

    ``directory`` is that of the code in which everything of the app runs (empty: its root); ``shared`` are paths of the
    code that lie in the app's state directory instead; ``scale`` are the counts that ``fab scale`` has set on this
    host, which later releases keep.
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
    scale: tuple[tuple[str, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["scale"] = dict(self.scale)
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

    def counts(self) -> dict[str, int]:
        """How many there are of each process that can be scaled: workers of a server, instances of the others."""
        web = self.web
        workers = {WEB: web.workers} if web is not None and web.server != "command" else {}
        return {**workers, **{one.name: one.count for one in self.processes}}

    def scaled(self, counts: Mapping[str, int]) -> Spec:
        """With those counts, whatever deploy.toml says; of a process that is not here nothing is kept."""
        known = {name: count for name, count in counts.items() if name in self.counts()}
        return replace(self.counted(known), scale=tuple(sorted(known.items())))

    def counted(self, counts: Mapping[str, int]) -> Spec:
        """With those counts of the processes that are here."""
        web = self.web
        if web is not None and WEB in counts and WEB in self.counts():
            web = replace(web, workers=counts[WEB])
        processes = tuple(replace(one, count=counts.get(one.name, one.count)) for one in self.processes)
        return replace(self, web=web, processes=processes)

    @classmethod
    def parse(cls, value: Any) -> Spec:
        """Raises ValueError naming the key that is refused.

        Records written before there were processes, timers, a directory, shared paths and scales have none.
        """
        read = Reader(value, "spec")
        web = read.raw("web")
        spec = cls(
            source=SourceSpec.parse(read.raw("source")),
            lock=LockSpec.parse(read.raw("lock")),
            python=read.text("python", OPTIONAL_PYTHON),
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
            directory=read.text("directory", OPTIONAL_DIRECTORY, DIRECTORY_LENGTH) if read.has("directory") else "",
            shared=parse_shared(read.raw("shared")) if read.has("shared") else (),
            scale=parse_scale(read.raw("scale")) if read.has("scale") else (),
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
        counts = self.counts()
        for name, count in self.scale:
            if counts.get(name) != count:
                raise ValueError(f"spec.scale.{name}: {count} is not what the process has")


def parse_scale(value: Any) -> tuple[tuple[str, int], ...]:
    """Counts by the names of processes, in their order. Raises ValueError."""
    read, names = Reader(value, "scale"), sorted(value) if isinstance(value, dict) else []
    for name in names:
        if not isinstance(name, str) or not PROCESS.fullmatch(name) or len(name) > PROCESS_LENGTH:
            raise ValueError(f"scale: {str(name)[:60]!r} is not the name of a process")
    return tuple((name, read.integer(name, *(WORKERS if name == WEB else COUNT))) for name in names)


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
