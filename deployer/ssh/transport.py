"""A Paramiko transport that is fast (no Nagle, AES-GCM), notices a vanished host, and counts its bytes."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import Any

from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.transport import Transport

CIPHERS = (
    "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr",
)  # fmt: skip
DIGESTS = (
    "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512",
)  # fmt: skip
LOG = "deployer.ssh.wire"
GLOBAL_REQUEST = b"\x50"


SHOWN = 300
"""Characters of what a far end said that are shown."""


def printable(text: str) -> str:
    """What a far end said, on one line that cannot touch a terminal."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:SHOWN]


class WatchedPacketizer(Packetizer):  # type: ignore[misc]
    """Counts bytes that are sent, and measures silence in small steps: a laptop's sleep is no silence."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._sock = sock
        self.bytes_up = 0
        self.greeting: list[str] = []
        self.hung_up = False
        """The connection ended before the far end had greeted us."""
        self.watched: StrictTransport | None = None
        self.interval = self.limit = 0.0
        self._silence = 0.0
        self._tick = time.monotonic()

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Acknowledges at once what has come. sshd holds back its answer to the first channel (Nagle, until a program
        runs) until what it sent before is acknowledged, which the kernel would put off for 40 ms. It forgets this
        setting by itself: tcp(7), TCP_QUICKACK."""
        data: bytes = super().read_all(n, check_rekey)
        self._silence = 0.0
        with contextlib.suppress(AttributeError, OSError):  # Linux only; a jump host's channel is no socket
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data

    def readline(self, timeout: float) -> str:
        """Records the lines that come before encryption: the far end's greeting."""
        try:
            line: str = super().readline(timeout)
        except UnicodeDecodeError as error:
            self.greeting.append(error.object.decode("utf-8", "replace"))
            raise
        except (EOFError, ConnectionError):
            self.hung_up = True
            raise
        self.greeting.append(line)
        return line

    def write_all(self, out: bytes) -> None:
        self.bytes_up += len(out)
        super().write_all(out)

    def _check_keepalive(self) -> None:
        """Called by the reading thread whenever 0.1 s brought nothing. Must not block: it is the watchdog."""
        now = time.monotonic()
        before = self._silence
        self._silence += min(now - self._tick, 1.0)
        self._tick = now
        if self.watched is None:
            return
        if self._silence > self.limit:
            raise EOFError(f"nothing was received for {self.limit:.0f} s")
        if self._silence // self.interval > before // self.interval:
            self.watched.ping()


class StrictTransport(Transport):  # type: ignore[misc]
    """``packetizer`` is a WatchedPacketizer. ``goodbye`` is what the far end said when it ended the connection."""

    goodbye = ""

    def __init__(self, sock: Any) -> None:
        with contextlib.suppress(AttributeError, OSError):  # a jump host's channel is no socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, packetizer_class=WatchedPacketizer)
        logging.getLogger(LOG).addHandler(logging.NullHandler())
        self.set_log_channel(LOG)
        choices = self.get_security_options()
        choices.ciphers = CIPHERS
        choices.digests = DIGESTS

    def watch(self, interval: float, limit: float) -> None:
        """Start to send a keep-alive after ``interval`` seconds without data, and end the connection after ``limit``
        seconds without data."""
        with contextlib.suppress(AttributeError, OSError):  # sent and not acknowledged: Linux only
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limit * 1000))
        self.packetizer.interval, self.packetizer.limit = interval, limit
        self.packetizer.watched = self

    @property
    def greeting(self) -> str:
        """The first line that came, whatever it was."""
        return next((line.strip() for line in self.packetizer.greeting if line.strip()), "")

    @property
    def said(self) -> str:
        """What the host wants a person to read: its words before and while it ends a login."""
        banner = getattr(self.auth_handler, "banner", None) or b""  # get_banner() forgets it when the host hangs up
        return printable(f"{banner.decode('utf-8', 'replace')} {self.goodbye}")

    def _parse_disconnect(self, message: Any) -> None:
        message.get_int()
        self.goodbye = message.get_text()

    def ping(self) -> None:
        """Send a keep-alive, in a thread: sending may block when the far end does not read."""
        threading.Thread(target=self._ping, daemon=True, name="ssh-ping").start()

    def _ping(self) -> None:
        message = Message()
        message.add_byte(GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        with contextlib.suppress(Exception):
            self._send_user_message(message)
