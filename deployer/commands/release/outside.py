"""Where the domains lead, as seen from this machine: told at the end of a command, and never in its way."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from deployer import events
from deployer.domains import Lookup, Wanted
from deployer.errors import DeployerError
from deployer.events import Reporter
from deployer.fleet.hosts import Fleet
from deployer.remote.answers import Diagnosis
from deployer.remote.site import Site
from deployer.ssh.options import SshOptions
from deployer.ssh.settings import resolve
from deployer.ssh.target import Target

__all__ = ["look", "noted", "told_at_end"]

_MOST_HOSTS = 50
_LOOK = "look at its DNS records; fab doctor asks again"


def look(fleet: Fleet) -> Lookup:
    """Begin to look the domains of the fleet's site up; those of its first host that has one."""
    served = [site for site in fleet.sites if site.config.runs_web and site.config.proxy.chosen]
    if not served:
        return Lookup(None)
    ways = {target.name: target for target in (*(site.target for site in served), *_others(served[0]))}
    ssh = served[0].ssh
    hosts = {target.host: functools.partial(_way, target, ssh) for target in list(ways.values())[:_MOST_HOSTS]}
    return Lookup(Wanted(site=served[0].config.proxy.site(), hosts=hosts))


def _others(site: Site) -> list[Target]:
    """All hosts of deploy.toml: the command may be for one of several that are behind one name."""
    found = []
    for name in site.config.hosts:
        try:
            found.append(site.config.target(name))
        except DeployerError:  # it is told where the host is used
            continue
    return found


def _way(target: Target, ssh: SshOptions) -> str:
    """Where ssh_config leads from this machine: nowhere by a jump host or a proxy command, which look up names there.

    Raises ConfigError.
    """
    settings = resolve(target, ssh)
    return "" if settings.proxy_jump or settings.proxy_command else settings.hostname


def told_at_end(fleet: Fleet, *, always: bool = False) -> Fleet:
    """The fleet, whose last event comes after a warning when its domains lead elsewhere; ``always``: after a failure,
    too."""
    found, single = look(fleet), len(fleet.sites) == 1

    def telling(report: Reporter, last: type[events.Event]) -> Reporter:
        def tell(event: events.Event) -> None:
            good = always or not getattr(event, "exit", 0)
            if isinstance(event, last) and good and (text := found.told()):
                host = fleet.sites[0].host if single else ""
                report(events.Warn(host=host, text=f"{text}; {_LOOK}"))
            report(event)

        return tell

    if not single:
        return replace(fleet, report=telling(fleet.report, events.FleetFinished))
    site = fleet.sites[0]
    return replace(fleet, sites=(replace(site, report=telling(site.report, events.Finished)),))


def noted(fleet: Fleet, found: Sequence[Diagnosis], lookup: Lookup) -> list[Diagnosis]:
    """What hosts found in themselves, with a note about the domains at the first of them that should serve these."""
    text, noted = lookup.told(), list(found)
    serving = {site.host for site in fleet.sites if site.config.runs_web and site.config.proxy.chosen}
    for number, one in enumerate(noted):
        if text and one.host in serving:
            noted[number] = structs.replace(one, notes=(*one.notes, text))
            break
    return noted
