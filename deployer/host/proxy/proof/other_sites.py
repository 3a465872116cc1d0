"""Sites that setup did not write: which of them lead to the app, and whether a visitor reaches it there.

Such a site need not know the path of the proof. It then passes the request on to the app, like any other, and its
answer is compared with the app's own for the same path: equal answers make it likely, and another copy of the app would
give the same.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

from deployer.host.errors import HostError
from deployer.host.proxy.directives import Directive, read_directives
from deployer.host.proxy.proof import causes, proof
from deployer.host.proxy.proof.listener import Arrivals, listening, read
from deployer.host.proxy.proof.proof import Endpoint
from deployer.host.state.app import Context
from deployer.host.system import runner
from deployer.wire.lazydata import dataclass
from deployer.wire.site import ProxySite

_CADDYFILE = "/etc/caddy/Caddyfile"
_MOST = 16
_KEEPS_OUT = (301, 302, 303, 307, 308, 401, 403, 429, 503)
"""Answers by which a site keeps a stranger from the app: a login, a redirect, maintenance."""


@dataclass
class Seen:
    """What became of the visits, for people: ``reached`` are URLs, ``problems`` have a repair each, ``unknown`` says
    what they do not show."""

    reached: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def look(ctx: Context) -> Seen:
    """Visit each site on this host that leads to the app. Raises OSError."""
    seen, number = Seen(), ctx.catalog.current()
    endpoints = list(dict.fromkeys([*_of_nginx(ctx.app), *_of_caddy(ctx.app)]))[:_MOST]
    if not endpoints:
        seen.unknown.append("setup has written no site here, and no other one of nginx or Caddy leads to it")
        return seen
    if number and ctx.paths.socket(number).exists():
        with listening(ctx, number) as arrivals:
            for endpoint in endpoints:
                _visit(ctx, number, endpoint, arrivals, seen)
    return seen


def _of_nginx(app: str) -> list[Endpoint]:
    with contextlib.suppress(HostError):  # no nginx here
        return list(endpoints_of_nginx(read_directives(), app))
    return []


def _of_caddy(app: str) -> list[Endpoint]:
    with contextlib.suppress(HostError, ValueError):
        done = runner.run(["caddy", "adapt", "--config", _CADDYFILE])
        return list(endpoints_of_caddy(json.loads(done.out), app)) if done.ok else []
    return []


def endpoints_of_nginx(found: Iterable[Directive], app: str) -> Iterator[Endpoint]:
    """The endpoints of the server blocks that pass requests to the app, straight or by a named upstream. Pure."""
    found = list(found)
    own = f"unix:/srv/{app}/current/run/web.sock"
    targets = {own} | {one.blocks[-1][-1] for one in found if one.words[:2] == ("server", own) and one.blocks}
    for server in _servers(found):
        passes = [one for one in server if one.words[0].endswith("_pass") and len(one.words) > 1]
        if not any(_target(one.words[1]) in targets for one in passes):
            continue
        names = [name for one in server if one.words[0] == "server_name" for name in one.words[1:]]
        for listen in (one.words for one in server if one.words[0] == "listen" and len(one.words) > 1):
            scheme, address = "https" if "ssl" in listen else "http", listen[1]
            if not address.startswith("unix:"):
                yield from (Endpoint(scheme, _example(name), _with_port(address)) for name in names or ["_"])


def _target(passed: str) -> str:
    """``http://unix:/run/a.sock:/`` without its scheme and path."""
    return (passed.partition("://")[2] or passed).rstrip("/:")


def _servers(found: Iterable[Directive]) -> Iterator[list[Directive]]:
    """The directives of each server block, in order."""
    current: list[Directive] = []
    for one in found:
        if one.words == ("server",):
            yield current
            current = []
        elif ("server",) in one.blocks:
            current.append(one)
    yield current


def _example(name: str) -> str:
    """A name that fits a pattern; any where there is none, or one that cannot be told."""
    return "localhost" if name in ("_", "") or name.startswith("~") else name.replace("*", "www").lstrip(".")


