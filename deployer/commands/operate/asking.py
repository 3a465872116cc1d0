"""What the commands of this package share: one question to each host, and how its answer is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deployer import events
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote.decode import Answer
from deployer.remote.site import Site, open_remote

__all__ = ["tell_each"]


def tell_each(
    fleet: Fleet,
    message: Mapping[str, Any],
    kind: type[Answer],
    told: Callable[[Site, Answer], str],
    *,
    limit: float | None = 60.0,
) -> int:
    """Ask every host for something it does by itself; what came of it is told in a sentence. The exit code.

    ``limit``: seconds that a host has for it; None: as long as it takes.
    """

    def ask(site: Site) -> bool:
        with open_remote(site) as (remote, facts):
            summary = told(site, remote.query(message, kind, limit=limit))
            site.report(events.Finished(host=site.host, exit=0, serving=facts.current, summary=summary))
        return True

    return conclude(fleet, each(fleet, ask))
