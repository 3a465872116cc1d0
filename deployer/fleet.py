"""The hosts of one command, and what is done on all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployer.config import Config
from deployer.events import Reporter
from deployer.model import Decide
from deployer.site import Site

__all__ = ["Fleet"]

PARALLEL = 20
"""Hosts that are connected to and prepared at the same time, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The sites of one command: at least one, each host once, in the order in which they were named.

    Each site has the configuration of its own host; ``config`` is what deploy.toml says for all. ``parallel`` bounds
    how many hosts are connected to and prepared at the same time.
    """

    sites: tuple[Site, ...]
    config: Config
    report: Reporter
    parallel: int = PARALLEL
    decide: Decide | None = None
    advise: Callable[[str], str] = str

    @property
    def hosts(self) -> tuple[str, ...]:
        """As the user named them."""
        return tuple(site.host for site in self.sites)
