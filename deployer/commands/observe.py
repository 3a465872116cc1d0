"""The use cases that only look: status, releases, logs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from deployer.commands.history import merge
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, conclude, each
from deployer.remote.report import Held, Job, Lingering, ReleaseRow, Status, TimerRow, UnitRow
from deployer.remote.session import Outcome
from deployer.remote.site import Site, open_remote
from deployer.wire.advice import run

__all__ = ["attempts", "logs", "parse_status", "releases", "status"]


def status(site: Site) -> Status:
    """What serves on the host, and how it is."""
    with open_remote(site) as (remote, _):
        value = remote.query({"op": "status"})["status"]
    return parse_status(value, site.host)


def parse_status(value: Mapping[str, Any], host: str) -> Status:
    """What a host says of itself. One with another version of this program may leave out fields, and have others."""
    row = value.get("release")
    return Status(
        app=str(value.get("app") or ""),
        host=host,
        current=value.get("current") or None,
        standby=value.get("standby") or None,
        since=float(row.get("switched") or 0.0) if row else 0.0,
        release=_row(row) if row else None,
        units=tuple(_unit(unit) for unit in value.get("units") or ()),
        timers=tuple(TimerRow(**_known(TimerRow, timer)) for timer in value.get("timers") or ()),
        lingering=tuple(Lingering(**_known(Lingering, one)) for one in value.get("lingering") or ()),
        busy=str(Job.parse(value["busy"])) if value.get("busy") else None,
        healthy=value.get("healthy"),
        health=str(value.get("health") or ""),
        last=_row(value["last"]) if value.get("last") else None,
        held=Held(**_known(Held, value["held"])) if value.get("held") else None,
        notes=tuple(str(text) for text in value.get("notes") or ()),
    )


def releases(site: Site) -> tuple[ReleaseRow, ...]:
    """Every release the host has a record of, newest first."""
    with open_remote(site) as (remote, _):
        return tuple(_row(value) for value in remote.query({"op": "releases"})["releases"])


def attempts(site: Site) -> tuple[ReleaseRow, ...]:
    """Every attempt that the host's ledger has or that left a record, newest first."""
    with open_remote(site) as (remote, _):
        records = remote.query({"op": "releases"})["releases"]
        entries = remote.query({"op": "history"})["entries"]
    return merge([_row(value) for value in records], entries)


def logs(fleet: Fleet, *, lines: int, follow: bool = False, process: str = "") -> int:
    """The last lines of the app's journal, all its releases together; with ``follow`` until Ctrl-C. The exit code.

    ``process`` is the one that is meant (empty: all). Hosts that have none such are passed by; raises ConfigError when
    all are.
    """
    known: dict[str, tuple[str, ...]] = {}

    def read(site: Site) -> Outcome | None:
        with open_remote(site) as (remote, facts):
            known[site.host] = facts.processes
            if process and facts.processes and process not in facts.processes:
                return None
            return remote.read({"op": "logs", "process": process, "lines": lines, "follow": follow})

    try:
        ends = each(fleet, read, all_at_once=True)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    if known and all(ended.answered and ended.value is None for ended in ends):
        raise _unknown_process(process, known)
    return conclude(fleet, ends, exit_of=_exit)


def _exit(outcome: Outcome | None) -> int:
    return int(outcome.exit) if outcome else int(Exit.OK)


def _unknown_process(process: str, known: Mapping[str, Sequence[str]]) -> ConfigError:
    names = list(dict.fromkeys(name for of_host in known.values() for name in of_host))
    close = difflib.get_close_matches(process, names, n=1) or names[:1]
    return ConfigError(
        message=f"there is no process {process!r} on {', '.join(known)}; there are: {', '.join(names)}",
        next=run(f"fab logs --process {close[0]}"),
    )


def _row(value: Mapping[str, Any]) -> ReleaseRow:
    return ReleaseRow(**_known(ReleaseRow, value))


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the fields that this version knows."""
    names = {field.name for field in fields(kind)}
    return {name: item for name, item in value.items() if name in names}


def _unit(value: Mapping[str, Any]) -> UnitRow:
    active = str(value.get("active") or "")
    told = {"ok": active in ("active", "activating", "reloading"), **_known(UnitRow, value)}
    unit = UnitRow(**{"name": "", **told, "active": active, "memory_bytes": int(value.get("memory") or 0)})
    return unit if unit.process else replace(unit, process=unit.instance.partition(".")[0])
