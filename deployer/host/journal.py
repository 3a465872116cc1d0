"""What an app's processes log: the last lines of all its releases, and each new one as it comes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

from deployer.host import systemd
from deployer.host.context import Context
from deployer.host.errors import HostError
from deployer.host.instance import unit_names
from deployer.host.paths import parse_unit
from deployer.host.protocol import WEB, Exit

_LOOK = 1.0
"""Seconds between two looks whether a release has come."""
_SHOWN = "MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID,_HOSTNAME"


def kinds(ctx: Context) -> list[str]:
    """The processes and timers that any release of the app has had here, as far as there are records; web first."""
    specs = [release.spec for release in reversed(ctx.catalog.all())]
    web = [WEB] if not specs or any(spec.web is not None for spec in specs) else []
    return list(dict.fromkeys([*web, *(one.name for spec in specs for one in spec.background)]))


def wanted(ctx: Context, process: str) -> list[str]:
    """The process that was asked for (empty: all of them). Raises HostError for a name that nothing has."""
    known = kinds(ctx)
    if process and process not in known:
        raise HostError(
            f"there is no process {process!r} of {ctx.app} here; there are: {', '.join(known)}",
            exit=Exit.USAGE,
            state="nothing was touched",
            next="fab logs",
        )
    return [process] if process else known


def patterns(app: str, processes: Sequence[str]) -> list[str]:
    """The units of processes in all releases, and of timers' runs, as patterns for ``journalctl -u``.

    Exactly these: ``shop-*`` would be units of an app ``shop-web``, too.
    """
    return [f"{app}-{one}{more}@*.service" for one in processes for more in (("",) if one == WEB else ("", ".*"))]


def read(ctx: Context, process: str, lines: int) -> list[str]:
    """The last ``lines`` lines, oldest first."""
    units = _arguments(patterns(ctx.app, wanted(ctx, process)))
    argv = ["journalctl", "--no-pager", "-q", "-n", str(lines), "-o", "short-iso", *units]
    return systemd.run(argv).out.splitlines()


def follow(ctx: Context, process: str, lines: int) -> Iterator[str]:
    """The last ``lines`` lines, then each new one as it comes, those of releases that are made meanwhile included.

    journalctl looks once, when it begins, which units fit a pattern. So it is begun anew, where it stood, when there is
    another release.
    """
    place = ["-n", str(lines)]
    while True:
        units = _units(ctx, process)

        def changed(known: Sequence[str] = units) -> bool:
            return _units(ctx, process) != known

        argv = ["journalctl", "--no-pager", "-q", "-a", "-f", "-o", "json", f"--output-fields={_SHOWN}"]
        for line in _lines([*argv, *place, *_arguments(units)], changed):
            record = json.loads(line)
            yield from told(record)
            place = ["--no-tail", f"--after-cursor={record['__CURSOR']}"]


def _units(ctx: Context, process: str) -> list[str]:
    """The patterns, and the units that may be the next to log: of what serves, and of what is newer."""
    processes, current = wanted(ctx, process), ctx.catalog.current()
    names = [name for one in ctx.catalog.all() if one.number >= current for name in unit_names(ctx.app, one)]
    parsed = [(name, parse_unit(ctx.app, name)) for name in names]
    kinds = [(name, unit.process.partition(".")[0]) for name, unit in parsed if unit and unit.kind == "service"]
    return [*patterns(ctx.app, processes), *(name for name, kind in kinds if kind in processes)]


def _arguments(units: Sequence[str]) -> list[str]:
    return [word for unit in units for word in ("-u", unit)]


def _lines(argv: Sequence[str], over: Callable[[], bool]) -> Iterator[bytes]:
    """Each line that a command prints, until a look, one a second, finds that it is ``over``.

    A command that ends by itself has nothing to follow yet: it is waited for something to come.
    """
    nothing = subprocess.DEVNULL
    with subprocess.Popen(list(argv), stdin=nothing, stdout=subprocess.PIPE, env=systemd.ENVIRONMENT) as process:
        assert process.stdout is not None
        outlet, rest, look = process.stdout.fileno(), b"", time.monotonic() + _LOOK
        try:
            while True:
                if time.monotonic() >= look:
                    if over():
                        return
                    look = time.monotonic() + _LOOK
                if select.select([outlet], [], [], _LOOK)[0]:
                    part = os.read(outlet, 65536)
                    *whole, rest = (rest + part).split(b"\n")
                    yield from whole
                    if not part:
                        time.sleep(_LOOK)
                        return
        finally:
            process.terminate()


def told(record: Mapping[str, Any]) -> Iterator[str]:
    """One entry of the journal as ``-o short-iso`` prints it: when, where, who, and what, in one line or several."""
    moment = time.localtime(int(record["__REALTIME_TIMESTAMP"]) / 1e6)
    who = record.get("SYSLOG_IDENTIFIER") or record.get("_COMM") or "unknown"
    pid = f"[{record['_PID']}]" if record.get("_PID") else ""
    head = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z', moment)} {record.get('_HOSTNAME', '')} {who}{pid}: "
    first, *more = systemd.message_lines(record.get("MESSAGE")) or [""]
    yield head + first
    yield from (" " * len(head) + line for line in more)
