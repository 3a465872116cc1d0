"""What the doctor finds of what setup prepared: accounts, confinement, the site, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.inspect import preparation
from deployer.host.proxy.certificate import Certified
from deployer.host.proxy.directives import parse_dump
from deployer.host.proxy.proof import certificates
from deployer.host.proxy.server import SiteFile
from deployer.host.setup.users.ageing import Shadow
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths
from deployer.wire.site import ProxySite

SITE = ProxySite(domains=("shop.test",), tls="auto")
OWN = ProxySite(domains=("shop.test",), tls="files", certificate="/c", key="/k")
SETUP = "fab setup -H root@HOST"
CHECKS = ("_accounts", "_login", "_confinement", "_site", "_media", "_certificates", "_nginx_pooling", "_caddy_pooling")
GOOD = Certified(("shop.test",), "01", 0.0, 4e9)


def ctx(tmp_path: Path, **settings: Any) -> Context:
    app = AppSettings(deploy_user="deploy", socket_group="shop", **settings)
    return Context(paths=AppPaths("shop", tmp_path), settings=app, emit=lambda *_, **__: None, clock=lambda: 0.0)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leaves one of the checks."""

    def leave(name: str) -> None:
        for other in CHECKS:
            if other != name:
                monkeypatch.setattr(preparation, other, lambda _: iter(()))

    return leave


@pytest.mark.cause("password-ends")
@pytest.mark.cause("account-ends")
@pytest.mark.parametrize(("password", "repair"), [("$y$x", "chage -M -1"), ("*", SETUP)], ids=["person", "ours"])
def test_an_account_that_ends(
    tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch, password: str, repair: str
) -> None:
    """A person's account is left to its owner; setup mends one that it has made. The app's own is fine here."""
    only("_accounts")
    ends = Shadow(password=password, changed=1, longest=None, inactive=None, expires=10)
    monkeypatch.setattr(preparation.ageing, "shadow", lambda user: ends if user == "deploy" else None)
    (found,) = preparation.findings(ctx(tmp_path))
    assert (found["kind"], found["what"]) == ("account", "deploy")
    assert "expired on 1970-01-11; it cannot log in, nor use sudo" in found["text"]
    assert repair in found["repair"]


