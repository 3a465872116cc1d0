"""Which proxy a site goes into, and how certbot is asked for its certificate."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from deployer.host.proxy import certbot
from deployer.host.setup import proxy_choice
from deployer.host.setup.software import apt
from deployer.host.system.runner import CommandResult
from deployer.wire.site import Acme, ProxySite

SITE = ProxySite(domains=("shop.example.com", "www.shop.example.com"), tls="auto")


@pytest.mark.parametrize(
    ("asked", "before", "active", "installed", "packaged", "chosen"),
    [
        ("nginx", "caddy", "caddy", "caddy", True, "nginx"),
        ("", "nginx", "nginx", "nginx", True, ""),
        ("auto", "", "", "", True, "caddy"),
        ("auto", "", "", "", False, "nginx"),
        ("auto", "", "", "nginx", True, "nginx"),
        ("auto", "", "", "caddy", False, "caddy"),
        ("auto", "", "caddy", "nginx caddy", True, "caddy"),
        ("auto", "", "nginx", "nginx caddy", True, "nginx"),
        ("auto", "caddy", "nginx", "nginx caddy", True, "caddy"),
    ],
)
def test_the_proxy_is_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, asked: str, before: str, active: str, installed: str, packaged: bool, chosen: str
) -> None:
    """What was said; else what was chosen before, runs, or is installed; else Caddy where packages have it."""
    runs = {f"{active}.service": "active"}
    monkeypatch.setattr(proxy_choice.systemd, "show", lambda unit: SimpleNamespace(active=runs.get(unit, "inactive")))
    monkeypatch.setattr(proxy_choice.runner, "which", lambda name, path: name if name in installed.split() else None)
    monkeypatch.setattr(proxy_choice, "_is_packaged", lambda _: packaged)
    assert proxy_choice.choose(asked, before, SITE) == chosen


def test_what_caddy_cannot_have_goes_into_nginx() -> None:
    """Two ports, say: auto does not fail for it."""
    assert proxy_choice.choose("auto", "", ProxySite(listen=("80", "8080"))) == "nginx"


@pytest.mark.parametrize(
    ("policy", "known"),
    [
        ("caddy:\n  Installed: (none)\n  Candidate: 2.6.2-12\n", True),
        ("caddy:\n  Installed: (none)\n  Candidate: (none)\n", False),
        ("", False),
    ],
)
def test_a_package_is_known_by_its_candidate(monkeypatch: pytest.MonkeyPatch, policy: str, known: bool) -> None:
    """apt answers nothing for a name that it never heard."""
    answers = {"policy": policy, "showpkg": ""}
    monkeypatch.setattr(apt.runner, "run", lambda argv: CommandResult(0, answers[argv[1]], ""))
    assert apt.has_candidate("caddy") is known


def test_certbot_is_told_all_that_it_would_ask() -> None:
    """The names, where the challenge goes, that nothing is asked; another authority and an address where there are."""
    plain = certbot.order(SITE, "shop")
    assert plain[:9] == [
        "certbot", "certonly", "--webroot", "-w", "/var/lib/deployer-acme", "-d", "shop.example.com", "-d",
        "www.shop.example.com",
    ]  # fmt: skip
    assert {"--non-interactive", "--agree-tos", "--register-unsafely-without-email"} < set(plain)
    assert plain[plain.index("--cert-name") + 1] == "deployer-shop"
    assert plain[plain.index("--deploy-hook") + 1] == "systemctl reload nginx"
    assert "--server" not in plain
    ours = Acme(directory="https://ca.example.com/dir", email="ada@example.com")
    own = certbot.order(ProxySite(domains=SITE.domains, tls="auto", acme=ours), "shop")
    assert own[own.index("--server") + 1] == "https://ca.example.com/dir"
    assert own[own.index("-m") + 1] == "ada@example.com"


def test_a_certificate_of_another_authority_is_not_good_enough(tmp_path: Path) -> None:
    """One from a try at a test authority would stay for ever."""
    assert certbot.server_of("version = 2\n[renewalparams]\nserver = https://ca.example.com/dir\n") == (
        "https://ca.example.com/dir"
    )
    assert "letsencrypt" in certbot.server_of("")


def test_certbots_advice_to_ask_elsewhere_is_left_out() -> None:
    """What is kept is why it got none."""
    lines = ["Saving debug log to /x", "- - - -", "Domain: shop", "Detail: connection refused", "", "Ask for help at y"]
    assert certbot.said(lines) == ["Domain: shop", "Detail: connection refused"]
