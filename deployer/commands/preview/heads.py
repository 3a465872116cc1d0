"""Pure: the heads of requests and responses, as a browser and the app need them to understand each other.

The browser asks this machine, the app answers to its own name only. So the app is told its name, and the browser the
address of this machine.
"""

from __future__ import annotations

import re

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["Names", "request", "response", "target"]

END = b"\r\n\r\n"
_DOMAIN = pattern(rb";\s*domain=[^;]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Names:
    """``here`` is what the browser asks, such as ``127.0.0.1:8000``; ``there`` the app's own name, ``secure`` whether
    visitors use HTTPS."""

    here: str
    there: str
    secure: bool

    @property
    def origin(self) -> bytes:
        return f"{'https' if self.secure else 'http'}://{self.there}".encode()


def target(head: bytes) -> tuple[str, str]:
    """Method and path of a request."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return (words[0], words[1].partition("?")[0]) if len(words) > 2 else ("", "")


def request(head: bytes, names: Names) -> bytes:
    """The head for the app: by its own name, as from a visitor, and one request a connection."""
    first, *lines = head[: -len(END)].split(b"\r\n")
    upgrade = any(_name(line) == b"upgrade" for line in lines)
    dropped = {b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip", b"forwarded"}
    dropped |= set() if upgrade else {b"connection", b"keep-alive"}
    here = f"http://{names.here}".encode()
    kept = [
        line.replace(here, names.origin) if _name(line) in (b"origin", b"referer") else line
        for line in lines
        if _name(line) not in dropped
    ]
    added = [
        b"Host: " + names.there.encode(),
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Real-IP: 127.0.0.1",
        b"X-Forwarded-Proto: " + (b"https" if names.secure else b"http"),
        *([] if upgrade else [b"Connection: close"]),
    ]
    return b"\r\n".join([first, *added, *kept, b"", b""])


def response(head: bytes, names: Names) -> bytes:
    """The head for the browser: redirects stay at this machine, cookies are its own."""
    first, *lines = head[: -len(END)].split(b"\r\n")
    return b"\r\n".join([first, *(_answered(line, names) for line in lines), b"", b""])


def _answered(line: bytes, names: Names) -> bytes:
    name, value = _name(line), line.partition(b":")[2].strip()
    if name == b"location":
        for scheme in (b"https://", b"http://"):
            origin = scheme + names.there.encode()
            if value == origin or value.startswith((origin + b"/", origin + b"?")):
                return b"Location: http://" + names.here.encode() + value[len(origin) :]
    if name == b"set-cookie":
        return _DOMAIN.sub(b"", line)
    return line


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()
