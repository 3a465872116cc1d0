"""The load on several hosts: each is counted by itself, and a version is seen when it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.fleet.load import FleetLoad
from tests.support.site import wait_until


class Server(ThreadingHTTPServer):
    status, version = 200, "v1"
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        self.send_response(server.status)
        self.send_header("Content-Length", "0")
        self.send_header("X-Version", server.version)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[dict[str, Server]]:
    """Two sites."""
    made = {name: Server(("127.0.0.1", 0), Handler) for name in ("one", "two")}
    for server in made.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    for server in made.values():
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("keepalive", [True, False])
def test_each_host_is_counted_by_itself(servers: dict[str, Server], keepalive: bool) -> None:
    """What fails on one is no failure of the other."""
    places = {name: ("127.0.0.1", server.server_address[1]) for name, server in servers.items()}
    with FleetLoad(places, pause=0.005, keepalive=keepalive) as load:
        wait_until(lambda: min(load.counts().values()) > 3, "the load is on")
        servers["two"].status = 500
        there = load.counts()["one"]
        wait_until(lambda: load.counts()["one"] > there + 5, "it goes on")
    one, two = load.stop()["one"], load.stop()["two"]
    assert (one.failed, one.succeeded) == (0, one.sent)
    assert set(two.failures) == {"status-500"}
    assert two.sent == two.succeeded + two.failed


def test_versions_are_seen_when_they_change(servers: dict[str, Server]) -> None:
    """Times of several hosts can be compared, with each other and with this process's."""
    places = {name: ("127.0.0.1", server.server_address[1]) for name, server in servers.items()}
    with FleetLoad(places, pause=0.002) as load:
        changed = {}
        for name, server in servers.items():
            wait_until(lambda: min(load.counts().values()) > 3, "the load is on")
            server.version, changed[name] = "v2", time.monotonic()
            there = load.counts()[name]
            wait_until(lambda name=name, there=there: load.counts()[name] > there + 5, "it is seen")
    for name, report in load.stop().items():
        assert [served.version for served in report.versions] == ["v1", "v2"]
        assert changed[name] <= report.versions[1].first
    assert load.stop()["one"].versions[1].first < changed["two"]
