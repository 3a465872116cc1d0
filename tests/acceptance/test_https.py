"""HTTPS on a real host: certificates from a private authority, by Caddy and by nginx with certbot.

The tests follow each other on one host, as an admin would go on.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployer.sandbox import SandboxCommandError
from tests.support.acme import Authority
from tests.support.https import NAME, OTHER, SecureSite, secure_host, secure_site
from tests.support.site import Ended, wait_until

pytestmark = pytest.mark.acceptance

CADDYFILE = "/etc/caddy/Caddyfile"
FRONT = "127.0.99.7"
CERTIFICATE = """set -e
cd /root; openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=own -addext subjectAltName=DNS:{name} {life} \\
    -keyout own.key -out own.pem 2>/dev/null
mkdir -p /etc/ssl/own; install -m 644 own.pem /etc/ssl/own/; install -m {mode} -g {group} own.key /etc/ssl/own/
"""
OWN = 'tls = { certificate = "/etc/ssl/own/own.pem", key = "/etc/ssl/own/own.key" }'


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with secure_host() as host:
        found = Authority(host)
        found.prepare()
        found.names(NAME, OTHER)
        found.start(validity=90)
        yield found


@pytest.fixture(scope="module")
def shop(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> SecureSite:
    site = secure_site(authority.host, tmp_path_factory.mktemp("https") / "shop")
    site.configure(workers=4, env=f'TEST_LONG = "{"x" * 4000}"')
    return site


def both(kind: str, authority: Authority) -> str:
    """The [proxy] table for two names, one of which leads to the other."""
    names = f'domains = ["{NAME}", "{OTHER}"]\nredirect = true'
    return f'kind = "{kind}"\n{names}\nhsts = "max-age=3600"\n{authority.toml}'


def setup(site: SecureSite, expect: int = 0) -> Ended:
    return site.expect(expect, "setup", "--json", user="root")


def changes(ended: Ended) -> dict[str, str]:
    done = [event for event in ended.events if event["event"] == "phase.done"]
    return {event["phase"]: event["detail"] for event in done if event["detail"] != "unchanged"}


def findings(site: SecureSite) -> list[dict[str, Any]]:
    return list(json.loads(site.fab("doctor", "--json").out)["findings"])


def is_https(site: SecureSite) -> None:
    """What a visitor meets: HTTPS, and everything else leads there."""
    home = site.ask(f"https://{NAME}/whoami", "-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: http")
    assert '"secure": true' in home.body
    assert '"forwarded_for": "127.0.0.1"' in home.body
    assert home.headers["strict-transport-security"] == "max-age=3600"
    for url in (f"http://{NAME}/a?b=c", f"http://{OTHER}/a?b=c", f"https://{OTHER}/a?b=c"):
        led = site.ask(url)
        assert (led.status, led.headers["location"]) == (308, f"https://{NAME}/a?b=c"), url
    small = site.ask(f"https://{NAME}/env?key=TEST_LONG", "-H", "Accept-Encoding: gzip", "-D", "-", "-o", "/dev/null")
    assert small.headers["content-encoding"] == "gzip"
    site.host.run("head -c 11000000 /dev/zero > /tmp/large")
    assert site.ask(f"https://{NAME}/echo", "--data-binary", "@/tmp/large").status == 413
    version = site.host.run(f"curl -s --http2 -o /dev/null -k -w %{{http_version}} https://{NAME}/").stdout
    assert version == "2"


def handovers(site: SecureSite) -> None:
    """Two handovers under HTTP/1.1 (kept connections, a POST with a body) and HTTP/2: nothing is lost.

    nginx closes a connection after 1,000 requests (keepalive_requests), and h2load counts that as a failure: it sends
    fewer.
    """
    streams = f"h2load -D 30 -c 4 -m 2 --rps=25 --connect-to={site.host.address}:443 'https://{NAME}/work?ms=20'"
    body = b"x" * 2048
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        stack.enter_context(site.under_load(keepalive=True, clients=4))
        stack.enter_context(site.under_load("/echo", keepalive=True, clients=2, method="POST", body=body))
        second = pool.submit(site.host.run, streams, timeout=120)
        for _ in range(2):
            site.expect(0, "reload")
        said = second.result().stdout
    succeeded, failed, errored, timeout = map(
        int,
        re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said).groups(),  # type: ignore[union-attr]
    )
    assert succeeded > 100 and (failed, errored, timeout) == (0, 0, 0), said
    assert "2xx, 0 3xx, 0 4xx, 0 5xx" in said


# Caddy


def test_caddy_gives_https_after_one_set_up(shop: SecureSite, authority: Authority) -> None:
    """Beside a site of the admin's own, which stays; the second time nothing changes; no app can use the admin API."""
    own = "{\n\trenew_interval 2s\n}\nhttp://own.test:80 {\n\tbind 127.0.10.250\n\trespond own\n}\n"
    shop.host.run(["tee", CADDYFILE], input=own.encode())
    shop.proxy(both("caddy", authority))
    told = changes(setup(shop))
    assert "caddy started" in told["proxy"] and "caddy in group shop" in told["users"]
    shop.deploy()
    is_https(shop)
    assert changes(setup(shop)) == {}
    assert "respond own" in shop.host.run(f"cat {CADDYFILE}").stdout
    assert "2019" not in shop.host.run("ss -Hlntp | grep caddy").stdout
    ask = "runuser -u shop -- curl -s --unix-socket /run/caddy/admin.sock http://localhost/config/"
    assert shop.host.run(ask, check=False).returncode == 7
    assert findings(shop) == []


