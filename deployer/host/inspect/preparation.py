"""Problems with what ``fab setup`` prepared, for ``fab doctor``: accounts, logins, confinement, the proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.assets import media
from deployer.host.errors import HostError
from deployer.host.inspect import causes
from deployer.host.inspect.causes import finding
from deployer.host.job import lock
from deployer.host.proxy import directives, nginx, server
from deployer.host.proxy.proof import certificates, other_sites, proof
from deployer.host.setup import unsupported
from deployer.host.setup.users import ageing, login
from deployer.host.state.app import Context

_CADDY = Path("/etc/caddy")
Found = tuple[str, str, str]
"""What it is about, a sentence, and its repair."""


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
            found += [finding(kind, what, text, repair) for what, text, repair in check(ctx)]
    return found


def _accounts(ctx: Context) -> Iterator[Found]:
    today = ageing.today()
    for user in (ctx.app, ctx.settings.deploy_user):
        shadow = ageing.shadow(user)
        problem = shadow.problem(today) if shadow else ""
        if shadow is None or not problem:
            continue
        then = "it cannot log in, nor use sudo" if shadow.is_over(today) else "from then on no deploy can log in"
        cause = causes.PASSWORD_ENDS if shadow.by_password else causes.ACCOUNT_ENDS
        yield (user, *cause.finding(user=user, problem=problem, then=then, today=ageing.date(today)))


def _login(ctx: Context) -> Iterator[Found]:
    user = ctx.settings.deploy_user
    for text, repair in login.problems(user):
        yield user, text, repair


def _confinement(ctx: Context) -> Iterator[Found]:
    why = unsupported.problem(ctx.app, ctx.settings.deploy_user, ctx.settings.unsupported)
    if why:
        yield (ctx.app, *causes.CONFINEMENT.finding(why=why))


def _site(ctx: Context) -> Iterator[Found]:
    """Whether the site's file is the one that setup wrote."""
    if not ctx.settings.proxy:
        return
    if ctx.settings.site is None:
        yield (ctx.app, *causes.SITE_OLD.finding())
        return
    wanted = server.site_file(ctx.settings.proxy, ctx.settings.site, ctx.paths)
    path = wanted.path
    if not path.exists():
        yield (str(path), *causes.SITE_GONE.finding(path=path))
    elif path.read_bytes() != wanted.text.encode():
        yield (str(path), *causes.SITE_CHANGED.finding(path=path))


def _media(ctx: Context) -> Iterator[Found]:
    """Whether the proxy can read what the app writes for visitors."""
    for path, text in media.problems(ctx.paths, media.directories(ctx.settings.site)):
        yield (str(path), *causes.MEDIA.finding(problem=text))


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
    return [finding("proxy", ctx.app, text, repair) for text, repair in seen.problems]


def unknown(seen: other_sites.Seen) -> list[str]:
    """What is not known of visitors, for people."""
    told = "" if seen.reached or seen.problems else "visitors were not seen to reach the app: "
    return [told + why for why in seen.unknown]


def _certificates(ctx: Context) -> Iterator[Found]:
    """Whether each name of the site is served with a certificate that is good, and will be."""
    yield from certificates.problems(ctx)


def _nginx_pooling(ctx: Context) -> Iterator[Found]:
    """Upstreams to the app, in any site, that keep their connections."""
    for one in directives.pooling_upstreams(directives.read_directives(), ctx.app, nginx.version()):
        yield (one.file, *causes.NGINX_POOLS.finding(where=one.where, words=" ".join(one.words)))


def _caddy_pooling(ctx: Context) -> Iterator[Found]:
    for path in sorted(_CADDY.rglob("*")) if _CADDY.is_dir() else ():
        if path.is_file() and _caddy_pools(path.read_bytes().decode("utf-8", "replace"), ctx.app):
            yield (str(path), *causes.CADDY_POOLS.finding(path=path))


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
