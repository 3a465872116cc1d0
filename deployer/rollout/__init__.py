"""Pure: how a fleet switches, all hosts or none. No clock, no thread and no connection is known here."""

from deployer.rollout.machine import Order, Rollout
from deployer.rollout.waves import Strategy, barriers, duration, migrator, number, seconds, waves

__all__ = ["Order", "Rollout", "Strategy", "barriers", "duration", "migrator", "number", "seconds", "waves"]
