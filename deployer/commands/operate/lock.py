"""``fab lock`` and ``fab unlock``: keep releases from beginning on all hosts, with a reason, and let them again."""

from __future__ import annotations

from datetime import datetime

from deployer.commands.operate.asking import tell_each
from deployer.commands.operate.until import moment
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.remote.answers import LockAnswer
from deployer.remote.site import Site, who
from deployer.wire.advice import run
from deployer.wire.deploylock import MOST_WHY

__all__ = ["checked", "lock", "unlock"]


def lock(fleet: Fleet, *, why: str, until: str = "") -> int:
    """Have each host refuse to begin a release; the exit code. What runs goes on.

    ``until``: see :func:`deployer.commands.operate.until.moment`. Raises ConfigError for what is wrong with them.
    """
    reason, ends = checked(why, until)
    message = {"op": "lock", "by": who(), "why": reason, "until": ends}
    return tell_each(fleet, message, LockAnswer, lambda _, found: f"deploys are {found.lock}; what runs goes on")


def unlock(fleet: Fleet) -> int:
    """Let releases begin again on each host; the exit code. Where they are not locked, that is said."""

    def told(_: Site, found: LockAnswer) -> str:
        return f"unlocked; deploys were {found.lock}" if found.lock else "deploys were not locked"

    return tell_each(fleet, {"op": "unlock"}, LockAnswer, told)


def checked(why: str, until: str) -> tuple[str, float]:
    """The reason in one line, and the end in seconds since 1970 (0.0: none). Raises ConfigError."""
    reason = " ".join(why.split())
    again = run("fab lock -m 'until the sale is over'")
    if not reason:
        raise ConfigError(message="fab lock needs a reason, for those whom it stops", next=again)
    if len(reason) > MOST_WHY or not reason.isprintable():
        raise ConfigError(message=f"the reason is longer than {MOST_WHY} characters, or not plain text", next=again)
    return reason, moment(until, datetime.now().astimezone()).timestamp() if until else 0.0