@pytest.mark.cause("confinement-refused")
def test_a_confinement_that_the_host_no_longer_bears(
    tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With why; setup finds out anew what it bears."""
    only("_confinement")
    monkeypatch.setattr(preparation.unsupported, "problem", lambda *_: "a build cannot be started as deploy: no")
    (found,) = preparation.findings(ctx(tmp_path))
    assert found["text"].endswith("on this host: a build cannot be started as deploy: no")
    assert found["repair"] == f"{SETUP}   (finds what it bears)"


@pytest.mark.cause("site-of-older-setup")
@pytest.mark.cause("site-gone")
@pytest.mark.cause("site-changed")
def test_a_site_that_is_not_the_one_setup_wrote(tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not recorded, gone, or changed since; what is as it was written is no finding, nor where there is to be none."""
    only("_site")
    file = tmp_path / "shop.conf"
    monkeypatch.setattr(preparation.server, "site_file", lambda *_: SiteFile(file, "server {}\n", tmp_path))

    def told(**settings: Any) -> list[str]:
        return [one["text"] for one in preparation.findings(ctx(tmp_path, **settings))]

    assert told() == []
    assert told(proxy="nginx") == ["the site was set up by an older deployer"]
    assert told(proxy="nginx", site=SITE) == [f"{file} is gone"]
    file.write_text("server { listen 81; }\n")
    assert told(proxy="nginx", site=SITE) == [f"{file} is not what setup wrote"]
    file.write_text("server {}\n")
    assert told(proxy="nginx", site=SITE) == []


@pytest.mark.cause("media-closed")
def test_media_that_no_visitor_gets(tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory, and that setup opens it again."""
    only("_media")
    monkeypatch.setattr(preparation.media, "directories", lambda _: ("media",))
    monkeypatch.setattr(preparation.media, "problems", lambda *_: iter([(Path("/m"), "/m is missing")]))
    (found,) = preparation.findings(ctx(tmp_path))
    assert (found["what"], found["text"], found["repair"]) == ("/m", "/m is missing", f"{SETUP}   (opens it again)")


@pytest.mark.cause("certificate-own")
@pytest.mark.cause("certificate-caddy")
@pytest.mark.cause("certificate-certbot")
@pytest.mark.parametrize(
    ("kind", "site", "repair"),
    [
        (
            "nginx",
            ProxySite(domains=("shop.test",), tls="files", certificate="/c", key="/k"),
            "a new one into /c and /k",
        ),
        ("caddy", SITE, "journalctl -u caddy"),
        ("nginx", SITE, "certbot renew"),
    ],
    ids=["own files", "caddy", "certbot"],
)
def test_a_certificate_is_renewed_by_who_got_it(
    tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch, kind: str, site: ProxySite, repair: str
) -> None:
    """Whether there is none, or a wrong one: the admin, Caddy or certbot."""
    only("_certificates")
    monkeypatch.setattr(certificates.certbot, "renews", lambda: True)
    for served, told in (
        (None, "no certificate is served for shop.test"),
        (Certified(("a",), "1", 0, 4e9), "is for a"),
    ):
        monkeypatch.setattr(certificates.certificate, "find", lambda *_, one=served: one)
        (found,) = preparation.findings(ctx(tmp_path, proxy=kind, site=site))
        assert (found["kind"], found["what"]) == ("certificate", "shop.test")
        assert told in found["text"] and repair in found["repair"]


@pytest.mark.cause("certificate-not-loaded")
def test_a_certificate_that_the_proxy_has_not_loaded(
    tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was replaced, and nobody told the proxy; the same one is no finding."""
    only("_certificates")
    monkeypatch.setattr(certificates.certificate, "find", lambda *_: GOOD)
    monkeypatch.setattr(certificates.certificate, "read", lambda _: Certified(("shop.test",), "02", 0.0, 4e9))
    (found,) = preparation.findings(ctx(tmp_path, proxy="caddy", site=OWN))
    assert found["text"] == "another certificate is served for shop.test than the one in /c"
    assert found["repair"] == "on the host, as root: systemctl reload caddy"
    monkeypatch.setattr(certificates.certificate, "read", lambda _: GOOD)
    assert preparation.findings(ctx(tmp_path, proxy="caddy", site=OWN)) == []


@pytest.mark.cause("certificate-timer-stopped")
def test_a_certificate_that_nobody_will_renew(tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """certbot's timer is stopped, while its certificate is still good; Caddy needs none."""
    only("_certificates")
    monkeypatch.setattr(certificates.certificate, "find", lambda *_: GOOD)
    monkeypatch.setattr(certificates.certbot, "renews", lambda: False)
    (found,) = preparation.findings(ctx(tmp_path, proxy="nginx", site=SITE))
    assert found["what"] in found["text"] and f"systemctl enable --now {found['what']}" in found["repair"]
    assert preparation.findings(ctx(tmp_path, proxy="caddy", site=SITE)) == []


@pytest.mark.cause("nginx-keeps-connections")
def test_an_upstream_that_keeps_connections(tmp_path: Path, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its file and line, and what to write instead; a host without nginx has no such finding."""
    only("_nginx_pooling")
    dump = "# configuration file /etc/nginx/x.conf:\nupstream app { keepalive 32; }\n"
    (pools,) = (one for one in parse_dump(dump) if one.words[0] == "keepalive")
    monkeypatch.setattr(preparation.directives, "read_directives", lambda: [pools])
    monkeypatch.setattr(preparation.directives, "pooling_upstreams", lambda found, *_: found)
    monkeypatch.setattr(preparation.nginx, "version", lambda: (1, 22, 1))
    (found,) = preparation.findings(ctx(tmp_path))
    assert (found["kind"], found["what"]) == ("proxy", "/etc/nginx/x.conf")
    assert "keeps connections to the app (keepalive 32)" in found["text"]
    assert "proxy_set_header Connection close" in found["repair"]

    def lacks() -> None:
        raise HostError("the host lacks the command nginx")

    monkeypatch.setattr(preparation.directives, "read_directives", lacks)
    assert preparation.findings(ctx(tmp_path)) == []
