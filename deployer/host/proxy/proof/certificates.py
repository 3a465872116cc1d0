"""The certificates that a site serves: whether each of its names has one that is good, and will be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from deployer.host.proxy import certbot, certificate, server
from deployer.host.proxy.proof import causes
from deployer.host.state.app import Context
from deployer.wire.site import ProxySite

_WITHIN = 60.0
"""Seconds after which no other name is looked at."""


def problems(ctx: Context, within: float = _WITHIN) -> Iterator[tuple[str, str, str]]:
    """What is wrong: the name that it is about, a sentence, and its repair. After ``within`` seconds no other name is
    looked at. Raises HostError, OSError."""
    deadline = time.monotonic() + within
    site, kind = ctx.settings.site, ctx.settings.proxy
    if site is None or not site.ends_tls:
        return
    for name in site.domains or ("localhost",):
        if time.monotonic() >= deadline:
            return
        found = certificate.find(site.https, name.replace("*", "www"))
        if found is None:
            yield (name, *_renewal(kind, site, f"no certificate is served for {name}"))
        elif site.domains and (wrong := certificate.judge(name.replace("*", "www"), found, time.time())):
            yield (name, *_renewal(kind, site, wrong))
        elif (chain := _chain(ctx.app, site)) and certificate.read(chain).serial != found.serial:
            yield (name, *causes.NOT_LOADED.finding(name=name, chain=chain, proxy=kind))
    if kind == "nginx" and site.tls == "auto" and not certbot.renews():
        timer = certbot.TIMERS[0]
        yield (timer, *causes.NOT_RENEWED.finding(timer=timer))


def _chain(app: str, site: ProxySite) -> Path | None:
    """The file that should be served; None where the proxy keeps its own."""
    found = server.obtained(site, app)
    return Path(found.chain) if found else Path(site.certificate) if site.certificate else None


def _renewal(kind: str, site: ProxySite, problem: str) -> tuple[str, str]:
    """The finding of a certificate that is missing or wrong, by who has to get another one."""
    if site.tls == "files":
        values = {"chain": site.certificate, "key": site.key, "proxy": kind}
        return causes.OWN_CERTIFICATE.finding(problem=problem, **values)
    return (causes.CADDY_CERTIFICATE if kind == "caddy" else causes.CERTBOT_CERTIFICATE).finding(problem=problem)
