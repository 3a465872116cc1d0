"""How many may log in to one sshd at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployer.ssh.settings import Settings

__all__ = ["LoginLimit"]

AT_A_TIME = 8
"""sshd turns away some of more than ten that have not logged in yet (MaxStartups 10:30:100)."""


class LoginLimit:
    """Lets few at a time log in to one sshd: where a whole fleet is behind one jump host, that is its sshd.

    What a proxy command goes through is not known; nearly always it is one jump host for all, and it counts as one.
    """

    def __init__(self, at_a_time: int = AT_A_TIME) -> None:
        self._at_a_time = at_a_time
        self._doors: dict[tuple[tuple[str, ...], str, int], threading.Semaphore] = {}
        self._lock = threading.Lock()

    @contextmanager
    def through(self, settings: Settings) -> Iterator[None]:
        """Waits for a place at the door of that sshd; it is given up at the end of the block.

        A jump host is logged in to while one stands at the door behind it. The way is part of a door's name, and one
        gets shorter with each jump: so nobody waits for a door that is kept by who waits for theirs.
        """
        unknown = settings.proxy_command and not settings.proxy_jump
        name = ((), "", 0) if unknown else (settings.proxy_jump, settings.hostname, settings.port)
        with self._lock:
            door = self._doors.setdefault(name, threading.Semaphore(self._at_a_time))
        with door:
            yield
