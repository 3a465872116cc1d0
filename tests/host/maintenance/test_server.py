"""The server of the maintenance page, a process on a real socket: who gets the page, who the app, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.host.maintenance import server
from deployer.host.state.operator.maintenance import Maintenance
from deployer.host.state.paths import AppPaths
from deployer.host.system import files
from deployer.wire.maintenance import MaintenanceRequest

PROGRAM = """
import os, sys
os.dup2(int(sys.argv[2]), 3)
from pathlib import Path
from deployer.host.maintenance import server
from deployer.host.state.paths import AppPaths
server.serve(AppPaths("shop", Path(sys.argv[1])))
"""
ALLOWED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"


class App:
    """Stands in for the web process of v1: keeps what it gets, answers after ``release`` is set."""

    def __init__(self, path: Path) -> None:
        self.got: list[bytes] = []
        self.release = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            self.got.append(connection.recv(65536))
            self.release.wait(20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp")

    def close(self) -> None:
        self._listener.close()


class Page:
    """A running server."""

    def __init__(self, paths: AppPaths) -> None:
        self.paths = paths
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(paths.maintenance_socket))
        self._listener.listen(64)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """The socket is its descriptor 3, as systemd hands it over."""
        given = self._listener.fileno()
        argv = [sys.executable, "-c", PROGRAM, str(self.paths.root), str(given)]
        return subprocess.Popen(argv, pass_fds=[given])

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(15)
        made.connect(str(self.paths.maintenance_socket))
        return made

    def ask(self, request: bytes) -> bytes:
        with self.connect() as connection:
            connection.sendall(request)
            return everything(connection)

    def terms(self, **values: object) -> None:
        terms = MaintenanceRequest(**values)  # type: ignore[arg-type]
        files.write_json(self.paths.maintenance, Maintenance(terms, 1.0, "ada").as_json())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.close()


def everything(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


@pytest.fixture
def paths(tmp_path: Path) -> AppPaths:
    """v1 is current, in maintenance."""
    made = AppPaths("shop", tmp_path)
    (made.release(1) / "run").mkdir(parents=True)
    made.current.symlink_to("releases/v1/maintenance")
    return made


@pytest.fixture
def app(paths: AppPaths) -> Iterator[App]:
    made = App(paths.socket(1))
    made.release.set()
    yield made
    made.close()


@pytest.fixture
def page(paths: AppPaths) -> Iterator[Page]:
    made = Page(paths)
    yield made
    made.close()


def test_visitors_get_the_page_and_its_terms_as_they_are_now(page: Page) -> None:
    """Without terms deployer's own page; then what is written, from the next request on; damaged terms are none."""
    first = page.ask(b"GET /any HTTP/1.1\r\nHost: a\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 600\r\n" in first and first.endswith(b"</html>\n")
    page.terms(page="<p>zu", retry_after=60)
    second = page.ask(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab")
    assert b"Retry-After: 60\r\n" in second and second.endswith(b"\r\n\r\n<p>zu")
    assert page.ask(b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"Connection: close\r\n\r\n")
    files.write_file(page.paths.maintenance, b"{")
    assert page.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"</html>\n")


def test_a_large_body_is_taken_though_nobody_wants_it(page: Page) -> None:
    """Its sender gets the page whole: a connection closed too early would be reset under it."""
    with page.connect() as connection:
        sending = threading.Thread(
            target=connection.sendall, args=(b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000,)
        )
        sending.start()
        assert everything(connection).endswith(b"</html>\n")
        sending.join(15)
        assert not sending.is_alive()


def test_the_allowed_reach_the_app_one_request_a_connection(page: Page, app: App) -> None:
    """Their proxy must not keep it: the next request over it may be another visitor's."""
    page.terms(allow=("10.0.0.0/8",))
    request = ALLOWED.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\n")
    assert page.ask(request).endswith(b"app")
    assert app.got == [b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nConnection: close\r\n\r\n"]
    assert page.ask(ALLOWED.replace(b"10.0.0.1", b"11.0.0.1")).startswith(b"HTTP/1.1 503 ")
    assert len(app.got) == 1


def test_an_app_that_does_not_run_is_told_to_the_allowed(page: Page) -> None:
    """The page would say that all is as it was meant."""
    page.terms(allow=("10.0.0.0/8",))
    assert page.ask(ALLOWED).startswith(b"HTTP/1.1 502 ")


def test_at_its_end_what_is_in_hand_is_finished_and_others_are_answered(page: Page, app: App) -> None:
    """A slow answer arrives whole after SIGTERM; who comes later is answered by the next server."""
    page.terms(allow=("10.0.0.0/8",))
    app.release.clear()
    with page.connect() as slow:
        slow.sendall(ALLOWED)
        deadline = time.monotonic() + 15
        while not app.got:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        ending, page.process = page.process, page.start()
        ending.send_signal(signal.SIGTERM)
        for _ in range(20):
            assert page.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"</html>\n")
        app.release.set()
        assert everything(slow).endswith(b"app")
    assert ending.wait(15) == 0


def test_a_connection_accepted_at_the_very_end_is_answered(paths: AppPaths) -> None:
    """The end comes between its acceptance and its first byte."""

    async def accept_one() -> bytes:
        over = asyncio.Event()

        class Last(socket.socket):
            """The end comes as soon as a connection is accepted."""

            def accept(self) -> tuple[socket.socket, Any]:
                made = super().accept()
                over.set()
                return made

        with Last(socket.AF_UNIX) as listener:
            listener.bind(str(paths.maintenance_socket))
            listener.listen()
            listener.setblocking(False)
            serving = asyncio.ensure_future(server.serve_until(over, paths, listener))
            reader, writer = await asyncio.open_unix_connection(str(paths.maintenance_socket))
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            got = await asyncio.wait_for(reader.read(), 15)
            writer.close()
            await serving
            return got

    assert asyncio.run(accept_one()).endswith(b"</html>\n")


def test_what_sends_no_request_takes_nothing_from_others(page: Page) -> None:
    """A head without an end that is too long, one that is cut off, and silence."""
    with page.connect() as silent:
        assert page.ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000) == b""
        with page.connect() as cut:
            cut.sendall(b"GET / HT")
            cut.shutdown(socket.SHUT_WR)
            assert everything(cut) == b""
        assert page.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"</html>\n")
        silent.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert everything(silent).endswith(b"</html>\n")


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (b"X-Forwarded-For: 10.0.0.1", "10.0.0.1"),
        (b"x-forwarded-for:6.6.6.6, 10.0.0.1 ", "10.0.0.1"),
        (b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 10.0.0.1", "10.0.0.1"),
        (b"X-Forwarded-For: 10.0.0.1:5000", "10.0.0.1"),
        (b"X-Forwarded-For: [2001:db8::1]:5000", "2001:db8::1"),
        (b"X-Forwarded-For: [2001:db8::1]", "2001:db8::1"),
        (b"X-Forwarded-For: 2001:db8::1", "2001:db8::1"),
        (b"X-Real-IP: 10.0.0.1\r\nForwarded: for=10.0.0.1", ""),
        (b"X-Forwarded-For:", ""),
        (b"no header", ""),
    ],
)
def test_the_client_is_the_last_whom_the_proxy_names(lines: bytes, address: str) -> None:
    """What stands before it is what the client says of itself."""
    assert server.client(b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n") == address


def test_a_websocket_keeps_its_connection_and_a_check_of_the_proxy_sees_the_app() -> None:
    """The doctor compares what a visitor gets below its own path with what the app answers there."""
    head = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert server.alone(head) == head
    check = b"GET /.well-known/deployer/abc HTTP/1.1\r\n\r\n"
    assert server.sees_app(check, MaintenanceRequest()) and not server.sees_app(head, MaintenanceRequest())


def test_only_the_app_and_its_proxy_may_connect() -> None:
    """The units give the page to no one else, and no privilege to it."""
    from deployer.host.maintenance.units import texts

    found = texts(AppPaths("shop"), "www-data", frozenset({"PrivateIPC"}))
    socket_text, service = found["deployer-maintenance@shop.socket"], found["deployer-maintenance@shop.service"]
    for line in (
        "SocketUser=shop",
        "SocketGroup=www-data",
        "SocketMode=0660",
        "ListenStream=/srv/shop/maintenance.sock",
    ):
        assert line in socket_text.splitlines()
    for line in ("User=shop", "NoNewPrivileges=yes", "RestrictAddressFamilies=AF_UNIX", "Restart=always"):
        assert line in service.splitlines()
    assert service.count("RestrictAddressFamilies") == 1 and "PrivateIPC" not in service
