"""What a command prints, read for as long as the command itself runs.

A pipe ends only when everybody who holds it has closed it. A command may have handed its end to somebody who outlives
it: nobody waits for them here.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator

LONGEST_LINE = 64 * 1024
"""Bytes after which a line is handed on in pieces: what a build prints must not fill root's memory."""
_LEFT = 1 << 20
"""Bytes that are still read when the command has ended: more does not fit into a pipe."""
_TICK = 100
"""Milliseconds between two looks at whether it has ended."""
_NOEXEC_SEAL = 8
"""MFD_NOEXEC_SEAL, which a hardened kernel insists on and an old one does not know (memfd_create(2))."""


def lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Each line of the standard output (a pipe) of ``process``, until it ends. What is no UTF-8 is replaced."""
    rest = b""
    for piece in _pieces(process):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield from _told(line)
        if len(rest) >= LONGEST_LINE:
            yield from _told(rest)
            rest = b""
    if rest:
        yield from _told(rest)


def _told(line: bytes) -> Iterator[str]:
    for start in range(0, max(1, len(line)), LONGEST_LINE):
        yield line[start : start + LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")


def _pieces(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    left = _LEFT
    while left > 0:
        ended = process.poll() is not None
        ready = waiting.poll(0 if ended else _TICK)
        piece = os.read(pipe, LONGEST_LINE) if ready else b""
        if ready and not piece:
            return
        if ended and not ready:
            return
        if ended:
            left -= len(piece)
        if piece:
            yield piece


def anonymous(content: bytes = b"") -> int:
    """A descriptor of a file that has no name and is in memory, with ``content``, to be read from its beginning."""
    try:
        descriptor = os.memfd_create("deployer", os.MFD_CLOEXEC | _NOEXEC_SEAL)
    except OSError:
        descriptor = os.memfd_create("deployer")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def content(descriptor: int) -> bytes:
    """All that an :func:`anonymous` file holds. Its offset, which others may share, stays."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
