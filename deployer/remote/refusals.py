"""What a host told before anything was sent, and why a command for it does not begin then."""

from __future__ import annotations

from deployer.errors import Busy
from deployer.remote.facts import Facts
from deployer.remote.session import Remote
from deployer.wire.advice import NOTHING, run

__all__ = ["refuse_if_busy", "refuse_if_locked"]


def refuse_if_locked(remote: Remote, facts: Facts) -> None:
    """Raises Busy saying who keeps deploys from beginning, why and until when."""
    if facts.lock is not None:
        raise Busy(
            message=f"deploys of {remote.app} are {facts.lock}",
            state="nothing was touched",
            next=run("fab unlock", "ends that"),
            host=remote.host,
        )


def refuse_if_busy(remote: Remote, facts: Facts, *, patient: str = "") -> None:
    """Raises Busy saying who deploys, since when and at which phase. ``patient`` is the command that would wait."""
    if facts.busy is None:
        return
    wait = run(patient, "waits for its turn") if patient else NOTHING
    raise Busy(
        message=f"busy: {facts.busy}",
        state="nothing was touched",
        next=run("fab attach", "follows it") + wait,
        host=remote.host,
    )
