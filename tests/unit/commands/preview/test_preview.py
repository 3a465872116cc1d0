"""What passes between a browser and a release that it looks at: heads, pieces, ends."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from deployer.commands.preview import heads
from deployer.commands.preview.bridge import Bridge
from deployer.commands.preview.heads import Names
from tests.support.site import wait_until

NAMES = Names(here="127.0.0.1:8000", there="shop.example.com", secure=True)


def test_the_app_is_asked_by_its_own_name() -> None:
    """As from a visitor over HTTPS, whatever the browser says of that; what a form comes from is the app, too."""
    head = (
        b"POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: keep-alive\r\nX-Forwarded-Proto: http\r\n"
        b"Origin: http://127.0.0.1:8000\r\nReferer: http://127.0.0.1:8000/form\r\nCookie: a=http://127.0.0.1:8000\r\n\r\n"
    )
    first, *lines = heads.request(head, NAMES).decode().split("\r\n")
    assert first == "POST /a?b HTTP/1.1" and lines[-2:] == ["", ""]
    assert sorted(lines[:-2]) == [
        "Connection: close",
        "Cookie: a=http://127.0.0.1:8000",
        "Host: shop.example.com",
        "Origin: https://shop.example.com",
        "Referer: https://shop.example.com/form",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 127.0.0.1",
    ]


def test_a_websocket_keeps_what_makes_it_one() -> None:
    """Connection and Upgrade go through."""
    head = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    lines = heads.request(head, NAMES).split(b"\r\n")
    assert b"Connection: Upgrade" in lines and b"Upgrade: websocket" in lines and b"Connection: close" not in lines


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("Location: https://shop.example.com/x?y", "Location: http://127.0.0.1:8000/x?y"),
        ("location: http://shop.example.com", "Location: http://127.0.0.1:8000"),
        ("Location: /login", "Location: /login"),
        ("Location: https://shop.example.com.evil.org/", "Location: https://shop.example.com.evil.org/"),
        ("Location: https://other.example.com/", "Location: https://other.example.com/"),
        ("Set-Cookie: a=b; Domain=shop.example.com; Path=/; Secure", "Set-Cookie: a=b; Path=/; Secure"),
        ("Content-Type: text/html", "Content-Type: text/html"),
    ],
)
def test_what_the_app_answers_stays_at_this_machine(line: str, seen: str) -> None:
    """Redirects to itself, and cookies; redirects to others are left alone."""
    head = f"HTTP/1.1 302 Found\r\n{line}\r\n\r\n".encode()
    assert heads.response(head, NAMES) == f"HTTP/1.1 302 Found\r\n{seen}\r\n\r\n".encode()


class Host:
    """What goes to the host is kept."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.bridge = Bridge(self.got.append, NAMES, ["/static/"])
        threading.Thread(target=self.bridge.serve, args=(self.listener,), daemon=True).start()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), 10)

    def until(self, many: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.got) >= many, f"{many} messages")
        return self.got

    def answer(self, number: int, data: bytes) -> None:
        self.bridge.receive(number, base64.b64encode(data).decode())


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.listener.close()


def test_a_request_goes_there_and_its_answer_back(host: Host) -> None:
    """The head of the answer is changed though it comes in pieces; its end is the browser's end."""
    with host.connect() as browser:
        browser.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nbody")
        opened, sent = host.until(2)[:2]
        assert opened == {"op": "open", "number": 1} and sent["op"] == "data"
        assert base64.b64decode(sent["data"]).endswith(b"\r\n\r\nbody")
        host.answer(1, b"HTTP/1.1 302 Found\r\nLocation: https://shop.ex")
        host.answer(1, b"ample.com/\r\n\r\nrest")
        host.answer(1, b"")
        told = b"".join(iter(lambda: browser.recv(4096), b""))
    assert told == b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:8000/\r\n\r\nrest"


def test_static_files_are_asked_of_the_host(host: Host) -> None:
    """The app may not have them: the proxy would."""
    with host.connect() as browser:
        browser.sendall(b"GET /static/a.css?v=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert host.until(1) == [{"op": "file", "number": 1, "path": "/static/a.css"}]


def test_a_browser_that_goes_is_told_and_forgotten(host: Host) -> None:
    """What still comes for it is dropped, and so is what comes for nobody."""
    with host.connect() as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        host.until(2)
    assert host.until(3)[-1] == {"op": "close", "number": 1}
    for _ in range(3):
        host.answer(1, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
    host.answer(99, b"x")
    with host.connect() as silent:
        silent.shutdown(socket.SHUT_WR)
        assert silent.recv(10) == b""
