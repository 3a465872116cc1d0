"""``fab logs``: the last lines of an app's processes in all its releases, and each new one as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.paths import parse_unit
from deployer.host.system import journald, runner
from deployer.host.units.install import unit_names
from deployer.wire.advice import run
from deployer.wire.protocol import WEB, Exit


def kinds(ctx: Context) -> list[str]:
    """The names of processes and timers in any recorded release of the app; web first."""
    specs = [release.spec for release in reversed(ctx.catalog.all())]
    web = [WEB] if not specs or any(spec.web is not None for spec in specs) else []
    return list(dict.fromkeys([*web, *(one.name for spec in specs for one in spec.background)]))


def wanted(ctx: Context, process: str) -> list[str]:
    """The requested process (empty: all of them). Raises HostError for an unknown name."""
    known = kinds(ctx)
    if process and process not in known:
        raise HostError(
            f"there is no process {process!r} of {ctx.app} here; there are: {', '.join(known)}",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run("fab logs"),
        )
    return [process] if process else known


def patterns(app: str, processes: Sequence[str]) -> list[str]:
    """The units of processes and of timers' runs in all releases, as patterns for ``journalctl -u``.

    ``shop-*`` would match units of an app ``shop-web``, too.
    """
    return [f"{app}-{one}{more}@*.service" for one in processes for more in (("",) if one == WEB else ("", ".*"))]


def read(ctx: Context, process: str, lines: int) -> Iterator[str]:
    """The last ``lines`` entries as lines, oldest first. Raises HostError for an unknown process."""
    units = _arguments(patterns(ctx.app, wanted(ctx, process)))
    for entry in journald.entries(["-n", str(lines), *units]):
        yield from entry.formatted()


def follow(ctx: Context, process: str, lines: int) -> Iterator[list[str]]:
    """The last ``lines`` entries as lines, then new ones as they come, also of releases deployed meanwhile.

    journalctl matches its patterns only when it starts. For each new release it is started again where it stopped.
    """
    place = ["-n", str(lines)]
    while True:
        units = _units(ctx, process)

        def changed(known: Sequence[str] = units) -> bool:
            return _units(ctx, process) != known

        argv = [*journald.COMMAND, "-f", *place, *_arguments(units)]
        for portion in journald.portions(argv, runner.ENVIRONMENT, over=changed):
            entries = [entry for entry in map(journald.parse, portion) if entry is not None]
            if told := [text for entry in entries for text in entry.formatted()]:
                yield told
            if cursor := next((entry.cursor for entry in reversed(entries) if entry.cursor), ""):
                place = ["--no-tail", f"--after-cursor={cursor}"]


def _units(ctx: Context, process: str) -> list[str]:
    """The patterns, and the units of what serves and of newer releases, which may not have logged yet."""
    processes, current = wanted(ctx, process), ctx.catalog.current()
    names = [name for one in ctx.catalog.all() if one.number >= current for name in unit_names(ctx.app, one)]
    parsed = [(name, parse_unit(ctx.app, name)) for name in names]
    kinds = [(name, unit.process.partition(".")[0]) for name, unit in parsed if unit and unit.kind == "service"]
    return [*patterns(ctx.app, processes), *(name for name, kind in kinds if kind in processes)]


def _arguments(units: Sequence[str]) -> list[str]:
    return [word for unit in units for word in ("-u", unit)]
