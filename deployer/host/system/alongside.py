"""Work of the host program that goes on while other work is waited for."""

from __future__ import annotations

from typing import Callable, TypeVar

from deployer.host.system.signals import uninterrupted
from deployer.wire import alongside as threads

T = TypeVar("T")


def alongside(function: Callable[[], T], name: str) -> Callable[[], T]:
    """As :func:`deployer.wire.alongside.alongside`; signals go to the caller's thread."""
    with uninterrupted():
        return threads.alongside(function, name)
