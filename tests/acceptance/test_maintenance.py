"""A maintenance page in place of the app: who gets it, through which proxy, and what a deploy or a power cut does."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from deployer.sandbox import SandboxHost
from tests.support.https import secure_host
from tests.support.site import wait_until
from tests.support.tiny import SERVER, TinySite, make_tiny

pytestmark = pytest.mark.acceptance

POSTS = """\
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"read": len(body)})

    def slow(self, query):
        import time
        time.sleep(3)
        return "late"

    def do_GET(self):
"""
BACKGROUND = """\
[processes.worker]
command = "/usr/bin/python3 -c 'import time; time.sleep(9999)'"
[timers.tick]
command = "/usr/bin/python3 -c 1"
calendar = "hourly"
"""
PAGE = "<!doctype html><title>closed</title><p>Gone fishing “until” 5.</p>\n"
OTHER = "127.0.0.9"
"""A visitor's address, beside 127.0.0.1."""
SOCKET, SERVICE = "deployer-maintenance@mini.socket", "deployer-maintenance@mini.service"


@pytest.fixture(scope="module")
def host() -> Iterator[SandboxHost]:
    with secure_host() as booted:
        booted.run("systemctl disable --now nginx caddy", check=False)
        yield booted


@pytest.fixture(scope="module")
def fresh(host: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    """A tiny app with a worker and a timer, set up; nothing of it is deployed."""
    site = make_tiny(host, tmp_path_factory.mktemp("maintenance") / "mini")
    server = SERVER.replace("    def do_GET(self):\n", POSTS).replace('"/argv": self.argv', '"/slow": self.slow')
    site.project.write("server.py", server)
    site.project.write("closed.html", PAGE)
    configure(site)
    site.expect(0, "setup", user="root")
    return site


def configure(site: TinySite, kind: str = "nginx") -> None:
    site.configure(release="keep = 3")
    path = site.project.path / "deploy.toml"
    path.write_text(path.read_text().replace('kind = "nginx"', f'kind = "{kind}"') + BACKGROUND)
    site.project.commit("configure")


@pytest.fixture(scope="module")
def served(fresh: TinySite) -> TinySite:
    fresh.expect(0, "deploy")
    return fresh


@pytest.fixture
def mini(served: TinySite) -> Iterator[TinySite]:
    """It serves, and is not in maintenance, before the test and after it."""
    assert visit(served).status == 200
    yield served
    served.expect(0, "maintenance", "off")
    assert visit(served).status == 200


@dataclass(frozen=True)
class Answer:
    status: int
    text: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def visit(
    site: TinySite, path: str = "/", *, source: str = OTHER, method: str = "GET", headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection(site.host.address, site.port, timeout=15, source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, answer.read().decode(errors="replace"), named)


def status(site: TinySite) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.fab("status", "--json").out)
    return found


def findings(site: TinySite) -> list[str]:
    return [str(one["text"]) for one in json.loads(site.fab("doctor", "--json").out)["findings"]]


def active(site: TinySite, unit: str) -> str:
    return site.host.run(f"systemctl is-active '{unit}'", check=False).stdout.strip()


class Visitors:
    """Clients that keep their connections, half of them posting 4 kB; every answer must be whole, of app or page."""

    def __init__(self, site: TinySite, many: int = 12) -> None:
        self._site = site
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(at % 2 == 1,)) for at in range(many)]
        self.seen: Counter[int] = Counter()
        self.lost: list[str] = []

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def until(self, status: int, many: int = 100) -> None:
        """Wait until so many more got that status."""
        before = self.seen[status]
        wait_until(lambda: self.seen[status] >= before + many, f"{many} answers {status}")

    def _go(self, posts: bool) -> None:
        connection = http.client.HTTPConnection(self._site.host.address, self._site.port, timeout=20)
        while not self._over.wait(0.005):
            try:
                connection.request("POST", "/", body=b"x" * 4096) if posts else connection.request("GET", "/")
                answer = connection.getresponse()
                self._judge(answer.status, answer.read(), posts)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()

    def _judge(self, status: int, body: bytes, posts: bool) -> None:
        app = status == 200 and json.loads(body).get("read", 0) == (4096 if posts else 0)
        if app or (status == 503 and body.startswith(b"<!doctype") and body.endswith(b"</html>\n")):
            self.seen[status] += 1
        else:
            self.lost.append(f"{status} {body[:60]!r}")


