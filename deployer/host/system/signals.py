"""SIGTERM: somebody aborts the deploy, or the host shuts down. Steps that must not be interrupted defer it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Callable

from deployer.host.errors import HostError


class Terminated(BaseException):
    """SIGTERM was received; ``error`` says why. Not a HostError, so that no handler on the way up catches it."""

    def __init__(self, error: HostError) -> None:
        super().__init__(error.message)
        self.error = error


class PowerOff(BaseException):
    """The host shuts down after the switch: nothing is undone now, the next boot decides."""


def on_terminate(act: Callable[[], None]) -> None:
    """Have the first SIGTERM call ``act``, which raises; later ones are ignored."""

    def handle(*_: object) -> None:
        ignore_terminate()
        act()

    signal.signal(signal.SIGTERM, handle)


def hold() -> None:
    """Defer SIGTERM until :func:`release`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def release() -> None:
    """Deliver a deferred SIGTERM, and those to come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def ignore_terminate() -> None:
    """Ignore SIGTERM from now on."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer SIGTERM to the end of the block. Threads started in the block never receive it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
