"""WebSockets across a handover, through each proxy: open ones go on past the switch, and are then closed cleanly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.https import secure_host
from tests.support.site import Site, make_site, wait_until
from tests.support.websocket import Visitor

pytestmark = pytest.mark.acceptance

CONFIG = """\
app = "shop"
[web]
asgi = "plain:app"
workers = 1
health = {{ path = "/healthz", settle = 0.5, timeout = 30 }}
[release]
watch = 1
drain = 10
[proxy]
kind = "{kind}"
listen = "{address}:80"
"""
RESTARTS = 1012
"""The code by which a server says that it goes down, and that the client may connect again (uvicorn's)."""
CUT = 0
"""Seen by a visitor whose message was under way when the server closed. uvicorn closes the connection right after its
close frame; nginx, which cannot pass the message on, ends both sides before it reads that frame."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A bare ASGI app on a host that has both proxies."""
    with secure_host() as host:
        yield make_site(host, tmp_path_factory.mktemp("websockets") / "plain", app="plain_asgi")


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_an_open_websocket_is_closed_cleanly_once_and_reaches_the_new_release(plain: Site, kind: str) -> None:
    """A reload, a deploy and a rollback: answered up to the drain, told to come back, and answered by the next."""
    plain.project.write("deploy.toml", CONFIG.format(kind=kind, address=plain.host.address))
    plain.project.change(version=kind)
    plain.host.run("systemctl disable --now nginx caddy", check=False)
    plain.setup()
    plain.deploy()
    seen = [plain.serving]
    plain.project.change(version=f"{kind} 2")
    with contextlib.ExitStack() as stack:
        made = (Visitor(plain.host.address, quiet=quiet) for quiet in (True, True, True, False, False, False))
        visitors = [stack.enter_context(one) for one in made]
        for command in ("reload", "deploy", "rollback"):
            wait_until(lambda: all(one.releases()[-1:] == [seen[-1]] for one in visitors), f"{seen[-1]} answers all")
            plain.expect(0, command)
            seen.append(plain.serving)
        wait_until(lambda: all(one.releases()[-1:] == [seen[-1]] for one in visitors), f"{seen[-1]} answers all")
    assert len(set(seen)) == 4
    for one in visitors:
        assert one.trouble == []
        assert one.releases() == seen
        assert len(one.closed) == 3
        assert set(one.closed) <= ({RESTARTS} if one.quiet else {RESTARTS, CUT})
