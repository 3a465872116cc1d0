"""The site that ``fab setup`` writes, on a real nginx: who answers, what it believes, and what ``fab doctor`` sees."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.site import Site, make_site, wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

THEIRS = "/etc/nginx/conf.d/theirs.conf"
SITE = "/etc/nginx/sites-enabled/deployer-mini.conf"
FRONT = "127.0.99.7"
"""Where the trusted front's connections come from."""
CLAIMS = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=https",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
}


@pytest.fixture(scope="module")
def host() -> Iterator[SandboxHost]:
    with up() as booted:
        yield booted


@pytest.fixture(scope="module")
def mini(host: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    """A tiny app that serves, on a port of its own; its site answers to any name."""
    site = make_tiny(host, tmp_path_factory.mktemp("proxy") / "mini")
    site.expect(0, "setup", user="root")
    site.expect(0, "deploy")
    return site


def ask(site: Site, path: str, headers: dict[str, str], *, port: int = 80, source: str = "127.0.0.1") -> Any:
    """What the app answers, as JSON, to a client with that address and those headers."""
    connection = http.client.HTTPConnection(site.host.address, port, timeout=15, source_address=(source, 0))
    try:
        connection.request("GET", path, headers=headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def setup(site: Site, expect: int = 0) -> dict[str, str]:
    """Set up; what was changed, by step."""
    ended = site.expect(expect, "setup", "--json", user="root")
    done = [event for event in ended.events if event["event"] == "phase.done"]
    return {event["phase"]: event["detail"] for event in done if event["detail"] != "unchanged"}


def findings(site: TinySite) -> list[dict[str, Any]]:
    ended = site.fab("doctor", "--json")
    return list(json.loads(ended.out)["findings"])


def test_a_site_that_is_no_longer_asked_for_is_told(mini: TinySite) -> None:
    """It goes on serving: setup names its file, and does not take a site away that has visitors."""
    path = mini.project.path / "deploy.toml"
    before = path.read_text()
    path.write_text(before.replace('kind = "nginx"', 'kind = "none"'))
    events = mini.expect(0, "setup", "--json", user="root").events
    path.write_text(before)
    setup(mini)
    warned = [event["text"] for event in events if event["event"] == "warn"]
    assert [text for text in warned if text.startswith(f"{SITE} is of an earlier set-up")]
    assert ask(mini, "/headers", {}, port=mini.port)


# What it believes


def test_what_a_client_claims_of_itself_never_reaches_the_app(mini: TinySite) -> None:
    """Each header that servers and frameworks believe is overwritten or taken away."""
    seen = ask(mini, "/headers", CLAIMS, port=mini.port)
    assert {name: seen.get(name) for name in CLAIMS} == {
        **dict.fromkeys(CLAIMS),
        "X-Forwarded-For": "127.0.0.1",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-Proto": "http",
    }


def test_servers_take_the_address_and_the_scheme_from_the_proxy(host: SandboxHost, tmp_path: Path) -> None:
    """Under gunicorn and uvicorn a client cannot choose its address or scheme; a trusted front can tell both."""
    site = make_site(host, tmp_path / "shop")
    for command, web in (("deploy", 'wsgi = "shop.wsgi:application"'), ("reload", 'asgi = "shop.asgi:application"')):
        site.configure(workers=1, web=web, settle=0, watch=0)
        path = site.project.path / "deploy.toml"
        path.write_text(path.read_text().replace('kind = "nginx"\n', f'kind = "nginx"\ntrusted = "{FRONT}"\n'))
        site.project.commit("trust the front")
        if command == "deploy":
            setup(site)
        site.expect(0, command)
        believes_the_front_alone(site)


def believes_the_front_alone(site: Site) -> None:
    stranger = ask(site, "/whoami", CLAIMS)
    assert (stranger["forwarded_for"], stranger["secure"]) == ("127.0.0.1", False)
    assert stranger["remote"] in ("127.0.0.1", "")  # gunicorn says nothing of a client behind a socket
    told = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on"}
    behind = ask(site, "/whoami", told, source=FRONT)
    assert (behind["forwarded_for"], behind["secure"]) == ("203.0.113.9", True)
    assert behind["remote"] in ("203.0.113.9", "")


# An upgrade


def test_a_site_of_the_version_before_is_written_again_and_reloaded_once(mini: TinySite) -> None:
    """What a client could claim through is replaced at the next set-up; then nginx is not reloaded for nothing."""
    workers = "pgrep -P $(cat /run/nginx.pid)"
    mini.host.run(
        f"sed -i 's/X-Forwarded-For .*;/X-Forwarded-For $proxy_add_x_forwarded_for;/' {SITE}; nginx -s reload"
    )
    claimed = lambda: "6.6.6.6" in ask(mini, "/headers", CLAIMS, port=mini.port)["X-Forwarded-For"]  # noqa: E731
    wait_until(claimed, "nginx has read the old site")
    (found,) = [one for one in findings(mini) if "believes" in one["text"]]
    assert found["kind"] == "proxy"
    assert setup(mini) == {"proxy": SITE}
    assert findings(mini) == []
    before = mini.host.run(workers).stdout
    assert setup(mini) == {}
    assert mini.host.run(workers).stdout == before


# Who answers


@pytest.fixture
def stock(mini: TinySite) -> Iterator[int]:
    """nginx's own welcome page, as its package has it but for the port: the machine's port 80 is not this host's."""
    port = 20_000 + int(mini.host.address.rpartition(".")[2])
    page = "/etc/nginx/sites-available/default"
    mini.host.run(
        f"cp {page} /root/default; cp /var/lib/dpkg/status /root/status; old=$(md5sum < {page} | cut -c-32); "
        f"sed -i 's/80 default_server/{port} default_server/' {page}; new=$(md5sum < {page} | cut -c-32); "
        f"sed -i s/$old/$new/ /var/lib/dpkg/status; ln -sf {page} /etc/nginx/sites-enabled/default; nginx -s reload"
    )
    yield port
    mini.host.run(
        f"cp /root/default {page}; cp /root/status /var/lib/dpkg/status; rm -f /etc/nginx/sites-enabled/default"
    )


def test_the_welcome_page_goes_only_when_it_is_the_packages_own(mini: TinySite, stock: int) -> None:
    """Beside a default site one without a name never answers: the package's unchanged page makes way, another one is
    named with its line, and with a name both stay."""
    port, mini.port = mini.port, stock
    default = "/etc/nginx/sites-enabled/default"
    try:
        mini.configure()
        text = (mini.project.path / "deploy.toml").read_text()
        (mini.project.path / "deploy.toml").write_text(re.sub(r"listen = .*", f'listen = "{stock}"', text))
        mini.project.commit("all addresses")
        page = "/etc/nginx/sites-available/default"
        mini.host.run(f"cp {page} {page}.kept; sed -i 's/try_files/# mine: try_files/' {page}")
        failed = mini.expect(2, "setup", "--json", user="root").event("failed")
        line = mini.host.run(f"grep -n 'listen {stock}' {page}").stdout.partition(":")[0]
        assert f"{default}:{line}" in failed["message"]
        assert "domains" in failed["next"]
        mini.host.run(f"mv {page}.kept {page}")
        assert f"{default} removed" in setup(mini)["proxy"]
        assert ask(mini, "/", {"Host": "any.example.com"}, port=stock)["release"] == "v1"
        assert findings(mini) == []
        if Path("/proc/net/if_inet6").read_text():
            local = http.client.HTTPConnection("::1", stock, timeout=15)
            local.request("GET", "/")
            assert json.loads(local.getresponse().read())["release"] == "v1"
        mini.host.run(f"ln -s {page} {default}")
        named = text.replace('kind = "nginx"', 'kind = "nginx"\ntls = "off"\ndomains = "mini.example.com"')
        (mini.project.path / "deploy.toml").write_text(re.sub(r"listen = .*", f'listen = "{stock}"', named))
        mini.project.commit("with a name")
        assert setup(mini)["proxy"] == SITE
        assert ask(mini, "/", {"Host": "mini.example.com"}, port=stock)["release"] == "v1"
        assert mini.host.run(f"ls {default}").returncode == 0
        assert findings(mini) == []
    finally:
        mini.port = port
        mini.host.run(f"rm -f {default}")
        mini.configure()
        setup(mini)


def test_what_keeps_visitors_out_is_told_before_the_switch(mini: TinySite) -> None:
    """It serves all the same, as it did not cause that, and tells it once; then the doctor says by which URL visitors
    reach it."""
    mini.host.run("gpasswd -d www-data mini; systemctl reset-failed nginx; systemctl restart nginx")
    try:
        events = mini.expect(0, "reload", "--json").events
        told = [event["text"] for event in events if event["event"] == "warn"]
        assert len(told) == 1 and "cannot reach the app" in told[0]
        assert re.match(r"visitors may not reach v\d+, nor v\d+ after the switch: the proxy answers for", told[0])
        names = [event["event"] for event in events]
        assert names.index("warn") < names.index("switched")
    finally:
        setup(mini)
        mini.host.run("systemctl reset-failed nginx; systemctl restart nginx")
    wait_until(lambda: findings(mini) == [], "all is well again")
    seen = json.loads(mini.fab("doctor", "--json").out)["seen"]
    assert seen == [f"http://localhost:{mini.port}, through the proxy of www-data"]
    assert "visitors reach it" in mini.fab("doctor").out


def test_a_proxy_that_says_nothing_keeps_no_deploy_waiting(mini: TinySite) -> None:
    """The deploy has ended on the host while the proxy is still asked, and the next one can begin; that one says it."""
    started = mini.host.run("readlink /srv/mini/current").stdout
    with ThreadPoolExecutor(1) as pool:
        mini.host.run("pkill -STOP -u www-data nginx")
        try:
            first = pool.submit(mini.expect, 0, "reload", "--json")
            wait_until(lambda: mini.host.run("readlink /srv/mini/current").stdout != started, "the switch")
            job = "systemctl show -P ActiveState deployer-mini.service"
            wait_until(lambda: mini.host.run(job).stdout.strip() == "inactive", "its end")
            assert not first.done()
            second = mini.expect(0, "reload", "--json")
            assert re.search("visitors (may not )?reach", second.event("warn")["text"])
            assert first.result().event("finished")["exit"] == 0
        finally:
            mini.host.run("pkill -CONT -u www-data nginx")


def test_a_domain_that_leads_elsewhere_is_told_at_the_end(mini: TinySite) -> None:
    """By setup, deploy and doctor, in one line that is in nobody's way; one that leads to the host is not."""

    def told(name: str) -> list[str]:
        mini.configure(proxy=f'tls = "off"\ndomains = "{name}"')
        ends = [mini.expect(0, "setup", "--json", user="root"), mini.expect(0, "deploy", "--json")]
        texts = [event["text"] for end in ends for event in end.events[-2:] if event["event"] == "warn"]
        notes = json.loads(mini.fab("doctor", "--json").out)["notes"]
        return [one for one in (*texts, *notes) if "seen from this machine" in one]

    try:
        found = told("localhost")
        assert len(found) == 3
        why = f"which is not {mini.host.name} ({mini.host.address}): nothing answers there"
        assert all("seen from this machine, localhost leads to" in one and why in one for one in found)
        assert told(mini.host.address) == []
    finally:
        mini.configure()
        setup(mini)


OTHER = """\
server {{ listen {address}:{port}; server_name localhost; return 200 other; }}
"""
POOLS = """\
upstream pooled {{ server unix:/srv/mini/current/run/web.sock; keepalive 32; }}
server {{ listen {address}:{port}; server_name other.example.com; location / {{ proxy_pass http://pooled; }} }}
"""
TROUBLES = {
    "nginx is down": ("systemctl stop nginx", "nothing answers for http://localhost"),
    "another site has the name": (
        f"echo '{OTHER}' > {THEIRS}; nginx -s reload",
        "another site answers",
    ),
    "a site of somebody's own pools": (
        f"echo '{POOLS}' > {THEIRS}",
        f"{THEIRS}:1 keeps",
    ),
    "the site pools": (f"sed -i 's/Connection .*;/Connection \"\";/' {SITE}; nginx -s reload", "keeps its connections"),
    "the site is gone": (f"rm {SITE}", "is gone"),
    "the proxy is out of the group": (
        "gpasswd -d www-data mini; systemctl reset-failed nginx; systemctl restart nginx",
        "cannot reach the app",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_doctor_tries_what_a_visitor_would_meet(mini: TinySite, trouble: str) -> None:
    """Whatever keeps a visitor from the app, or would lose requests at the next switch, is a finding of its own."""
    damage, told = TROUBLES[trouble]
    mini.host.run(damage.format(address=mini.host.address, port=mini.port).replace("{{", "{").replace("}}", "}"))
    try:
        wait_until(lambda: any(told in one["text"] for one in findings(mini)), told)
    finally:
        mini.host.run(
            f"rm -f {THEIRS}; gpasswd -a www-data mini; systemctl reset-failed nginx; systemctl restart nginx",
            check=False,
        )
        setup(mini)
    wait_until(lambda: findings(mini) == [], "all is well again")


OWN = """\
server {{ listen {address}:{port}; server_name own.test; {proof}
    location / {{ proxy_pass http://unix:/srv/mini/current/run/web.sock; }} }}
"""
PROVES = "location ^~ /.well-known/deployer/ { proxy_pass http://unix:/srv/mini/current/run/probe.sock; }"


def test_a_site_of_ones_own_is_found_and_asked(mini: TinySite) -> None:
    """Without the path of the proof it is said what is likely and what is not known; with it, it is proven."""
    path = mini.project.path / "deploy.toml"
    path.write_text(path.read_text().replace('kind = "nginx"', 'kind = "none"'))
    mini.project.commit("a site of my own")
    where = {"address": mini.host.address, "port": mini.port}

    def serve(*texts: str) -> dict[str, Any]:
        mini.host.run(["tee", THEIRS], input="\n".join(texts).encode())
        mini.host.run(f"rm -f {SITE}; systemctl reset-failed nginx; systemctl restart nginx")
        return dict(json.loads(mini.fab("doctor", "--json").out))

    try:
        setup(mini)
        told = serve("")
        assert (told["findings"], told["seen"]) == ([], [])
        assert "visitors were not seen to reach the app: setup has written no site here" in told["notes"][0]
        told = serve(OWN.format(proof="", **where))
        assert (told["findings"], told["seen"]) == ([], [])
        assert "so it is likely this app" in told["notes"][0]
        told = serve(OWN.format(proof=PROVES, **where))
        assert (told["findings"], told["notes"]) == ([], [])
        url = f"http://own.test:{mini.port}"
        assert told["seen"] == [f"{url}, through the proxy of www-data, by a site of your own"]
        stolen = f"server {{ listen {mini.host.address}:{mini.port}; server_name own.test; return 404 stolen; }}"
        told = serve(stolen, OWN.format(proof="", **where))
        assert "another site answers for" in told["findings"][0]["text"]
    finally:
        mini.host.run(f"rm -f {THEIRS}; systemctl reset-failed nginx; systemctl restart nginx", check=False)
        mini.configure()
        setup(mini)
