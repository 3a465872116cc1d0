"""``fab env``: the variables of an app on each host, and where they come from. ``fab env.get``: the value of one."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from msgspec import structs

from deployer.remote.answers import Environment
from deployer.remote.site import Site, open_remote

__all__ = ["environment"]


def environment(salt: str = "") -> Callable[[Site], Environment]:
    """The question to each host. All are given one ``salt`` (a new one), so that their marks can be compared."""
    salt = salt or secrets.token_hex(16)

    def ask(site: Site) -> Environment:
        with open_remote(site) as (remote, _):
            return structs.replace(remote.query({"op": "environment", "salt": salt}, Environment), host=site.host)

    return ask
