"""Problems with what ``fab setup`` prepared, for ``fab doctor``: accounts, logins, confinement, the proxy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.assets import media
from deployer.host.errors import HostError
from deployer.host.job import lock
from deployer.host.proxy import certbot, certificate, directives, nginx, server
from deployer.host.proxy.proof import other_sites, proof
from deployer.host.setup import unsupported
from deployer.host.setup.users import ageing, login
from deployer.host.state.app import Context
from deployer.wire.site import ProxySite

_SETUP = "fab setup -H root@HOST"
_CADDY = Path("/etc/caddy")
_POOLED = "after a switch a kept connection reaches the old release, and a POST may be lost"


def findings(ctx: Context) -> list[dict[str, Any]]:
    """Each with its kind, what it is about, a sentence, and its repair. What cannot be checked is left out."""
    found: list[dict[str, Any]] = []
    for kind, check in (
        ("account", _accounts),
        ("login", _login),
        ("confinement", _confinement),
        ("proxy", _site),
        ("proxy", _media),
        ("certificate", _certificates),
        ("proxy", _nginx_pooling),
        ("proxy", _caddy_pooling),
    ):
        with contextlib.suppress(HostError, OSError):
            found += [_finding(kind, what, text, repair) for what, text, repair in check(ctx)]
    return found


def _accounts(ctx: Context) -> Iterator[tuple[str, str, str]]:
    today = ageing.today()
    for user in (ctx.app, ctx.settings.deploy_user):
        shadow = ageing.shadow(user)
        problem = shadow.problem(today) if shadow else ""
        if shadow is None or not problem:
            continue
        then = "it cannot log in, nor use sudo" if shadow.is_over(today) else "from then on no deploy can log in"
        by_hand = f"as root on the host: chage -M -1 -I -1 -E -1 -d {ageing.date(today)} {user}"
        yield user, f"{user}: {problem}; {then}", by_hand if shadow.by_password else f"{_SETUP}   (mends it)"


def _login(ctx: Context) -> Iterator[tuple[str, str, str]]:
    user = ctx.settings.deploy_user
    for text, repair in login.problems(user):
        yield user, text, repair


def _confinement(ctx: Context) -> Iterator[tuple[str, str, str]]:
    why = unsupported.problem(ctx.app, ctx.settings.deploy_user, ctx.settings.unsupported)
    if why:
        yield ctx.app, f"nothing new of the app can be started on this host: {why}", f"{_SETUP}   (finds what it bears)"


def _site(ctx: Context) -> Iterator[tuple[str, str, str]]:
    """Whether the site's file is the one that setup wrote."""
    if not ctx.settings.proxy:
        return
    if ctx.settings.site is None:
        yield ctx.app, "the site was set up by an older deployer", f"{_SETUP}   (writes it again)"
        return
    wanted = server.site_file(ctx.settings.proxy, ctx.settings.site, ctx.paths)
    path = wanted.path
    if not path.exists():
        yield str(path), f"{path} is gone", f"{_SETUP}   (writes it again)"
    elif path.read_bytes() != wanted.text.encode():
        yield str(path), f"{path} is not what setup wrote", f"{_SETUP}   (writes it again), or put it back"


def _media(ctx: Context) -> Iterator[tuple[str, str, str]]:
    """Whether the proxy can read what the app writes for visitors."""
    for path, text in media.problems(ctx.paths, media.directories(ctx.settings.site)):
        yield str(path), text, f"{_SETUP}   (opens it again)"


def outside(ctx: Context) -> other_sites.Seen:
    """What a visitor meets who asks for the app. Not asked while a deploy may switch."""
    if lock.running(ctx) is not None:
        return other_sites.Seen()
    try:
        if not ctx.settings.proxy:
            return other_sites.look(ctx)
        made = proof.visits(ctx)
    except (HostError, OSError) as error:
        return other_sites.Seen(unknown=[str(error)])
    unknown = [] if made else ["there is no site, or no socket, to ask at"]
    return other_sites.Seen(proof.proven(made), proof.problems(ctx, made, certificates=False), unknown)


