"""Which keys of a proxy's site go together: one rule for deploy.toml and for the host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.wire.site import Acme, Address, ProxySite, caddy_problem

SHOP = ProxySite(domains=("shop.example.com", "www.shop.example.com"), tls="auto")


@pytest.mark.parametrize(
    ("site", "key"),
    [
        (SHOP, ""),
        (ProxySite(), ""),
        (replace(SHOP, domains=()), "tls"),
        (replace(SHOP, domains=("*.example.com",)), "domains"),
        (replace(SHOP, domains=("*.example.com",), tls="files", certificate="/a", key="/b"), ""),
        (replace(SHOP, domains=("a.example", "A.example")), "domains"),
        (replace(SHOP, listen=("8080",)), "listen"),
        (replace(SHOP, listen=("8080", "80")), ""),
        (replace(SHOP, tls="files", certificate="/a"), "tls"),
        (replace(SHOP, tls="front"), "tls"),
        (replace(SHOP, tls="front", trusted=("10.0.0.1",)), ""),
        (replace(SHOP, trusted=("10.0.0.1",)), ""),
        (replace(SHOP, redirect=True), ""),
        (replace(SHOP, redirect=True, domains=("a.example",)), "redirect"),
        (replace(SHOP, redirect=True, tls="off", domains=("*.a.example", "b.example")), "redirect"),
        (replace(SHOP, hsts="max-age=1"), ""),
        (replace(SHOP, hsts="max-age=1", tls="off"), "hsts"),
        (replace(SHOP, tls="off", listen_tls=("443",)), "listen_tls"),
        (replace(SHOP, listen_tls=("80",)), "listen_tls"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(site: ProxySite, key: str) -> None:
    """The first that is wrong is named; what is right is read back as it was sent."""
    problem = site.problem()
    assert (problem[0] if problem else "") == key
    if key:
        with pytest.raises(ValueError, match=rf"site\.{key}: "):
            ProxySite.parse(site.as_json())
    else:
        assert ProxySite.parse(site.as_json()) == site


@pytest.mark.parametrize(
    ("site", "key"),
    [
        (SHOP, ""),
        (ProxySite(listen=("8080",)), ""),
        (ProxySite(listen=("10.0.0.1:8080", "[::1]:8080")), ""),
        (ProxySite(listen=("80", "8080")), "listen"),
        (replace(SHOP, listen_tls=("443", "8443")), "listen_tls"),
        (replace(SHOP, tls="files", certificate="/a", key="/b", listen=("8080",)), "listen"),
        (replace(SHOP, listen_tls=("10.0.0.1:443",)), "listen_tls"),
        (ProxySite(tls="files", certificate="/a", key="/b"), "domains"),
    ],
)
def test_what_caddy_cannot_have_is_said(site: ProxySite, key: str) -> None:
    """It binds every port to every address, and serves HTTPS for names only."""
    problem = caddy_problem(site)
    assert (problem[0] if problem else "") == key


def test_https_is_at_the_same_addresses_unless_told() -> None:
    """A host with several addresses serves both at the one that was named."""
    assert replace(SHOP, listen=("10.0.0.1:80", "[::1]:80")).https == (Address("10.0.0.1", 443), Address("[::1]", 443))
    assert replace(SHOP, listen_tls=("8443",)).tls_addresses(True) == ("8443", "[::]:8443")
    assert replace(SHOP, tls="off").https == ()


@pytest.mark.parametrize(
    "change",
    [
        {"domains": ["a b"]}, {"domains": ["-a.example"]}, {"domains": ["a..b"]}, {"domains": ["$host"]},
        {"domains": ["a.example\n"]}, {"domains": ["_ ;"]}, {"domains": ["a" * 64]}, {"domains": ["*.*.example"]},
        {"domains": ["a"] * 101}, {"tls": "yes"}, {"redirect": "yes"}, {"hsts": "max-age=1; x"}, {"hsts": 'max-age=1"'},
        {"certificate": "/a b"}, {"certificate": "a"}, {"certificate": "/a/../b"}, {"key": "/a;"}, {"timeout": 0},
        {"acme": {"directory": "http://a", "ca": "", "email": ""}}, {"acme": {"directory": "", "ca": "x", "email": ""}},
        {"acme": {"directory": "https://a {", "ca": "", "email": ""}}, {"acme": None},
        {"acme": {"directory": "", "ca": "", "email": "a b@c"}}, {"acme": {"directory": "", "ca": "", "email": "-x"}},
        {"listen_tls": ["443; x"]}, {"more": 1},
    ],
)  # fmt: skip
def test_what_could_be_read_as_something_else_is_refused(change: dict[str, object]) -> None:
    """All of it goes into files that root's proxy reads, and into certbot's arguments."""
    with pytest.raises(ValueError, match="site"):
        ProxySite.parse({**SHOP.as_json(), **change})


def test_a_private_authority_is_read_back() -> None:
    """Its directory, its root, and whom it may write to."""
    acme = Acme(directory="https://ca.example.com:14000/acme/dir", ca="/etc/ssl/our-ca.pem", email="ada+x@example.com")
    assert ProxySite.parse(replace(SHOP, acme=acme).as_json()).acme == acme