def _with_port(address: str) -> str:
    if address.isdigit():
        return address
    return address if address.rpartition(":")[2].isdigit() and not address.endswith("]") else f"{address}:80"


def endpoints_of_caddy(config: Any, app: str) -> Iterator[Endpoint]:
    """The endpoints of Caddy's routes to the app, in its configuration as JSON. Pure; odd content is skipped."""
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        for server in config["apps"]["http"]["servers"].values():
            for route in server.get("routes") or ():
                if f"unix//srv/{app}/current/run/web.sock" not in json.dumps(route):
                    continue
                matches = route.get("match") or [{"host": ["_"]}]
                names = [name for one in matches for name in one.get("host") or ("_",)]
                for address in server["listen"]:
                    scheme = "https" if address.endswith(":443") or "tls_connection_policies" in server else "http"
                    yield from (Endpoint(scheme, _example(name), address) for name in names)


def _visit(ctx: Context, number: int, endpoint: Endpoint, arrivals: Arrivals, seen: Seen) -> None:
    nonce = secrets.token_hex(16)
    try:
        status, headers, body = _ask(endpoint, nonce, seen)
    except OSError as error:
        seen.problems.append(causes.FOREIGN_SILENT.finding(endpoint=endpoint, why=error.strerror or error))
        return
    arrived = arrivals.by_nonce.get(nonce)
    if arrived is not None:
        seen.reached.append(f"{endpoint.url}, through the proxy of {arrived.user}, by a site of your own")
        return
    if headers.get("location", "").startswith("https://"):
        return  # plain HTTP that leads to HTTPS
    own_status, own_body = _ask_app(ctx, number, endpoint, nonce)
    told = _compared(endpoint, (status, body), (own_status, own_body))
    if told[1]:
        seen.problems.append(told)
    else:
        seen.unknown.append(told[0])


def _ask(endpoint: Endpoint, nonce: str, seen: Seen) -> tuple[int, dict[str, str], bytes]:
    """Over a certificate that browsers refuse, too. Raises OSError."""
    if endpoint.scheme == "http":
        return proof.ask(endpoint, nonce, None)
    import ssl

    try:
        return proof.ask(endpoint, nonce, proof.browser(ProxySite()))
    except ssl.SSLCertVerificationError as error:
        told = causes.FOREIGN_REFUSED.finding(name=endpoint.name, why=error.verify_message)
        if error.verify_code in proof.PRIVATE:
            seen.unknown.append(f"{told[0]} (fine behind a proxy that trusts it)")
        else:
            seen.problems.append(told)
        return proof.ask(endpoint, nonce, ssl._create_unverified_context())  # noqa: S323


def _ask_app(ctx: Context, number: int, endpoint: Endpoint, nonce: str) -> tuple[int, bytes]:
    """What the app itself answers for the same path. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5.0)
        connection.connect(str(ctx.paths.socket(number)))
        connection.sendall(proof.request(endpoint, nonce, f"X-Forwarded-Proto: {endpoint.scheme}"))
        status, _, body = proof.response(read(connection, b"", 5.0))
    return status, body


def _compared(endpoint: Endpoint, seen: tuple[int, bytes], own: tuple[int, bytes]) -> tuple[str, str]:
    """What two answers to one question say, for people, and the repair where they show a problem. Pure."""
    hint = "pass /.well-known/deployer/ on to run/probe.sock beside the app's socket, and it can be proven"
    if seen == own:
        return f"{endpoint.url} answers as the app does, so it is likely this app: {hint}", ""
    if seen[0] in (502, 504):
        return causes.FOREIGN_CUT_OFF.finding(endpoint=endpoint)
    if seen[0] == own[0] or seen[0] in _KEEPS_OUT:
        return f"whether {endpoint.url} is this app is not known (it answered {seen[0]}, the app {own[0]}): {hint}", ""
    return causes.FOREIGN_OTHER.finding(endpoint=endpoint, answer=seen[0] or "no HTTP", own=own[0])
