"""Check that a visitor who asks for the app's name reaches this app through the proxy at its address.

The site that ``fab setup`` writes has one location that leads to a socket beside the app's own. During the check this
module listens there. When a request with a fresh nonce arrives, name, site, link and permissions are right; it also
shows which headers the app gets.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from deployer.host.proxy.nginx import has_ipv6
from deployer.host.proxy.site import NO_PROOF, PROOF, PROOF_SOCKET
from deployer.host.state.app import Context
from deployer.wire.site import ProxySite

_SECONDS = 5.0
"""For one visit."""
_TURN = 60.0
"""Seconds to wait for another check to finish."""
_SPOOFED = "192.0.2.66"
"""The address that a visit claims to come from (reserved by RFC 5737)."""
_LOCAL = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (asked, not bound)
_LONGEST = 64 * 1024
_NAMES = 16
"""The most names to check: a site may have hundreds."""


@dataclass(frozen=True)
class Visit:
    """One request to the proxy. ``answer`` is the status of the response, ``fault`` why there was none.

    ``ours``: the app's site answered without reaching the socket. ``headers`` are what arrived there; None: nothing.
    """

    name: str
    address: str
    answer: int = 0
    fault: str = ""
    ours: bool = False
    headers: Mapping[str, str] | None = None

    @property
    def reached(self) -> bool:
        return self.headers is not None

    @property
    def believed(self) -> bool:
        """Whether the proxy passed on an address that the visitor made up."""
        headers = self.headers or {}
        return any(_SPOOFED in headers.get(name, "") for name in ("x-forwarded-for", "x-real-ip", "forwarded"))

    @property
    def pooled(self) -> bool:
        """Whether the proxy keeps its connection to the app for later requests."""
        return self.reached and (self.headers or {}).get("connection", "").lower() != "close"


def visit(ctx: Context, number: int, site: ProxySite) -> list[Visit]:
    """Request each name of the site at each of its addresses. ``number`` is the current release. Raises OSError."""
    with _listening(ctx, number) as seen:
        return [
            _visit(seen, name, address)
            for address in site.addresses(has_ipv6())
            for name in [_example_of(name) for name in site.names[:_NAMES]] or ["localhost"]
        ]


def _example_of(name: str) -> str:
    """A name that matches a site's pattern, such as ``*.example.com``."""
    return name.replace("*", "www").lstrip(".")


@dataclass
class _Arrivals:
    """The requests that arrived: their headers, by nonce."""

    requests: dict[str, dict[str, str]] = field(default_factory=dict)


@contextlib.contextmanager
def _listening(ctx: Context, number: int) -> Iterator[_Arrivals]:
    """In the block, answer at the check's socket, which has the same permissions as the app's own."""
    path = str(ctx.paths.socket(number).with_name(PROOF_SOCKET))
    seen, done = _Arrivals(), threading.Event()
    with _alone(str(ctx.paths.private)), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener.bind(path)  # its directory belongs to root: nobody can have put something else there
            os.chmod(path, 0o660)
            os.chown(path, pwd.getpwnam(ctx.app).pw_uid, grp.getgrnam(ctx.settings.socket_group).gr_gid)
            listener.listen(16)
            listener.settimeout(0.1)
            answering = threading.Thread(target=_answer_all, args=(listener, seen, done), daemon=True)
            answering.start()
            yield seen
        finally:
            done.set()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """In the block, no other check runs: each would remove the other's socket.

    Waits for an earlier check. Raises TimeoutError when that does not end. Only root can open the directory and lock
    it.
    """
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _TURN
        while not _taken(lock):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another check of the proxy has been running for {_TURN:g} s")
            time.sleep(0.05)
        yield
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _answer_all(listener: socket.socket, seen: _Arrivals, done: threading.Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError):  # no connection yet, or one that sends nothing
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(1.0)
                _answer(connection, seen)


