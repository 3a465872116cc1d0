"""What every host has of the app's environment, before anything is changed; and how a change differs from that."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace

from deployer import events
from deployer.commands.env.show import environment
from deployer.config.environment.secret import Secret
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote.answers import Environment
from deployer.remote.site import Site
from deployer.wire.environment import mark
from deployer.wire.lazydata import dataclass

__all__ = ["Difference", "Look", "difference", "look", "quietly"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the hosts have, by name, in the fleet's order; ``exit`` is not 0 when some host gave no answer, which is
    reported then. ``salt`` is that of the marks."""

    salt: str
    hosts: Mapping[str, Environment]
    exit: int = 0

    @property
    def deployed(self) -> tuple[str, ...]:
        """The hosts on which a release serves."""
        return tuple(host for host, found in self.hosts.items() if found.current)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a change differs from what a host keeps, by name. ``same`` are those that it keeps already; of these what
    serves lacks the ``staged``."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        parts = (("sets", self.added), ("changes", self.changed), ("removes", self.removed))
        return "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names)


def look(fleet: Fleet) -> Look:
    """Ask every host. The error of a single host is raised."""
    salt = secrets.token_hex(16)
    ask = environment(salt)
    ends = each(fleet, lambda site: ask(quietly(site)))
    hosts = {ended.site.host: ended.value for ended in ends if ended.value is not None}
    if len(hosts) == len(ends):
        return Look(salt=salt, hosts=hosts)
    return Look(salt=salt, hosts=hosts, exit=conclude(fleet, ends))


def difference(found: Environment, put: Mapping[str, Secret], remove: Iterable[str], salt: str) -> Difference:
    """How putting and removing variables differs from what a host keeps. Pure."""
    rows = {row.name: row for row in found.variables}
    kept = {name: row.kept for name, row in rows.items() if row.kept}
    marks = {name: mark(salt, value.reveal()) for name, value in put.items()}
    same = tuple(name for name in put if kept.get(name) == marks[name])
    return Difference(
        added=tuple(name for name in put if name not in kept),
        changed=tuple(name for name in put if name in kept and name not in same),
        removed=tuple(name for name in remove if name in kept),
        same=same,
        staged=tuple(name for name in same if rows[name].serves != marks[name]),
    )


def quietly(site: Site) -> Site:
    """The same site; that it is connected to once more than the release itself needs is no news."""

    def hear(event: events.Event) -> None:
        if not isinstance(event, (events.Connecting, events.Connected)):
            site.report(event)

    return replace(site, report=hear)
