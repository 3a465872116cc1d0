"""In which order the hosts of a fleet switch, which of them migrates, and where each waits for the others."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.errors import ConfigError
from deployer.wire.advice import do
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import BARRIERS

__all__ = ["BARRIERS", "Strategy", "barriers", "is_batch", "migrator", "number", "seconds", "waves"]

_TIME = pattern(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(s|m|h|d|w|)\Z")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BATCH = pattern(r"(?P<hosts>[1-9][0-9]{0,3})\Z|(?P<percent>[1-9][0-9]?|100)%\Z")


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a fleet switches: all at once (0, 0), or in waves.

    ``batch`` is how many hosts switch at a time: a number (``"2"``) or a share of the fleet (``"25%"``, rounded down,
    at least one); empty for all. ``canary`` hosts go first, and serve for ``bake`` seconds before the others follow.
    ``keep_going`` leaves what was found good when a later wave fails.
    """

    batch: str = ""
    canary: int = 0
    bake: float = 0.0
    keep_going: bool = False


def waves(hosts: Sequence[str], strategy: Strategy) -> tuple[tuple[str, ...], ...]:
    """The hosts in the order they were named, in the groups that switch together. Raises ConfigError.

    A canary that is the whole fleet is its only wave, and bakes all the same.
    """
    size = _size(strategy.batch, len(hosts))
    if strategy.canary < 0:
        raise ConfigError(message=f"--canary {strategy.canary}: a number of hosts is wanted", next=do("say --canary 1"))
    if strategy.bake < 0 or (strategy.bake and not strategy.canary):
        raise ConfigError(
            message="--bake is how long a canary serves before the others follow", next=do("say --canary 1")
        )
    rest = hosts[strategy.canary :]
    batches = (rest[start : start + size] for start in range(0, len(rest), size))
    return tuple(tuple(wave) for wave in (hosts[: strategy.canary], *batches) if wave)


def _size(batch: str, fleet: int) -> int:
    if not batch:
        return max(1, fleet)
    match = _BATCH.fullmatch(batch)
    if not match:
        text = f"--batch {batch}: a number of hosts, or a share from 1% to 100%, is wanted"
        raise ConfigError(message=text, next=do("say --batch 2 or --batch 25%"))
    return int(match["hosts"]) if match["hosts"] else max(1, fleet * int(match["percent"]) // 100)


def is_batch(text: str) -> bool:
    """Whether this is a number of hosts (``2``), or a share of them (``25%``)."""
    return _BATCH.match(text) is not None


def migrator(hosts: Sequence[str], chosen: str | None) -> str:
    """The host that runs the migration: the one that was chosen, else the first by name. Raises ConfigError."""
    if chosen and chosen not in hosts:
        text = f"{chosen} is to run the migration, and is not among the hosts of this command"
        raise ConfigError(message=text, next=do(f"add {chosen} to the hosts, or say --no-migrate"))
    return chosen or min(hosts)


def barriers(host: str, *, migrator: str, migrates: bool) -> tuple[str, ...]:
    """Where a host waits for the laptop's signal. Without a migration it need not wait before the check."""
    if not migrates:
        return BARRIERS[2:]
    return BARRIERS if host == migrator else BARRIERS[1:]


def number(option: str, text: str) -> int:
    """How many hosts an option says. Raises ConfigError; Invoke would meet what is no number with a traceback."""
    if not text.isdecimal():
        raise ConfigError(message=f"{option} {text}: a number of hosts is wanted", next=do(f"say {option} 1"))
    return int(text)


def duration(text: str) -> float | None:
    """A length of time in seconds: ``90``, ``90s``, ``2m``, ``1h``, ``3d``, ``1w``; None for any other text."""
    match = _TIME.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] if match else None


def seconds(text: str, option: str = "--bake", example: str = "90s") -> float:
    """The value of an option that is a length of time, such as how long a canary bakes. Raises ConfigError."""
    found = duration(text)
    if found is None:
        raise ConfigError(message=f"{option} {text}: a time is wanted", next=do(f"say {option} {example}"))
    return found
