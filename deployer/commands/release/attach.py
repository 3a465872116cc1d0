"""The use cases for a deploy that runs already: follow it, abort it."""

from __future__ import annotations

from typing import Any

from deployer import events
from deployer.errors import ConfigError, Exit
from deployer.fleet.coordinator import follow
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import conclude
from deployer.release.placement import Payload
from deployer.remote.answers import Aborted
from deployer.remote.facts import Facts
from deployer.remote.session import Outcome, Remote
from deployer.remote.site import Site, who
from deployer.wire.advice import run

__all__ = ["abort", "attach", "discard"]

_ABORTED = (Exit.OK, Exit.REFUSED, Exit.ROLLED_BACK)
"""How a deploy may end that was aborted: 0 when it was too late."""


def attach(fleet: Fleet) -> int:
    """Follow the deploy that runs on each host (or the last one that ran) from its first event on; the exit code.

    Ctrl-C ends the following, and is not asked about: it is not known whose deploy it is.
    """

    def plan(*_: object) -> Payload:
        return Payload(message={"op": "attach"})

    ends = follow(fleet, plan, parallel=len(fleet.sites))
    return conclude(fleet, ends, exit_of=lambda outcome: int(outcome.exit))


def abort(fleet: Fleet) -> int:
    """Have each host end the deploy that runs on it, and follow how it undoes what it did; the exit code.

    Where none runs, a candidate that is held is discarded. A host with neither is no failure when another had one.
    Raises ConfigError when there is none on any.
    """
    single = len(fleet.sites) == 1

    def plan(site: Site, remote: Remote, facts: Facts) -> Payload | None:
        if facts.busy is None and facts.held is not None:
            return _discard(facts.held.release)
        if single or facts.busy is not None:
            return _abort(site, remote)
        site.report(events.Note(host=site.host, text="no deploy is running"))
        site.report(events.Finished(host=site.host, exit=0, serving=facts.current, summary="nothing to abort"))
        return None

    ends = follow(fleet, plan, parallel=len(fleet.sites))
    if all(ended.answered and ended.value is None for ended in ends):
        raise ConfigError(message=f"no deploy is running on any of the {len(ends)} hosts", next=run("fab status"))
    return conclude(fleet, ends, exit_of=_exit)


def discard(fleet: Fleet) -> None:
    """Discard the candidate that a host holds, on each that does. What comes of it is reported."""

    def plan(site: Site, _: Remote, facts: Facts) -> Payload | None:
        if facts.busy is not None or facts.held is None:
            site.report(events.Finished(host=site.host, exit=0, serving=facts.current, summary="nothing is held"))
            return None
        return _discard(facts.held.release)

    conclude(fleet, follow(fleet, plan, parallel=len(fleet.sites)), exit_of=_exit)


def _discard(name: str) -> Payload:
    def edit(event: dict[str, Any]) -> dict[str, Any]:
        """It is a recovery that removes it."""
        if event["event"] == "finished" and event["exit"] == Exit.OK:
            serves = f"{event['serving']} serves" if event.get("serving") else "nothing serves"
            return {**event, "summary": f"{name} is discarded: {serves}"}
        return event

    return Payload(message={"op": "discard", "release": int(name[1:]), "by": who()}, edit=edit)


def _abort(site: Site, remote: Remote) -> Payload:
    job = remote.query({"op": "abort", "by": who()}, Aborted).job
    site.report(events.Note(host=site.host, text=f"told to abort: {job}"))
    return Payload(message={"op": "attach", "job": job.id}, edit=_as_wanted)


def _exit(outcome: Outcome) -> int:
    return int(Exit.OK if outcome.exit in _ABORTED else outcome.exit)


def _as_wanted(event: dict[str, Any]) -> dict[str, Any]:
    """To one who aborted it, the end of a deploy is a success, and not a failure; that it was too late is told."""
    if event.get("exit") not in _ABORTED:
        return event
    if event["event"] == "failed":
        text = "; ".join(filter(None, (event.get("message"), event.get("state"))))
        return {"event": "note", "at": event.get("at", 0.0), "text": text}
    if event["event"] != "finished":
        return event
    serves = f"{event['serving']} serves" if event.get("serving") else "nothing serves"
    if event["exit"] == Exit.OK:
        return {**event, "summary": f"too late to abort: it had been found good; {serves}"}
    return {**event, "exit": int(Exit.OK), "summary": f"aborted: {serves}"}
