"""What the DNS says of a name, and who answers at an address. Each question ends within its time."""

from __future__ import annotations

import contextlib
import errno
import http.client
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import TypeVar

from deployer.domains.verdict import Answer
from deployer.wire.site import NO_PROOF, PROOF, ProxySite

__all__ = ["addresses", "all_within", "ask"]

Key = TypeVar("Key")
Value = TypeVar("Value")

_ABSENT = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""The DNS has answered, and knows no address. Anything else (EAI_AGAIN) is a machine without DNS."""
_NO_WAY = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM)
"""This machine has no way there: it has no IPv6, for instance."""
_KEEPS_OUT = (301, 302, 303, 307, 308, 401, 403, 429, 503)
"""Answers by which a site, or what stands in front of it, keeps a stranger out: they say nothing of who it is."""
_READ = 64 * 1024


def addresses(name: str) -> tuple[str, ...] | None:
    """The addresses of a name; none when the DNS has none, None when it could not be asked."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return () if error.errno in _ABSENT else None
    except (OSError, UnicodeError):
        return None
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


def ask(name: str, address: str, site: ProxySite, seconds: float) -> Answer:
    """Whether the site of that name answers at an address: below the path of the proof it says so to anybody."""
    ways = [("http", site.http[0].port), *(("https", one.port) for one in site.https[:1])]
    answered = silent = False
    for scheme, port in ways:
        try:
            status, ours = _get(scheme, name, (address, port), seconds)
        except (ssl.SSLError, http.client.HTTPException):
            return Answer(known=False)  # somebody answers; what is wrong with that, the host itself finds
        except OSError as error:
            silent = silent or error.errno not in _NO_WAY
            continue
        if ours:
            return Answer()
        if status not in _KEEPS_OUT:
            return Answer(wrong=f"another site answers there ({status})")
        answered = True
    return Answer(wrong="nothing answers there") if silent and not answered else Answer(known=False)


def _get(scheme: str, name: str, peer: tuple[str, int], seconds: float) -> tuple[int, bool]:
    """The status of the answer, and whether it is the site's. Raises OSError, HTTPException."""
    nonce = secrets.token_hex(16)
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(name, peer[1], timeout=seconds)) as connection:
        connection.sock = socket.create_connection(peer, timeout=seconds)
        if scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=name)
        connection.request("GET", f"{PROOF}{nonce}", headers={"User-Agent": "deployer", "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(_READ)
    return answer.status, NO_PROOF.encode() in body or (answer.status == 200 and body.strip() == nonce.encode())


def all_within(seconds: float, questions: Mapping[Key, Callable[[], Value]]) -> dict[Key, Value]:
    """The answers to all questions, asked at once: those that came in time, and not of a question that raised.

    The resolver knows no time of its own.
    """
    answers: SimpleQueue[tuple[Key, Value] | None] = SimpleQueue()

    def answer(key: Key, question: Callable[[], Value]) -> None:
        found = None
        with contextlib.suppress(Exception):
            found = (key, question())
        answers.put(found)

    for key, question in questions.items():
        threading.Thread(target=answer, args=(key, question), daemon=True, name="domains").start()
    found: dict[Key, Value] = {}
    deadline = time.monotonic() + seconds
    for _ in questions:
        try:
            answered = answers.get(timeout=max(deadline - time.monotonic(), 0.0))
        except Empty:
            break
        if answered is not None:
            found[answered[0]] = answered[1]
    return found
