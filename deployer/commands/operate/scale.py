"""``fab scale``: more or fewer of a process on each host, as a new release of what serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.fleet.release import release
from deployer.release.again import Scale
from deployer.rollout import Strategy
from deployer.wire.advice import run
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import WEB
from deployer.wire.release.processes import COUNT, WORKERS

__all__ = ["counts_told", "parse", "scale", "scale_of"]

_COUNT = pattern(r"(?P<name>[a-z][a-z0-9_]{0,23})=(?P<count>[0-9]{0,4})")
_EXAMPLE = run("fab scale worker=3 web=8") + run("fab scale worker=", "takes the number of deploy.toml again")


def scale(fleet: Fleet, counts: str, *, wait: bool = False, strategy: Strategy) -> int:
    """A new release of what serves, with other counts; the exit code. Raises ConfigError for counts that are none."""
    kind = scale_of(fleet, counts)
    return release(fleet, lambda: kind, strategy=strategy, wait=wait)


def scale_of(fleet: Fleet, counts: str) -> Scale:
    """What is to be released. Raises ConfigError."""
    again = f"fab scale {' '.join(counts.split())}"
    return Scale(counts=parse(counts), configs={site.host: site.config for site in fleet.sites}, again=again)


def parse(text: str) -> Mapping[str, int | None]:
    """Counts by name of ``worker=3 web=`` (or with commas); None: as deploy.toml has it. Raises ConfigError."""
    found: dict[str, int | None] = {}
    for part in text.replace(" ", ",").split(","):
        if not part:
            continue
        match = _COUNT.fullmatch(part)
        if match is None or match["name"] in found:
            what = "is there twice" if match else "is not NAME=NUMBER"
            raise ConfigError(message=f"fab scale: {part!r} {what}", next=_EXAMPLE)
        low, high = WORKERS if match["name"] == WEB else COUNT
        count = int(match["count"]) if match["count"] else None
        if count is not None and not low <= count <= high:
            raise ConfigError(message=f"fab scale: {part}: there can be {low} to {high} of it", next=_EXAMPLE)
        found[match["name"]] = count
    if not found:
        raise ConfigError(message="say how many there are to be of which process", next=_EXAMPLE)
    return found


def counts_told(kind: Scale) -> Iterator[str]:
    """``3 worker``, for people."""
    for name, count in kind.counts.items():
        yield f"{name} as deploy.toml says" if count is None else f"{count} {name}"
