"""The state of timers: when one is due next, and how its last run ended."""

from __future__ import annotations

import contextlib
from typing import Any

from deployer.host.system import runner, systemd
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

_SHOWN = ("ActiveState", "LastTriggerUSec", "NextElapseUSecRealtime", "Result", "ExecMainStartTimestamp")
_DATE = pattern(r"\w+ (\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) UTC\Z")


@dataclass(frozen=True)
class TimerState:
    """A timer and its runs. Times are in seconds since 1970, 0 for none.

    ``result`` is how the last run ended (``Result=``); empty while one runs, and when there was none since boot.
    """

    active: str
    next: float
    last: float
    running: bool
    result: str


def show(timer: str) -> TimerState:
    """The state of a timer that starts the service of the same name; one that does not exist is ``inactive``.

    Raises HostError. Times are asked for in UTC: systemctl 247 ignores ``--timestamp=`` for ``show``.
    """
    service = timer.rpartition(".")[0] + ".service"
    own, its = systemd.properties([timer, service], *_SHOWN, utc=True)
    started = _moment(its.get("ExecMainStartTimestamp", ""))
    running = its.get("ActiveState") in ("activating", "active", "reloading", "deactivating")
    result = its.get("Result", "")
    return TimerState(
        active=own.get("ActiveState", "inactive"),
        next=_moment(own.get("NextElapseUSecRealtime", "")),
        last=max(_moment(own.get("LastTriggerUSec", "")), started),
        running=running,
        result="" if running or (result == "success" and not started) else result,
    )


def upcoming(expression: str) -> dict[str, Any]:
    """When a calendar expression (systemd.time(7)) is due next: ``next`` in seconds since 1970, 0 for never.

    ``problem`` is what systemd says about an invalid one.
    """
    done = runner.run(["systemd-analyze", "calendar", "--", expression])
    values = dict(line.strip().partition(": ")[::2] for line in done.out.splitlines())
    return {
        "calendar": expression,
        "next": _moment(values.get("(in UTC)") or values.get("Next elapse", "")),
        "problem": "" if done.ok else " ".join(done.tail(1)) or "it is not understood",
    }


def _moment(text: str) -> float:
    """``Thu 2026-11-26 07:30:00 UTC`` as seconds since 1970; 0 for anything else."""
    import calendar

    found = _DATE.fullmatch(text)
    with contextlib.suppress(ValueError, OverflowError):  # a month, say, that there is not
        return float(calendar.timegm(tuple(map(int, found.groups())))) if found else 0.0
    return 0.0
