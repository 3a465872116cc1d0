"""Which endpoints lead to the app in sites that setup did not write, and what two answers say."""

from __future__ import annotations

import ssl
from typing import Any
from unittest.mock import Mock

import pytest

from deployer.host.proxy.directives import parse_dump
from deployer.host.proxy.proof import other_sites
from deployer.host.proxy.proof.proof import Endpoint

DUMP = """\
# configuration file /etc/nginx/sites-enabled/own.conf:
upstream pool { server unix:/srv/shop/current/run/web.sock; }
server {
    listen 80;
    listen [::]:443 ssl http2;
    server_name shop.test *.shop.test ~^x$;
    location / { proxy_pass http://unix:/srv/shop/current/run/web.sock; }
}
server { listen 10.0.0.1:8080; location / { proxy_pass http://pool/; } }
server { listen 81; server_name unpool.test; location / { proxy_pass http://unpool; } }
server { listen unix:/run/x.sock; location / { proxy_pass http://pool; } }
server { listen 82; location / { proxy_pass http://unix:/srv/shop-two/current/run/web.sock; } }
"""


def test_the_endpoints_of_nginx() -> None:
    """Each name at each address of a server block that leads to the app's socket, straight or by an upstream."""
    assert list(other_sites.endpoints_of_nginx(parse_dump(DUMP), "shop")) == [
        Endpoint("http", "shop.test", "80"),
        Endpoint("http", "www.shop.test", "80"),
        Endpoint("http", "localhost", "80"),
        Endpoint("https", "shop.test", "[::]:443"),
        Endpoint("https", "www.shop.test", "[::]:443"),
        Endpoint("https", "localhost", "[::]:443"),
        Endpoint("http", "localhost", "10.0.0.1:8080"),
    ]


def caddy(*routes: Any, listen: str = ":443") -> dict[str, Any]:
    return {"apps": {"http": {"servers": {"srv0": {"listen": [listen], "routes": list(routes)}}}}}


OURS = {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "unix//srv/shop/current/run/web.sock"}]}]}
OTHER = {"match": [{"host": ["other.test"]}], "handle": [{"handler": "static_response"}]}


def test_the_endpoints_of_caddy() -> None:
    """Each name of a route that leads to the app's socket."""
    named = {"match": [{"host": ["shop.test", "*.shop.test"]}], **OURS}
    assert list(other_sites.endpoints_of_caddy(caddy(OTHER, named), "shop")) == [
        Endpoint("https", "shop.test", ":443"),
        Endpoint("https", "www.shop.test", ":443"),
    ]
    assert list(other_sites.endpoints_of_caddy(caddy(OURS, listen="10.0.0.1:80"), "shop")) == [
        Endpoint("http", "localhost", "10.0.0.1:80")
    ]


@pytest.mark.parametrize("odd", [None, [], {"apps": None}, {"apps": {"http": {"servers": {"a": 3}}}}, caddy(*"ab")])
def test_an_odd_configuration_of_caddy(odd: Any) -> None:
    """It leads nowhere, and nothing is raised."""
    assert list(other_sites.endpoints_of_caddy(odd, "shop")) == []


OWN = (404, b"no such page")


@pytest.mark.cause("own-site-cannot-reach-app")
@pytest.mark.cause("own-site-of-another")
@pytest.mark.parametrize(
    ("seen", "told", "is_problem"),
    [
        (OWN, "likely this app", False),
        ((404, b"nginx"), "not known", False),
        ((401, b""), "not known", False),
        ((502, b""), "cannot reach the app", True),
        ((200, b"Welcome to nginx!"), "another site answers", True),
        ((0, b""), "no HTTP", True),
    ],
)
def test_what_two_answers_say(seen: tuple[int, bytes], told: str, is_problem: bool) -> None:
    """Equal ones make it likely, never certain; a login or a redirect in front says nothing."""
    text, repair = other_sites._compared(Endpoint("http", "shop.test", "80"), seen, OWN)
    assert told in text
    assert bool(repair) is is_problem


@pytest.mark.cause("own-site-silent")
def test_a_site_at_which_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found, with why; nothing more is asked there."""

    def refuse(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(other_sites.proof, "ask", refuse)
    seen = other_sites.Seen()
    other_sites._visit(Mock(), 2, Endpoint("http", "shop.test", "80"), Mock(by_nonce={}), seen)
    ((text, repair),) = seen.problems
    assert text == "nothing answers for http://shop.test at 80: Connection refused"
    assert "systemctl status nginx caddy" in repair


@pytest.mark.cause("own-site-certificate-refused")
@pytest.mark.parametrize(("code", "is_problem"), [(10, True), (18, False)], ids=["expired", "of nobody known"])
def test_a_certificate_that_browsers_refuse(monkeypatch: pytest.MonkeyPatch, code: int, is_problem: bool) -> None:
    """One that is over is a problem; one of an authority of the admin's own may be what a front trusts."""
    error = ssl.SSLCertVerificationError(1, "refused")
    error.verify_code, error.verify_message = code, "certificate has expired"
    answers = [error, (200, {}, b"")]

    def ask(*_: object) -> tuple[int, dict[str, str], bytes]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(other_sites.proof, "ask", ask)
    seen = other_sites.Seen()
    assert other_sites._ask(Endpoint("https", "shop.test", "443"), "n", seen)[0] == 200
    told = [text for text, _ in seen.problems] if is_problem else seen.unknown
    assert len(told) == 1 and told[0].startswith("browsers refuse the certificate of shop.test")
    assert bool(seen.problems) is is_problem
