"""Connections to a release over a session: what it answers arrives in pieces, and nothing else can be reached."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.errors import BadRequest
from deployer.host.processes.preview import MOST_OPEN, Connections
from deployer.host.state.content.store import Store
from deployer.host.state.paths import AppPaths
from tests.support.site import wait_until


class Laptop:
    """What it is told, and the release that it looks at, which answers with what it gets, in capitals."""

    def __init__(self, root: Path) -> None:
        self.paths = AppPaths("shop", root)
        self.told: list[dict[str, Any]] = []
        tree = self.paths.trees / "k"
        (tree / "static").mkdir(parents=True)
        (tree / "static/a.css").write_text("p {}")
        (tree / "secret.py").write_text("KEY")
        (tree / "static/link.css").symlink_to("../secret.py")
        (self.paths.release(2) / "run").mkdir(parents=True)
        self.app = socket.socket(socket.AF_UNIX)
        self.app.bind(str(self.paths.socket(2)))
        self.app.listen(MOST_OPEN)
        threading.Thread(target=self._serve, daemon=True).start()
        ctx: Any = SimpleNamespace(
            paths=self.paths,
            trees=Store(self.paths.trees),
            settings=SimpleNamespace(site=SimpleNamespace(static=(("/static/", "static"),))),
            emit=lambda name, **fields: self.told.append({"event": name, **fields}),
        )
        release: Any = SimpleNamespace(number=2, name="v2", tree="k")
        self.connections = Connections(ctx, release)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.app.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(connection.recv(65536).upper())

    def say(self, op: str, number: int, value: str = "") -> None:
        self.connections.take(op, number, value)

    def heard(self, number: int) -> bytes:
        """All that came over a connection, once its end has come."""
        mine = lambda: [one["data"] for one in self.told if one.get("number") == number]  # noqa: E731
        wait_until(lambda: "" in mine(), "the end")
        return b"".join(base64.b64decode(data) for data in mine())


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path)
    yield made
    made.connections.close()
    made.app.close()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_what_goes_in_is_answered_on_its_own_connection(laptop: Laptop) -> None:
    """Two at a time, each with its end; what comes for one that is over is dropped."""
    for number in (1, 2):
        laptop.say("open", number)
    laptop.say("data", 2, encoded(b"two"))
    laptop.say("data", 1, encoded(b"x" * 60_000))
    assert laptop.heard(2) == b"TWO" and laptop.heard(1) == b"X" * 60_000
    laptop.say("data", 2, encoded(b"more"))
    laptop.say("close", 2)


def test_a_release_that_is_gone_is_told(laptop: Laptop) -> None:
    """The connection ends at once, and why is said."""
    laptop.app.close()
    laptop.paths.socket(2).unlink()
    laptop.say("open", 1)
    assert laptop.heard(1) == b""
    assert any("v2 does not answer" in one.get("text", "") for one in laptop.told)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/static/a.css", b"p {}"),
        ("/static/none.css", None),
        ("/static/../secret.py", None),
        ("/static//etc/passwd", None),
        ("/static/link.css", None),
        ("/static/", None),
        ("/secret.py", None),
    ],
)
def test_only_static_files_of_the_release_are_read(laptop: Laptop, path: str, found: bytes | None) -> None:
    """As root: no link is followed, and nothing beside those directories is found."""
    laptop.say("file", 1, path)
    head, _, body = laptop.heard(1).partition(b"\r\n\r\n")
    assert (head.startswith(b"HTTP/1.1 200 "), body) == (found is not None, found or b"not in the release\n")


def test_nonsense_ends_the_session_and_not_more(laptop: Laptop) -> None:
    """A number twice, too many, or what is no base64."""
    laptop.say("open", 1)
    with pytest.raises(BadRequest, match="open already"):
        laptop.say("open", 1)
    with pytest.raises(BadRequest, match="no base64"):
        laptop.say("data", 1, "A")
    for number in range(2, MOST_OPEN + 1):
        laptop.say("open", number)
    with pytest.raises(BadRequest, match="64 are"):
        laptop.say("open", MOST_OPEN + 1)
