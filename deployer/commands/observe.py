"""The use cases that only look: status, releases, logs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from msgspec import structs

from deployer.commands.history import merge
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, conclude, each
from deployer.remote.answers import History, ReleaseRow, Releases, Status, StatusOf
from deployer.remote.session import Outcome
from deployer.remote.site import Site, open_remote
from deployer.wire.advice import run

__all__ = ["attempts", "logs", "releases", "status"]


def status(site: Site) -> Status:
    """What serves on the host, and how it is."""
    with open_remote(site) as (remote, _):
        told = remote.query({"op": "status"}, StatusOf).status
    since = told.release.switched if told.release else 0.0
    current, standby = told.current or None, told.standby or None
    return structs.replace(told, host=site.host, current=current, standby=standby, since=since)


def releases(site: Site) -> tuple[ReleaseRow, ...]:
    """Every release the host has a record of, newest first."""
    with open_remote(site) as (remote, _):
        return remote.query({"op": "releases"}, Releases).releases


def attempts(site: Site) -> tuple[ReleaseRow, ...]:
    """Every attempt that the host's ledger has or that left a record, newest first."""
    with open_remote(site) as (remote, _):
        records = remote.query({"op": "releases"}, Releases).releases
        entries = remote.query({"op": "history"}, History).entries
    return merge(records, entries)


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
