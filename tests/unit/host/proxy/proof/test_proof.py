"""The endpoints of a site, and how a visitor is told to come in."""

from __future__ import annotations

from dataclasses import replace

from deployer.host.proxy.proof import proof
from deployer.host.proxy.proof.proof import Endpoint
from deployer.wire.site import ProxySite

PLAIN = ProxySite(domains=("shop.test", "*.shop.test"), listen=("80", "10.0.0.1:8080"))


def test_each_name_is_tried_at_each_address() -> None:
    """A pattern by an example; IPv6 where the host has it; over TLS first, and plain HTTP need only lead there."""
    assert [str(one) for one in proof.endpoints(PLAIN, ipv6=True)] == [
        "http://shop.test at 80",
        "http://www.shop.test at 80",
        "http://shop.test at [::]:80",
        "http://www.shop.test at [::]:80",
        "http://shop.test:8080 at 10.0.0.1:8080",
        "http://www.shop.test:8080 at 10.0.0.1:8080",
    ]
    tls = replace(PLAIN, domains=("shop.test", "www.shop.test"), listen=("80",), tls="auto", redirect=True)
    assert proof.endpoints(tls, ipv6=False) == [
        Endpoint("https", "shop.test", "443"),
        Endpoint("http", "shop.test", "80", leads=True),
        Endpoint("http", "www.shop.test", "80", leads=True),
    ]
    assert [one.name for one in proof.endpoints(ProxySite(), ipv6=False)] == ["localhost"]


def test_a_port_of_all_addresses_is_reached_on_this_host() -> None:
    """By the loopback address of its family."""
    for address, endpoint in {
        "80": ("127.0.0.1", 80),
        ":443": ("127.0.0.1", 443),
        "0.0.0.0:81": ("127.0.0.1", 81),
        "[::]:82": ("::1", 82),
        "10.0.0.1:83": ("10.0.0.1", 83),
    }.items():
        assert Endpoint("http", "a", address).peer == endpoint


def test_what_is_told_where_certificates_are_told_anyway() -> None:
    """What another finding says in more words is left out; why nobody trusts it is not."""
    ctx = type("Ctx", (), {"settings": type("S", (), {"site": replace(PLAIN, tls="auto"), "proxy": "nginx"})})
    endpoint, well = Endpoint("https", "shop.test", "443"), {"connection": "close"}
    over = proof.Visit(endpoint, 200, headers=well, refused="certificate has expired", code=10)
    unknown = proof.Visit(endpoint, 200, headers=well, refused="unable to get local issuer certificate", code=20)
    assert len(proof.problems(ctx, [over, unknown, unknown])) == 2  # type: ignore[arg-type]
    ((text, _),) = proof.problems(ctx, [over, unknown], certificates=False)  # type: ignore[arg-type]
    assert "local issuer" in text
    assert [proof.is_private(replace(PLAIN, tls=tls)) for tls in ("auto", "files")] == [False, True]


def test_what_was_seen() -> None:
    """Once for each URL, by whose proxy; not over a certificate that browsers refuse."""
    well = {"connection": "close"}
    one = proof.Visit(Endpoint("https", "shop.test", "443"), 200, headers=well, user="www-data")
    other = replace(one, endpoint=Endpoint("https", "shop.test", "[::]:443"))
    bad = replace(one, endpoint=Endpoint("https", "b.test", "443"), refused="no")
    assert proof.proven([one, other, bad]) == ["https://shop.test, through the proxy of www-data"]
