"""``--json``: one event a line on standard output, for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import Lock
from typing import Any, TextIO

from msgspec import Struct, structs

from deployer.events import Event
from deployer.remote.answers import Job
from deployer.ui.question import Pause
from deployer.ui.stream import safe

__all__ = ["JsonLines", "as_object", "write_object"]


class JsonLines:
    """Writes each event as one line of ASCII JSON, at once; an unset ``at`` becomes the time of writing."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.time) -> None:
        self._stream = safe(stream)
        self._clock = clock
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        stamped = event if event.at else replace(event, at=self._clock())
        with self._lock:
            write_object(self._stream, stamped.as_json())

    def pause(self) -> AbstractContextManager[Pause]:
        """A question among JSON lines would not be read: it is not shown."""
        return nullcontext(Pause(lambda *_: None))

    def aside(self) -> AbstractContextManager[None]:
        """A question at the terminal does not touch the events."""
        return nullcontext()

    def close(self) -> None:
        self._stream.flush()


def write_object(stream: TextIO, value: dict[str, Any]) -> None:
    """One JSON object as one line, at once."""
    stream.write(json.dumps(value) + "\n")
    stream.flush()


def as_object(value: Struct) -> dict[str, Any]:
    """What ``--json`` shows of an answer: its fields, by the names that they have here."""
    return {name: _plain(item) for name, item in structs.asdict(value).items() if name not in _SHOWN_ELSEWHERE}


_SHOWN_ELSEWHERE = ("switched",)
"""Fields of parts of an answer which the answer shows itself: ``since`` of a status."""


def _plain(value: Any) -> Any:
    if isinstance(value, Job):
        return str(value)
    if isinstance(value, Struct):
        return as_object(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