def test_before_the_first_deploy_there_is_nothing_to_hide(fresh: TinySite) -> None:
    """Refused, with what to do; no unit and no file is left."""
    failed = fresh.expect(2, "maintenance", "on", "--json").event("failed")
    assert "nothing is deployed" in failed["message"] and failed["state"] == "nothing was touched"
    assert "maintenance was not on: nothing is deployed" in fresh.expect(0, "maintenance", "off").out
    assert "maintenance" not in fresh.host.run("ls /srv/mini /etc/systemd/system").stdout


def test_a_page_that_does_not_come_up_keeps_nobody_from_the_app(mini: TinySite) -> None:
    """Its service cannot start: told with the reason, visitors reach the app, and nothing is left of it."""
    drop_in = f"/etc/systemd/system/{SERVICE}.d"
    mini.host.run(f"mkdir {drop_in}; printf '[Service]\\nExecStartPre=/bin/false\\n' > {drop_in}/broken.conf")
    mini.host.run("systemctl daemon-reload")
    try:
        failed = mini.expect(5, "maintenance", "on", "--json").event("failed")
    finally:
        mini.host.run(f"rm -r {drop_in}; systemctl daemon-reload")
    assert "the maintenance page is not served" in failed["message"]
    assert failed["state"] == "the app is not in maintenance; visitors reach it" and failed["next"]
    assert visit(mini).status == 200
    assert mini.host.run("ls -d /srv/mini/maintenance* /etc/systemd/system/deployer-m*", check=False).stdout == ""
    assert status(mini)["maintenance"] is None


def test_nobody_is_lost_on_the_way_in_or_out_through_either_proxy(mini: TinySite) -> None:
    """Under load all get the app or a whole page; what is in hand when it begins is finished."""
    for kind in ("nginx", "caddy"):
        mini.host.run("systemctl disable --now nginx caddy", check=False)
        configure(mini, kind)
        mini.expect(0, "setup", user="root")
        with Visitors(mini) as visitors, ThreadPoolExecutor() as pool:
            visitors.until(200)
            for _ in range(2):
                slow = pool.submit(visit, mini, "/slow")  # there before the command has connected
                mini.expect(0, "maintenance", "on")
                visitors.until(503)
                late = slow.result()
                assert (late.status, late.text) == (200, '"late"')
                mini.expect(0, "maintenance", "off")
                visitors.until(200)
        assert visitors.lost == [], kind


def test_the_page_is_what_was_asked_for_and_changes_while_it_is_on(mini: TinySite) -> None:
    """Page, Retry-After and those who see the app are told anew by another on; a HEAD gets no page."""
    mini.expect(0, "maintenance", "on", "--page", "closed.html", "--retry-after", "2m")
    first = visit(mini)
    assert (first.status, first.text, first.headers["retry-after"]) == (503, PAGE, "120")
    assert first.headers["cache-control"] == "no-store"
    head = visit(mini, method="HEAD")
    assert (head.status, head.text, head.headers["content-length"]) == (503, "", str(len(PAGE.encode())))
    since = status(mini)["maintenance"]["since"]
    assert "stays on" in mini.expect(0, "maintenance", "on", "--allow", "127.0.0.1,10.0.0.0/8").out
    assert "Down for maintenance" in visit(mini).text and visit(mini).headers["retry-after"] == "600"
    assert visit(mini, source="127.0.0.1").status == 200
    forged = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    assert visit(mini, headers=forged).status == 503
    told = status(mini)["maintenance"]
    assert (told["since"], told["allow"], told["own_page"]) == (since, ["127.0.0.1", "10.0.0.0/8"], False)
    assert "visitors get its page" in mini.fab("status").out and "@" in told["by"]
    assert findings(mini) == []
    mode = mini.host.run("stat -c '%a %U' /srv/mini/maintenance.json /srv/mini/current/run").stdout
    assert mode == "644 root\n755 root\n"