def reached(ctx: Context, seen: other_sites.Seen) -> list[dict[str, Any]]:
    """What keeps a visitor from the app."""
    return [_finding("proxy", ctx.app, text, repair) for text, repair in seen.problems]


def unknown(seen: other_sites.Seen) -> list[str]:
    """What is not known of visitors, for people."""
    told = "" if seen.reached or seen.problems else "visitors were not seen to reach the app: "
    return [told + why for why in seen.unknown]


def _finding(kind: str, what: str, text: str, repair: str) -> dict[str, Any]:
    return {"kind": kind, "what": what, "text": text, "repair": repair, "fix": False}


def _certificates(ctx: Context) -> Iterator[tuple[str, str, str]]:
    """Whether each name of the site is served with a certificate that is good, and will be."""
    site, kind = ctx.settings.site, ctx.settings.proxy
    if site is None or not site.ends_tls:
        return
    for name in site.domains or ("localhost",):
        found = certificate.find(site.https, name.replace("*", "www"))
        if found is None:
            yield name, f"no certificate is served for {name}", _renewal(kind, site)
        elif site.domains and (wrong := certificate.judge(name.replace("*", "www"), found, time.time())):
            yield name, wrong, _renewal(kind, site)
        elif (chain := _chain(ctx.app, site)) and certificate.read(chain).serial != found.serial:
            repair = f"on the host, as root: systemctl reload {kind}"
            yield name, f"another certificate is served for {name} than the one in {chain}", repair
    if kind == "nginx" and site.tls == "auto" and not certbot.renews():
        timer = certbot.TIMERS[0]
        text = f"{timer} does not run: the certificate will not be renewed"
        yield timer, text, f"on the host, as root: systemctl enable --now {timer}"


def _chain(app: str, site: ProxySite) -> Path | None:
    """The file that should be served; None where the proxy keeps its own."""
    found = server.obtained(site, app)
    return Path(found.chain) if found else Path(site.certificate) if site.certificate else None


def _renewal(kind: str, site: ProxySite) -> str:
    if site.tls == "files":
        return f"put a new one into {site.certificate} and {site.key}, then on the host: systemctl reload {kind}"
    if kind == "caddy":
        return "on the host, as root: journalctl -u caddy   (why it could get none; it goes on trying)"
    return f"{_SETUP}   (tries again); on the host, as root: certbot renew   (says why not)"


def _nginx_pooling(ctx: Context) -> Iterator[tuple[str, str, str]]:
    """Upstreams to the app, in any site, that keep their connections."""
    for one in directives.pooling_upstreams(directives.read_directives(), ctx.app, nginx.version()):
        text = f"{one.where} keeps connections to the app ({' '.join(one.words)}): {_POOLED}"
        yield one.file, text, "take the line out, and have the location send: proxy_set_header Connection close"


def _caddy_pooling(ctx: Context) -> Iterator[tuple[str, str, str]]:
    for path in sorted(_CADDY.rglob("*")) if _CADDY.is_dir() else ():
        if path.is_file() and _caddy_pools(path.read_bytes().decode("utf-8", "replace"), ctx.app):
            text = f"{path} keeps connections to the app, as Caddy does unless it is told not to: {_POOLED}"
            yield str(path), text, "in its reverse_proxy block: transport http { keepalive off }"


def _caddy_pools(text: str, app: str) -> bool:
    """Whether a Caddyfile leads to the app without ``keepalive off`` in the same block. Pure."""
    _, found, rest = text.partition(f"unix//srv/{app}/")
    if not found:
        return False
    _, brace, _ = rest.partition("\n")[0].partition("{")
    if not brace:
        return True
    depth, block = 0, ""
    for line in rest.splitlines():
        depth += line.count("{") - line.count("}")
        block += line + "\n"
        if depth <= 0:
            break
    return "keepalive off" not in " ".join(block.split())
