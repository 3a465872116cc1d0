"""``fab logs``: what the processes of an app have printed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote.session import Outcome
from deployer.remote.site import Site, open_remote
from deployer.wire.advice import run

__all__ = ["logs"]


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
