"""The sites that setup writes, word for word: a change of one is seen here, and read before it reaches a host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.host.proxy import caddy, nginx
from deployer.host.proxy.site import Certificate, Site, site_of
from deployer.host.state.paths import AppPaths
from deployer.wire.site import Acme, ProxySite

TEXTS = Path(__file__).with_name("texts")
SHOP = AppPaths("my-shop")
NAMED = ProxySite(domains=("shop.example.com", "www.shop.example.com"), listen=("80",))
AUTO = replace(NAMED, tls="auto", redirect=True, hsts="max-age=3600")
PRIVATE = replace(
    AUTO, acme=Acme(directory="https://ca.example.com/dir", ca="/etc/ssl/ca.pem", email="ada@example.com")
)
OWN = replace(NAMED, tls="files", certificate="/etc/ssl/shop.pem", key="/etc/ssl/shop.key", listen=("10.0.0.1:80",))
FRONT = replace(NAMED, tls="front", trusted=("10.0.0.0/8", "fd00::/8"), hsts="max-age=3600", redirect=True)
PLAIN = replace(NAMED, domains=(), listen=("8080", "[::1]:8080"), client_max_body_size="0", timeout=3600)
FILES = replace(OWN, static=(("/static/", "web/static"),), media=(("/media/", "uploads/public"),), hsts="max-age=3600")
GOT = Certificate(
    "/etc/letsencrypt/live/deployer-my-shop/fullchain.pem", "/etc/letsencrypt/live/deployer-my-shop/privkey.pem"
)


def site(wire: ProxySite, proxy: str, certificate: Certificate | None = None) -> Site:
    return site_of(wire, SHOP, snippets=f"/etc/{proxy}/deployer/my-shop", certificate=certificate)


def nginx_text(wire: ProxySite, certificate: Certificate | None = None, version: tuple[int, ...] = (1, 22, 1)) -> str:
    return nginx.render(site(wire, "nginx", certificate), ipv6=True, version=version)


def caddy_text(wire: ProxySite) -> str:
    return caddy.render(site(wire, "caddy"))


GOLDEN = {
    "nginx-auto.conf": nginx_text(AUTO, GOT),
    "nginx-auto-first.conf": nginx_text(AUTO),
    "nginx-own.conf": nginx_text(FILES, version=(1, 26, 3)),
    "nginx-front.conf": nginx_text(FRONT),
    "nginx-plain.conf": nginx_text(PLAIN),
    "caddy-auto.caddy": caddy_text(AUTO),
    "caddy-private.caddy": caddy_text(PRIVATE),
    "caddy-own.caddy": caddy_text(FILES),
    "caddy-front.caddy": caddy_text(FRONT),
    "caddy-plain.caddy": caddy_text(PLAIN),
}


def test_an_nginx_without_the_module_is_not_told_of_compressed_files() -> None:
    """It would refuse the whole configuration, and with it all sites of the host."""
    text = nginx.render(replace(site(FILES, "nginx"), gzip_static=False), ipv6=True, version=(1, 26, 3))
    assert text == nginx_text(FILES, version=(1, 26, 3)).replace("        gzip_static on;\n", "")
    assert "gzip_static" in nginx_text(FILES)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_text_of_a_site_is_as_it_was_read_last(name: str) -> None:
    """To accept a change: write the text into the file of that name, and read the difference."""
    assert (TEXTS / name).read_text() == GOLDEN[name]


def test_no_golden_text_is_left_over() -> None:
    """Each file here is compared with something."""
    assert sorted(path.name for path in TEXTS.iterdir()) == sorted(GOLDEN)