def test_those_who_may_see_the_app_have_all_of_it(mini: TinySite) -> None:
    """A large body arrives, a slow answer comes, and a websocket stays open: to the release that serves."""
    mini.expect(0, "maintenance", "on", "--allow", "127.0.0.1")
    connection = http.client.HTTPConnection(mini.host.address, mini.port, timeout=15)
    with contextlib.closing(connection):
        connection.request("POST", "/", body=b"y" * 3_000_000)
        assert json.loads(connection.getresponse().read()) == {"read": 3_000_000}
    assert visit(mini, "/slow", source="127.0.0.1").text == '"late"'
    with socket.create_connection((mini.host.address, mini.port), 15) as web:
        web.sendall(b"GET /socket HTTP/1.1\r\nHost: mini\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert b"101" in web.recv(4096)
        for word in (b"one", b"two"):
            web.sendall(word)
            assert web.recv(100) == word.upper()


def test_a_deploy_and_a_rollback_work_behind_the_page(mini: TinySite) -> None:
    """Visitors go on getting the page, those who may see the app see the new release; off shows it to all."""
    before = json.loads(visit(mini).text)["release"]
    mini.expect(0, "maintenance", "on", "--allow", "127.0.0.1")
    mini.project.write("static/hello.txt", "behind")
    mini.project.commit("behind")
    with Visitors(mini, 4) as visitors:
        visitors.until(200, 20)
        made = mini.expect(0, "deploy", "--json")
        assert "fab maintenance off" in made.event("note", text=made.event("note")["text"])["text"]
        assert visit(mini).status == 503
        new = json.loads(visit(mini, source="127.0.0.1").text)["release"]
        mini.expect(0, "rollback")
        assert visit(mini).status == 503
    assert visitors.lost == [] and set(visitors.seen) == {200}
    back = json.loads(visit(mini, source="127.0.0.1").text)["release"]
    assert len({before, new, back}) == 3
    assert mini.host.run("readlink /srv/mini/current").stdout == f"releases/{back}/maintenance\n"
    assert visit(mini, "/static/hello.txt").text == "hello from the proxy\n"  # files of the release that serves
    mini.expect(0, "maintenance", "off")
    assert json.loads(visit(mini).text)["release"] == back


def test_processes_and_timers_stop_and_nothing_but_off_starts_them(mini: TinySite) -> None:
    """Neither a reload, nor the doctor, nor a pulled plug; and the page is there after the boot."""
    out = mini.expect(0, "maintenance", "on", "--stop-workers").out
    assert "maintenance is on" in out
    release = status(mini)["current"]
    assert active(mini, f"mini-worker@{release}.service") == active(mini, f"mini-tick@{release}.timer") == "inactive"
    mini.expect(0, "reload")
    mini.expect(0, "maintenance", "on")  # other terms: what is stopped stays so
    mini.host.pull_plug()
    mini.host.boot()
    wait_until(lambda: visit(mini).status == 503, "the page is served")
    wait_until(lambda: active(mini, "mini.service") == "active", "the app has started")
    mini.expect(0, "doctor", "--fix")
    refused = mini.expect(2, "restart", "--process", "worker", "--json").event("failed")
    assert "stopped for maintenance" in refused["message"]
    told = status(mini)
    assert told["maintenance"]["workers_stopped"] and told["healthy"] and told["current"] != release
    assert {unit["active"] for unit in told["units"] if unit["process"] == "worker"} == {"inactive"}
    assert all(unit["ok"] for unit in told["units"]) and [timer["next"] for timer in told["timers"]] == [0.0]
    assert findings(mini) == []
    assert "processes and timers run again" in mini.expect(0, "maintenance", "off").out
    told = status(mini)
    assert {unit["active"] for unit in told["units"]} == {"active"} and told["timers"][0]["next"] > 0
    assert "not-found" in mini.host.run(f"systemctl show -p LoadState {SOCKET} {SERVICE}").stdout
    assert "was not on" in mini.expect(0, "maintenance", "off").out


@pytest.mark.cause("maintenance-page-down")
def test_a_page_that_is_gone_is_found_and_comes_back(mini: TinySite) -> None:
    """A killed server starts again for the next visitor; a stopped socket is told by status and doctor."""
    mini.expect(0, "maintenance", "on")
    mini.host.run(f"systemctl kill -s KILL {SERVICE}")
    assert visit(mini).status == 503
    mini.host.run(f"systemctl stop {SOCKET}")
    assert "maintenance is on and its page is not served" in " ".join(findings(mini))
    assert status(mini)["maintenance"]["up"] is False and "not served" in mini.fab("status").out
    mini.expect(0, "maintenance", "on")
    assert visit(mini).status == 503 and findings(mini) == []


def test_dry_and_a_host_out_of_reach(mini: TinySite) -> None:
    """A dry run changes nothing; of two hosts the one that can does it, and the other is told, with exit 3."""
    dry = mini.expect(0, "--dry", "maintenance", "on", "--stop-workers")
    assert "would show visitors a page" in dry.out and visit(mini).status == 200
    mini.expect(0, "--dry", "maintenance", "off")
    hosts = f"deploy@{mini.host.name},deploy@127.0.10.254:1"
    argv = [*mini.argv("maintenance", "on", "--json")[:-1], hosts]
    both = subprocess.run(argv, cwd=mini.project.path, capture_output=True, text=True, timeout=120)
    assert both.returncode == 3, both.stderr
    done, lost = (row for row in map(json.loads, both.stdout.splitlines()) if "event" not in row)
    assert done["on"] is True and lost["result"] == "unreachable" and "127.0.10.254" in lost["host"]
    assert visit(mini).status == 503
