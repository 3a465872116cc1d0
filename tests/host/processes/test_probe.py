"""The private health check on a real socket: what it asks, what it makes of the answer, and how long it waits."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.host.processes import probe
from deployer.host.processes.probe import Response
from deployer.wire.release.health import Health

HEALTH = Health(path="/healthz?full=1", host="shop.example.com", status=((200, 399),), timeout=1, settle=0)
REQUEST = (
    b"GET /healthz?full=1 HTTP/1.1\r\n"
    b"Host: shop.example.com\r\n"
    b"User-Agent: deployer-health\r\n"
    b"Accept: */*\r\n"
    b"X-Forwarded-For: 127.0.0.1\r\n"
    b"X-Forwarded-Proto: https\r\n"
    b"Connection: close\r\n"
    b"\r\n"
)
Behaviour = Callable[[socket.socket, threading.Event], None]
LONG = 30.0
"""Seconds: more than any of these answers takes, on a busy machine as well."""


class App:
    """An app on a socket of its own. ``answer`` gets the connection; ``heard`` is what it was asked, if it listens."""

    def __init__(self, path: Path, answer: Behaviour, listens: bool) -> None:
        self.path, self._answer, self._listens = str(path), answer, listens
        self.heard: list[bytes] = []
        self._over = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self.path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            with connection:
                if self._listens:
                    self.heard.append(read_request(connection))
                self._answer(connection, self._over)

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(LONG)
        assert not self._thread.is_alive()


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Starts an app that answers so."""
    with contextlib.ExitStack() as stack:

        def start(answer: Behaviour, listens: bool = True) -> App:
            return stack.enter_context(contextlib.closing(App(tmp_path / "web.sock", answer, listens)))

        yield start


