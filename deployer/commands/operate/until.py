"""A point in time as people type it: a duration, a time of day, a date, or both. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from deployer.errors import ConfigError
from deployer.rollout import duration
from deployer.wire.advice import do
from deployer.wire.lazyre import pattern

__all__ = ["moment"]

_TIME = pattern(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_LONGEST = timedelta(days=3660)


def moment(text: str, now: datetime) -> datetime:
    """When ``text`` is: ``90m``, ``2h``, ``3d`` from now; ``18:00``, the next; ``2026-12-01``, its begin; ``2026-12-01
    09:00``, also with ``T`` and an offset from UTC. ``now`` and what has no offset are in the local time zone.

    Raises ConfigError when it is none of these, or not in the ten years to come.
    """
    found = _parse(text.strip(), now)
    if found is None:
        raise ConfigError(
            message=f"--until {text!r}: no time that is understood",
            next=do("say for how long (30m, 2h, 3d), until what time (18:00), or which date ('2026-12-01 09:00')"),
        )
    if not now < found <= now + _LONGEST:
        when = found.astimezone().strftime("%Y-%m-%d %H:%M")
        raise ConfigError(
            message=f"--until {text!r} is {when}, which is {'past' if found <= now else 'more than ten years away'}",
            next=do("name a time to come"),
        )
    return found


def _parse(text: str, now: datetime) -> datetime | None:
    length = duration(text) if not text.isdigit() else None  # a number alone could be an hour, too
    if length is not None:
        return now + timedelta(seconds=length)
    if found := _TIME.fullmatch(text):
        today = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        return today if today > now else today + timedelta(days=1)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=None).astimezone()