def _answer(connection: socket.socket, seen: _Arrivals) -> None:
    """Record the request under the nonce at the end of its path, and answer with that nonce."""
    first, headers = _split(_read(connection, b"\r\n\r\n"))
    words = first.split()
    nonce = words[1][len(PROOF) :] if len(words) > 1 and words[1].startswith(PROOF) else ""
    if len(seen.requests) < 1000:
        seen.requests[nonce] = headers
    body = nonce.encode("latin-1", "replace")
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))


def _visit(seen: _Arrivals, name: str, address: str) -> Visit:
    nonce = secrets.token_hex(16)
    try:
        status, body = _ask(address, name, nonce)
    except OSError as error:
        return Visit(name, address, fault=error.strerror or "it did not answer in time")
    return Visit(name, address, status, ours=NO_PROOF.encode() in body, headers=seen.requests.get(nonce))


def _ask(address: str, name: str, nonce: str) -> tuple[int, bytes]:
    """The status of the proxy's response (0: not HTTP), and its body. Raises OSError."""
    lines = (
        f"GET {PROOF}{nonce} HTTP/1.1",
        f"Host: {name}",
        "User-Agent: deployer-doctor",
        f"X-Forwarded-For: {_SPOOFED}",
        f"X-Real-IP: {_SPOOFED}",
        f"Forwarded: for={_SPOOFED}",
        "Connection: close",
    )
    with socket.create_connection(_endpoint(address), timeout=_SECONDS) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        received = _read(connection, b"")
    words = _split(received)[0].split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() and len(words[1]) == 3 else 0
    return status, received.partition(b"\r\n\r\n")[2]


def _endpoint(address: str) -> tuple[str, int]:
    """Where to reach a ``listen`` address from this host."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return _LOCAL.get(host, host), int(port)


def _read(connection: socket.socket, end: bytes) -> bytes:
    """What arrives up to ``end`` (empty: until the connection is closed) within the time of one visit."""
    deadline = time.monotonic() + _SECONDS
    received = b""
    while not (end and end in received) and len(received) < _LONGEST and time.monotonic() < deadline:
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received


def _split(head: bytes) -> tuple[str, dict[str, str]]:
    """The first line of a request or response, and its headers; values of a repeated header are joined."""
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return first, headers


def problems(ctx: Context, *, patience: float = 0.0) -> list[tuple[str, str]]:
    """Why a visitor would not reach the app through the proxy that setup prepared, each with its repair.

    Empty without such a proxy, and while nothing serves. Tries for ``patience`` seconds: after a reload, old processes
    of the proxy still answer for a moment. Raises OSError.
    """
    deadline = time.monotonic() + patience
    while True:
        site, number = ctx.settings.site, ctx.catalog.current()
        if site is None or not number or not ctx.paths.socket(number).parent.is_dir():
            return []
        found = judge(visit(ctx, number, site))
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.2)


def judge(visits: Iterable[Visit]) -> list[tuple[str, str]]:
    """The problems that these visits show, each with its repair. Pure."""
    found = []
    for one in visits:
        where = f"{one.name} at {one.address}"
        if one.fault:
            text, repair = f"nothing answers for {where}: {one.fault}", "on the host, as root: systemctl status nginx"
        elif not one.reached and (one.ours or one.answer in (502, 504)):
            text = f"the proxy answers for {where}, and cannot reach the app"
            repair = "on the host, as root: tail /var/log/nginx/error.log   (why)"
        elif not one.reached:
            text = f"another site answers for {where} (it answered {one.answer or 'no HTTP'})"
            repair = "set domains under [proxy] and fab setup; nginx -T on the host shows all sites"
        elif one.believed:
            text = f"the proxy believes what a visitor says of itself: {where} passes on a made-up address"
            repair = "fab setup   (writes the site again); check [proxy] trusted"
        elif one.pooled:
            text = f"the proxy keeps its connections to the app ({where}): after a switch they reach the old release"
            repair = "fab setup   (writes the site again)"
        else:
            continue
        found.append((text, repair))
    return found
