"""The use cases that only look: status, releases, logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from deployer.errors import Exit
from deployer.fleet import Fleet, conclude, each
from deployer.history import merge
from deployer.remote import Outcome
from deployer.report import Held, Job, ReleaseRow, Status, UnitRow
from deployer.site import Site, open_remote

__all__ = ["attempts", "logs", "releases", "status"]


def status(site: Site) -> Status:
    """What serves on the host, and how it is."""
    with open_remote(site) as (remote, _):
        value = remote.query({"op": "status"})["status"]
    row = value["release"]
    return Status(
        app=value["app"],
        host=site.host,
        current=value["current"] or None,
        standby=value["standby"] or None,
        since=row["switched"] if row else 0.0,
        release=_row(row) if row else None,
        units=tuple(_unit(unit) for unit in value["units"]),
        busy=str(Job.parse(value["busy"])) if value["busy"] else None,
        healthy=value["healthy"],
        health=value["health"],
        last=_row(value["last"]) if value.get("last") else None,
        held=Held(**value["held"]) if value.get("held") else None,
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


def logs(fleet: Fleet, *, lines: int, follow: bool = False) -> int:
    """The last lines of the app's journal, all its releases together; with ``follow`` until Ctrl-C. The exit code."""

    def read(site: Site) -> Outcome:
        with open_remote(site) as (remote, _):
            return remote.read({"op": "logs", "lines": lines, "follow": follow})

    try:
        ends = each(fleet, read, all_at_once=True)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return conclude(fleet, ends, exit_of=lambda outcome: outcome.exit)


def _row(value: Mapping[str, Any]) -> ReleaseRow:
    known = {field.name for field in fields(ReleaseRow)}
    return ReleaseRow(**{name: item for name, item in value.items() if name in known})


def _unit(value: Mapping[str, Any]) -> UnitRow:
    return UnitRow(
        name=value["name"],
        active=value["active"],
        sub=value["sub"],
        pid=value["pid"],
        restarts=value["restarts"],
        memory_bytes=value["memory"],
        since=value["since"],
    )
