"""``fab status``: what serves on a host, and how it is."""

from __future__ import annotations

from msgspec import structs

from deployer.remote.answers import Status, StatusOf
from deployer.remote.site import Site, open_remote

__all__ = ["status"]


def status(site: Site) -> Status:
    """What serves on the host, and how it is."""
    with open_remote(site) as (remote, _):
        told = remote.query({"op": "status"}, StatusOf).status
    since = told.release.switched if told.release else 0.0
    current, standby = told.current or None, told.standby or None
    return structs.replace(told, host=site.host, current=current, standby=standby, since=since)
