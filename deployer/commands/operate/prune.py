"""``fab prune``: remove old releases on each host now."""

from __future__ import annotations

from deployer.errors import ConfigError
from deployer.fleet.coordinator import follow
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers, ask_each, conclude
from deployer.release.placement import Payload
from deployer.remote.answers import Prunable
from deployer.remote.facts import Facts
from deployer.remote.refusals import refuse_if_busy
from deployer.remote.session import Remote
from deployer.remote.site import Site, open_remote, who
from deployer.wire.advice import do
from deployer.wire.release.spec import KEEP

__all__ = ["prunable", "prune"]


def prune(fleet: Fleet, keep: str) -> int:
    """Remove releases beyond ``keep`` (empty: as many as the release that serves says), and follow it; the exit code.

    What serves, its standby and the last good release always stay. Raises ConfigError for a ``keep`` that is none.
    """
    count = _count(keep)

    def plan(_: Site, remote: Remote, facts: Facts) -> Payload:
        refuse_if_busy(remote, facts)
        return Payload(message=_message(count, dry=False))

    return conclude(fleet, follow(fleet, plan), exit_of=lambda outcome: int(outcome.exit))


def prunable(fleet: Fleet, keep: str) -> Answers[str]:
    """What each host would remove."""
    count = _count(keep)

    def ask(site: Site) -> str:
        with open_remote(site) as (remote, _):
            found = remote.query(_message(count, dry=True), Prunable).releases
        return f"would remove {', '.join(found)}" if found else "no release would have to go"

    return ask_each(fleet, ask)


def _message(count: int, *, dry: bool) -> dict[str, object]:
    return {"op": "prune", "by": who(), "keep": count, "dry": dry}


def _count(keep: str) -> int:
    low, high = KEEP
    if keep and not (keep.isascii() and keep.isdecimal() and low <= int(keep[:9]) <= high):
        raise ConfigError(
            message=f"--keep {keep}: a number of releases is wanted, from {low} to {high}",
            next=do(f"say --keep {low} or more: one serves, and one is there to go back to"),
        )
    return int(keep or 0)
