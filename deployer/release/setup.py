"""Pure: what a deploy.toml and a lock ask of a host that is set up."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from deployer.config import Config, ProxyConfig
from deployer.project.locks.lockfile import Lock
from deployer.release.spec import as_the_host_reads
from deployer.wire.protocol import dumps
from deployer.wire.setup.request import Setup
from deployer.wire.setup.software import Postgresql, Redis, Software
from deployer.wire.site import TIMEOUT

__all__ = ["setup_request"]

_USUAL, _STREAMS = 60.0, 3600.0
"""Seconds: what a proxy waits for an app that answers, and for one whose websockets and streams may be idle."""


def setup_request(
    config: Config,
    keys: tuple[str, ...],
    allow_units: tuple[str, ...],
    *,
    lock: Lock | None = None,
    upgrade: bool = False,
) -> dict[str, Any]:
    """What ``fab setup`` asks of the host program. There is a site only where something answers requests; ``lock`` says
    which Python the project needs, ``upgrade`` brings one that setup installed up to date.

    Raises ConfigError for what the host would refuse.
    """
    proxy = config.proxy if config.runs_web else ProxyConfig()
    site = proxy.site(_patience(config)).as_json() if proxy.chosen else None
    request = {
        "app": config.app, "deploy_user": config.deploy_user, "keys": list(keys), "units": list(allow_units),
        "proxy": proxy.chosen, "site": site,
        "software": json.loads(dumps(asdict(_software(config, lock, upgrade)))),
    }  # fmt: skip
    with as_the_host_reads():
        Setup.parse(request)
    return request


def _patience(config: Config) -> float:
    """How many seconds the proxy waits for the app: longer than its server, which ends what takes too long itself."""
    web = config.web
    if web.server_name != "gunicorn":
        return _STREAMS if web.asgi or web.command else _USUAL
    words = [part for word in web.args for part in word.split("=", 1)]
    told = [after for word, after in pairwise(words) if word in ("-t", "--timeout")]
    seconds = int(told[-1]) if told and told[-1].isdecimal() else 30
    return min(max(_USUAL, seconds + 10.0), TIMEOUT[1]) if seconds else _STREAMS


def _software(config: Config, lock: Lock | None, upgrade: bool) -> Software:
    host = config.host
    return Software(
        python=config.python or (lock.python if lock else ""),
        requires=lock.requires if lock else "",
        mirror=host.python_mirror or "",
        upgrade=upgrade,
        packages=host.packages,
        postgresql=Postgresql(backups=host.postgresql.backups) if host.postgresql else None,
        redis=Redis(memory=host.redis.memory_bytes) if host.redis else None,
    )
