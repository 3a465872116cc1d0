"""The options of a release that switches some hosts after others, and what they and deploy.toml say."""

from __future__ import annotations

import inspect
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["OPTIONS", "taken_from"]


def _options(*, batch: str = "", canary: str = "", bake: str = "", keep_going: bool = False) -> None:
    """What a task takes in place of a parameter ``strategy``."""


OPTIONS = inspect.signature(_options).parameters


def taken_from(given: MutableMapping[str, Any], fleet: Fleet) -> Strategy:
    """The waves: by the OPTIONS, which are taken out of ``given``, else by deploy.toml. Raises ConfigError."""
    from deployer.rollout import Strategy, number, seconds, waves

    usual = fleet.config.fleet
    batch, canary, bake, keep_going = (given.pop(name) for name in OPTIONS)
    first = number("--canary", canary) if canary else usual.canary
    strategy = Strategy(
        batch=batch or usual.batch,
        canary=first,
        bake=seconds(bake) if bake else usual.bake if first else 0.0,
        keep_going=keep_going,
    )
    waves(fleet.hosts, strategy)  # errors are reported for a single host, too
    return strategy
