"""The use cases about what runs on a host already, whoever began it: follow it, end it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deployer import events
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, conclude, each
from deployer.remote.answers import Aborted
from deployer.remote.job import Run
from deployer.remote.session import Outcome, Remote
from deployer.remote.site import Site, open_remote, who
from deployer.ssh import connect
from deployer.wire.advice import run

__all__ = ["abort", "attach"]


def attach(fleet: Fleet) -> int:
    """Follow the deploy that runs on each host (or the last one that ran) from its first event on; the exit code.

    Ctrl-C ends the following, and is not asked about: it is not known whose deploy it is.
    """
    return conclude(fleet, each(fleet, _attach, all_at_once=True), exit_of=_exit)


def _attach(site: Site) -> Outcome:
    with open_remote(site) as (remote, _):
        return _run(site, remote).send({"op": "attach"})


def abort(fleet: Fleet) -> int:
    """Have each host end the deploy that runs on it, and follow how it undoes what it did; the exit code.

    A host on which none runs is no failure when one ran on another. Raises ConfigError when none runs on any.
    """
    ends = each(fleet, _abort if len(fleet.sites) == 1 else _abort_if_any, all_at_once=True)
    if all(ended.answered and ended.value is None for ended in ends):
        raise ConfigError(message=f"no deploy is running on any of the {len(ends)} hosts", next=run("fab status"))
    return conclude(fleet, ends, exit_of=_exit)


def _abort_if_any(site: Site) -> Outcome | None:
    """None when nothing runs on the host."""
    with open_remote(site) as (remote, facts):
        if facts.busy is not None:
            return _end(site, remote)
        site.report(events.Note(host=site.host, text="no deploy is running"))
        site.report(events.Finished(host=site.host, exit=0, serving=facts.current, summary="nothing to abort"))
        return None


def _abort(site: Site) -> Outcome:
    with open_remote(site) as (remote, _):
        return _end(site, remote)


def _end(site: Site, remote: Remote) -> Outcome:
    job = remote.query({"op": "abort", "by": who()}, Aborted).job
    site.report(events.Note(host=site.host, text=f"told to abort: {job}"))
    outcome = _run(site, remote).send({"op": "attach", "job": job.id}, edit=_as_wanted)
    ended = outcome.exit in (Exit.OK, Exit.REFUSED, Exit.ROLLED_BACK)
    return replace(outcome, exit=Exit.OK) if ended else outcome


def _run(site: Site, remote: Remote) -> Run:
    return Run(remote, reconnect=lambda: connect(site.target, site.ssh), by=who())


def _exit(outcome: Outcome | None) -> int:
    return int(outcome.exit) if outcome else 0


def _as_wanted(event: dict[str, Any]) -> dict[str, Any]:
    """To one who aborted it, the end of a deploy is a success, and not a failure; that it was too late is told."""
    if event.get("exit") not in (Exit.OK, Exit.REFUSED, Exit.ROLLED_BACK):
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
