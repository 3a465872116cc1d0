"""Limits how many logins to one sshd run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LoginLimit", "Sshd"]

Sshd = tuple[tuple[str, ...], str, int]
"""An sshd: the jump hosts on the way to it, its name, its port."""

AT_A_TIME = 8
"""sshd drops some connections when more than ten have not logged in yet (MaxStartups 10:30:100)."""


class LoginLimit:
    """Limits simultaneous logins to each sshd. For a fleet behind a jump host, that includes the jump host's."""

    def __init__(self, at_a_time: int = AT_A_TIME) -> None:
        self._at_a_time = at_a_time
        self._semaphores: dict[Sshd, threading.Semaphore] = {}
        self._lock = threading.Lock()

    @contextmanager
    def through(self, sshd: Sshd) -> Iterator[None]:
        """Waits for a free login to that sshd, and frees it at the end of the block.

        A login may hold one slot while it logs in to its jump host. The route is part of the key and gets shorter
        with each jump, so there are no cycles of waiting logins (no deadlock).
        """
        with self._lock:
            semaphore = self._semaphores.setdefault(sshd, threading.Semaphore(self._at_a_time))
        with semaphore:
            yield
