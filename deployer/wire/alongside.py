"""Work that goes on while other work is waited for."""

from __future__ import annotations

import threading
from typing import Callable, TypeVar

T = TypeVar("T")


def alongside(function: Callable[[], T], name: str) -> Callable[[], T]:
    """Call a function in a thread of that name. What is returned waits for its end, and returns or raises what the
    function did."""
    ended: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            ended.append(function())
        except BaseException as error:
            failed.append(error)

    def result() -> T:
        thread.join()
        if failed:
            raise failed[0]
        return ended[0]

    thread = threading.Thread(target=run, daemon=True, name=name)
    thread.start()
    return result
