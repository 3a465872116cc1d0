"""Whether the laptop of a session is still there."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def end_with_laptop() -> Iterator[None]:
    """In the block, end this program when the laptop has gone: as long as it writes nothing, it would not notice."""
    done = threading.Event()

    def watch() -> None:
        output = select.poll()
        output.register(1, 0)  # POLLERR and POLLHUP, when the other end closes, are always reported
        while not done.is_set():
            if output.poll(500) and not done.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
