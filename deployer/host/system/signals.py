"""SIGTERM: somebody ends the deploy, or the host goes down. What must not be cut in two holds it back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Callable

from deployer.host.errors import HostError


class Terminated(BaseException):
    """SIGTERM has come: ``error`` says what for. No HostError itself: nothing on its way up may take it for one."""

    def __init__(self, error: HostError) -> None:
        super().__init__(error.message)
        self.error = error


class PowerOff(BaseException):
    """The host goes down behind the switch: nothing is undone now, the next boot judges."""


def on_terminate(act: Callable[[], None]) -> None:
    """Have the first SIGTERM call ``act``, which raises; later ones are ignored."""

    def handle(*_: object) -> None:
        ignore_terminate()
        act()

    signal.signal(signal.SIGTERM, handle)


def hold() -> None:
    """A SIGTERM that comes from now on waits for :func:`release`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def release() -> None:
    """Hear a SIGTERM that has come, and those to come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def ignore_terminate() -> None:
    """From now on what is done is not ended from outside."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A SIGTERM in this block is heard at its end. A thread that is started in it never hears one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
