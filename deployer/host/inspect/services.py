"""What an app stands on, for ``fab doctor``: its data services, their dumps, and the machine itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from deployer.host.errors import HostError
from deployer.host.inspect import causes
from deployer.host.inspect.causes import finding
from deployer.host.setup import machine
from deployer.host.setup.software import dumps, postgresql, redis
from deployer.host.state.app import Context
from deployer.host.state.paths import dump_unit, redis_unit, scrub_unit
from deployer.host.system import systemd

_STALE = 2 * 86400.0
"""Seconds after which the newest of the daily dumps is too old."""

Found = tuple[str, str, str]
"""What it is about, a sentence, and its repair."""


def findings(ctx: Context) -> tuple[list[dict[str, Any]], list[str]]:
    """Findings, each with its kind, and notes, which are none. What cannot be checked is left out."""
    found: list[dict[str, Any]] = []
    for check in (_scrub, _database, _dumps, _redis):
        with contextlib.suppress(HostError, OSError):
            found += [finding("service", *one) for one in check(ctx)]
    seen = machine.look(ctx.settings.site.ports if ctx.settings.site else ())
    told = machine.concerns(seen)
    found += [finding("machine", one.what, one.text, one.repair) for one in told if one.serious]
    return found, [str(one) for one in told if not one.serious]


def _scrub(ctx: Context) -> Iterator[Found]:
    """Whether the weekly scrub is made, on a host that was set up by a version that makes it."""
    timer = scrub_unit(ctx.app, "timer")
    if (ctx.paths.units / scrub_unit("", "timer")).exists() and systemd.show(timer).active != "active":
        yield (timer, *causes.SCRUB_STOPPED.finding(timer=timer))


def _database(ctx: Context) -> Iterator[Found]:
    if postgresql.VARIABLE in ctx.settings.environment and not postgresql.answers():
        yield ("postgresql", *causes.DATABASE_DOWN.finding())


def _dumps(ctx: Context) -> Iterator[Found]:
    """Whether the daily dump is made: by its timer, without a failure, lately."""
    if not ctx.settings.backups:
        return
    timer, service = dump_unit(ctx.app, "timer"), dump_unit(ctx.app, "service")
    if systemd.show(timer).active != "active":
        yield (timer, *causes.DUMPS_STOPPED.finding(timer=timer))
    elif systemd.end_of(service).result not in ("", "success"):
        yield (service, *causes.DUMP_FAILED.finding(service=service))
    elif newest := next(iter(dumps.listed(ctx.app)), None):
        days = (ctx.clock() - newest.stat().st_mtime) / 86400
        if days * 86400 > _STALE:
            yield (str(newest), *causes.DUMP_OLD.finding(days=round(days), service=service))


def _redis(ctx: Context) -> Iterator[Found]:
    unit = redis_unit(ctx.app)
    if redis.VARIABLE in ctx.settings.environment and not redis.answers(ctx.app):
        yield (unit, *causes.REDIS_DOWN.finding(unit=unit, socket=redis.socket_of(ctx.app)))
