"""The events of a job, on the host's disk: whoever follows reads them there, and nobody who has gone is waited for."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from deployer.wire.protocol import dumps

_LARGEST = 16 * 1024 * 1024
"""Bytes of a job's events after which what its commands print is left out."""


class EventLog:
    """Appends events to a job's file, one JSON object a line.

    An event that the disk has no room for is left out whole: a deploy must not fail for its log, nor its log be cut.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(str(path), "ab", buffering=0)  # noqa: SIM115  (open as long as the job runs)
        self._end_torn_line(path)

    def _end_torn_line(self, path: Path) -> None:
        """After a power cut: cut off what was begun and never ended, so that every line is a whole event."""
        text = path.read_bytes()
        with contextlib.suppress(OSError):
            os.ftruncate(self._file.fileno(), text.rfind(b"\n") + 1)

    def __call__(self, name: str, **fields: Any) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if name == "output" and size > _LARGEST:
            return  # a build that prints for ever must not fill root's disk; what it fails of is kept elsewhere
        line = dumps({"event": name, "at": time.time(), **fields})
        with contextlib.suppress(OSError):
            if self._file.write(line) == len(line):
                return
        with contextlib.suppress(OSError):
            os.ftruncate(self._file.fileno(), size)