def test_handovers_through_caddy_over_tls_lose_nothing(shop: SecureSite) -> None:
    """Kept connections, uploads and HTTP/2 streams cross two handovers."""
    handovers(shop)


def test_caddy_renews_by_itself(shop: SecureSite) -> None:
    """When a third of the certificate's life is left there is another one, and nobody had to reload anything."""
    before = shop.serial()
    wait_until(lambda: shop.serial() not in ("", before), "another certificate", seconds=120)
    assert findings(shop) == []


def test_a_front_alone_is_believed_by_caddy_too(shop: SecureSite) -> None:
    """Behind a load balancer that ends TLS the client's address and scheme are what that says, and nobody else."""
    shop.proxy(f'kind = "caddy"\ndomains = "{NAME}"\ntrusted = "{FRONT}"')
    setup(shop)
    told = ("-H", "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "-H", "X-Forwarded-Proto: https")
    stranger = shop.ask(f"http://{NAME}/whoami", *told).body
    assert '"forwarded_for": "127.0.0.1"' in stranger
    behind = shop.ask(f"http://{NAME}/whoami", *told, "--interface", FRONT).body
    assert '"forwarded_for": "203.0.113.9"' in behind


def test_a_certificate_of_ones_own_is_checked_first(shop: SecureSite) -> None:
    """A key that Caddy may not read ends the set-up before anything changes; one that is over is told, by doctor."""
    before = shop.host.run("cat /etc/caddy/conf.d/deployer-shop.caddy").stdout
    over = "-not_before 20200101000000Z -not_after 20200201000000Z"
    shop.host.run(CERTIFICATE.format(name=NAME, life=over, mode=600, group="root"))
    shop.proxy(f'kind = "caddy"\ndomains = "{NAME}"\n{OWN}')
    failed = setup(shop, expect=2).event("failed")
    assert "own.key cannot be read by caddy" in failed["message"] and "chmod 640" in failed["next"]
    assert shop.host.run("cat /etc/caddy/conf.d/deployer-shop.caddy").stdout == before
    shop.host.run("chgrp caddy /etc/ssl/own/own.key; chmod 640 /etc/ssl/own/own.key")
    assert "expired" in setup(shop).event("warn")["text"]
    assert [one["text"] for one in findings(shop) if "expired" in one["text"]]
    events = shop.expect(0, "reload", "--json").events
    told = [number for number, event in enumerate(events) if event["event"] == "warn" and "expired" in event["text"]]
    switched = next(number for number, event in enumerate(events) if event["event"] == "switched")
    assert len(told) == 1 and told[0] < switched, events
    shop.host.run(CERTIFICATE.format(name=NAME, life="-days 9", mode=640, group="caddy"))
    assert [one["repair"] for one in findings(shop) if "systemctl reload caddy" in one["repair"]]
    shop.host.run("systemctl reload caddy")
    assert findings(shop) == []


def test_a_site_that_caddy_refuses_is_put_back(shop: SecureSite, authority: Authority) -> None:
    """The former site serves on, and Caddy's words are told."""
    shop.host.run("echo 'nonsense yes' > /etc/caddy/deployer/shop/own.caddy")
    shop.proxy(f'kind = "caddy"\ndomains = "{NAME}"\nclient_max_body_size = "33m"\n{OWN}')
    failed = setup(shop, expect=2).event("failed")
    assert "caddy refuses the site" in failed["message"] and any("nonsense" in line for line in failed["logs"])
    assert shop.ask(f"https://{NAME}/", "-k").status == 200
    shop.host.run("echo 'header X-Own yes' > /etc/caddy/deployer/shop/own.caddy")
    assert list(changes(setup(shop))) == ["proxy", "settings"]
    assert shop.ask(f"https://{NAME}/", "-k").headers["x-own"] == "yes"


# nginx


def test_nginx_is_refused_while_caddy_has_its_ports(shop: SecureSite, authority: Authority) -> None:
    """Before anything is touched, by the other one's name."""
    shop.proxy(both("nginx", authority))
    failed = setup(shop, expect=2).event("failed")
    assert failed["message"].startswith("caddy has 127.") and failed["state"] == "nothing was touched"


def test_a_refused_challenge_fails_the_set_up_and_nothing_else(shop: SecureSite, authority: Authority) -> None:
    """certbot's reason is told; all other steps are done, deploys work, and the site answers as far as it can."""
    shop.host.run("systemctl disable --now caddy")
    authority.start(validity=3600, http_port=81)
    failed = setup(shop, expect=2).event("failed")
    assert "no certificate for shop.test, www.shop.test" in failed["message"]
    assert any("onnection refused" in line for line in failed["logs"])
    assert "fab setup" in failed["next"] and "deploys work" in failed["state"]
    shop.deploy()
    assert shop.ask(f"http://{NAME}/healthz").body == "ok"
    assert [one for one in findings(shop) if "no certificate is served" in one["text"]]


def test_nginx_gets_its_certificate_by_certbot(shop: SecureSite, authority: Authority) -> None:
    """The next set-up goes on where that one stopped; the one after it changes nothing."""
    authority.start(validity=3600)
    shop.host.run("rm -rf /etc/letsencrypt/accounts")  # the authority has forgotten them
    assert "certificate for shop.test" in changes(setup(shop))["certificate"]
    is_https(shop)
    assert changes(setup(shop)) == {}
    assert findings(shop) == []
    assert shop.host.run("systemctl is-active certbot.timer").stdout.strip() == "active"


def test_certbots_own_timer_renews_and_the_new_one_is_served(shop: SecureSite) -> None:
    """What the timer starts gets another certificate, from the private authority too, and has nginx read it."""
    before = shop.serial()
    shop.host.run("systemctl start certbot.service", timeout=120)
    wait_until(lambda: shop.serial() not in ("", before), "the new certificate is served")


def test_handovers_through_nginx_over_tls_lose_nothing(shop: SecureSite) -> None:
    """Kept connections, uploads and HTTP/2 streams cross two handovers."""
    handovers(shop)


def test_an_outage_of_the_authority_changes_nothing(shop: SecureSite, authority: Authority) -> None:
    """As long as there is a good certificate a set-up asks nobody."""
    authority.stop()
    assert changes(setup(shop)) == {}
    with pytest.raises(SandboxCommandError):
        authority.host.run(f"curl -sf {authority.directory}")
    is_https(shop)
