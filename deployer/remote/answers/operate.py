"""What became of a running app that was acted on: the answers to ``stop``, ``start``, ``restart`` and ``prune``."""

from __future__ import annotations

from msgspec import Struct

from deployer.remote.answers.values import Name


class Stopped(Struct, frozen=True, kw_only=True):
    """``was_up``: it ran before. ``finishing`` are processes that still finish their last jobs."""

    was_up: bool
    finishing: tuple[str, ...]


class Started(Struct, frozen=True, kw_only=True):
    """``health``: what the health check said; empty on a host without web."""

    health: str


class Restarted(Struct, frozen=True, kw_only=True):
    """``waiting`` are those of the ``units`` that start anew when they have ended their last jobs."""

    units: tuple[str, ...]
    waiting: tuple[str, ...]


class Prunable(Struct, frozen=True, kw_only=True):
    """The releases that would be removed."""

    releases: tuple[Name, ...]