def sends(*pieces: bytes) -> Behaviour:
    """Each piece is sent by itself, and then the connection is closed."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)
            over.wait(0.15)

    return answer


def is_silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait()


def trickles(connection: socket.socket, over: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not over.wait(0.01):
            connection.sendall(b"H")


def pours(connection: socket.socket, over: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not over.is_set():
            connection.sendall(b"x" * 65536)


def ask(path: str, timeout: float = LONG, tick: Callable[[], object] = lambda: None) -> Response:
    """One request; fails when it is waited for far longer than it may be."""
    ended: list[Response | BaseException] = []

    def request() -> None:
        try:
            ended.append(probe.request(path, HEALTH, timeout, tick))
        except BaseException as error:  # handed on below
            ended.append(error)

    asking = threading.Thread(target=request, daemon=True)
    asking.start()
    asking.join(timeout + LONG)
    assert ended, "it is waited for still"
    if isinstance(ended[0], BaseException):
        raise ended[0]
    assert 0 < ended[0].seconds < timeout + LONG
    return ended[0]


def test_it_asks_as_a_visitor_does_who_came_through_the_proxy(app: Callable[..., App]) -> None:
    """By the app's public name and as HTTPS: an app that sends others elsewhere answers it for itself."""
    running = app(sends(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert ask(running.path).status == 204
    assert running.heard == [REQUEST]


@pytest.mark.parametrize(
    ("pieces", "status", "location"),
    [
        ([b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello"], 200, ""),
        ([b"HTTP/1.0 500\r\n\r\n"], 500, ""),
        ([b"HTTP/1.1 2", b"03 OK\r\n", b"\r", b"\n"], 203, ""),
        ([b"HTTP/1.1 302 Found\r\nlOcAtIoN:  /login \r\nX: /no\r\n\r\n"], 302, "/login"),
        ([b"HTTP/1.1 302 Found\r\nX-Location: /no\r\nlocation\r\n\r\nLocation: /no\r\n\r\n"], 302, ""),
        ([b"HTTP/1.1 301 Moved\r\nLocation: /\xe4" + b"a" * 500 + b"\r\n\r\n"], 301, "/ä" + "a" * 198),
        ([b"HTTP/1.1 307 x\r\nLocation: https://shop.example.com:444/\r\n\r\n"], 307, "https://shop.example.com:444/"),
        ([b"HTTP/1.1 200 OK\r\n"], 200, ""),
    ],
)
def test_an_answer_is_read_as_it_comes(
    app: Callable[..., App], pieces: list[bytes], status: int, location: str
) -> None:
    """In pieces or at once; where it leads is told, and cut when it is long."""
    answer = ask(app(sends(*pieces)).path)
    assert (answer.status, answer.fault, answer.location) == (status, "", location)


@pytest.mark.parametrize("head", [b"ICY/1.0 200 OK", b"ICY 200 OK", b"HTTP/1.1", b"HTTP/1.1 OK", b"200"])
def test_what_only_looks_like_an_answer_is_none(app: Callable[..., App], head: bytes) -> None:
    """Another protocol's, or one without a status."""
    answer = ask(app(sends(head + b"\r\n\r\n")).path)
    assert (answer.status, answer.fault) == (0, f"what came back is not HTTP: {head!r}")


def test_it_ends_with_the_head_and_does_not_wait_for_the_rest(app: Callable[..., App]) -> None:
    """An answer that streams for ever is one as soon as its head is there."""

    def streams(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        over.wait()

    assert ask(app(streams).path).status == 200


@pytest.mark.parametrize("behaviour", [is_silent, trickles])
def test_what_does_not_answer_in_time_is_given_up(app: Callable[..., App], behaviour: Behaviour) -> None:
    """Silence, or a byte now and then for ever: the wait for it ends all the same."""
    answer = ask(app(behaviour).path, timeout=0.3)
    assert (answer.status, answer.fault) == (0, "no answer within 0.3 s")
    assert answer.seconds >= 0.3


def test_an_answer_without_an_end_is_none(app: Callable[..., App]) -> None:
    """Some hundred kilobytes without the end of a head are no HTTP, however fast they come."""
    answer = ask(app(pours).path)
    assert (answer.status, answer.fault[:26]) == (0, "what came back is not HTTP")


def test_the_wait_is_told_of_and_ends_with_what_is_raised(app: Callable[..., App]) -> None:
    """A process that is known to be dead is not waited for until the time is up."""
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            raise LookupError("dead")

    with pytest.raises(LookupError, match="dead"):
        ask(app(is_silent).path, tick=tick)


@pytest.mark.parametrize(
    ("listens", "fault"),
    [
        (True, "the connection was closed without an answer"),
        (False, "the connection was reset before an answer came"),
    ],
)
def test_a_connection_that_ends_without_an_answer_is_told(app: Callable[..., App], listens: bool, fault: str) -> None:
    """As a worker does that dies over the request, or before it has read it."""
    assert dataclasses.replace(ask(app(sends(), listens).path), seconds=0.0) == Response(0, fault)


def test_a_socket_on_which_nothing_listens_is_told(tmp_path: Path) -> None:
    """Whether it is gone, or left behind by somebody who died; another fault is told in the system's words."""
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(left))
    for path in (left, tmp_path / "none.sock"):
        assert ask(str(path)).fault == "nothing listens on the release's socket"
    assert ask(str(tmp_path / ("x" * 200))).fault == "AF_UNIX path too long"
    (tmp_path / "plain").write_text("")
    assert ask(str(tmp_path / "plain" / "web.sock")).fault == "Not a directory"


def test_an_answer_is_told_in_a_sentence() -> None:
    """What was asked, what came back, and for Django's 400 what to set."""
    asked = "GET /healthz?full=1"
    assert Response(0, "nothing listens").describe(HEALTH) == f"{asked}: nothing listens"
    assert Response(503).describe(HEALTH) == f"{asked} answered 503"
    assert Response(302, location="/login").describe(HEALTH) == f"{asked} answered 302 to /login"
    assert Response(400).describe(HEALTH) == (
        f"{asked} answered 400 Bad Request to the host name 'shop.example.com': Django does so when ALLOWED_HOSTS "
        "lacks that name. Set web.health.host in deploy.toml to a name it has"
    )
    assert Response(399).healthy(HEALTH)
    assert not Response(400).healthy(HEALTH)
    assert not Response(0).healthy(HEALTH)
