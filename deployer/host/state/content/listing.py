"""Lists a directory while other work is done: with GNU find, in a process of its own.

Listing tens of thousands of files in Python holds the interpreter lock, which other threads need as well. find does the
same on another processor; reading its output takes Python a seventh of the time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

from deployer.host.state.content import contents
from deployer.host.state.content.records import ByPath
from deployer.host.system import runner
from deployer.wire.lazyre import pattern

_LONGEST = 300.0
"""Seconds that find may take: many files on a disk of which nothing is cached."""
_ENVIRONMENT = {**runner.ENVIRONMENT, "LC_ALL": "C"}
_FIND = (
    *("find", ".", "-type", "d"),
    *("-o", "-type", "f", "-printf", r"%i %s %T@ 10%04m\0%P\0"),
    *("-o", "-type", "l", "-printf", r"%i %s %T@ 12%04m\0%P\0"),
    *("-o", "-printf", r"neither a directory nor a file nor a link\0%P\0"),
)
"""Without -L or -H, find follows no link. ``%T@`` prints ten digits after the point; the last one is always 0."""
_PRINTED = pattern(rb"(?:\d+ \d+ (?:0|[1-9]\d*)\.\d{9}0 1[02][0-7]{4}\0[^\0]+\0)*")
"""The output of find when there are only files and links. Times before 1970 do not match: Python lists those."""


class Listing:
    """The result of :func:`contents.listing`, started when this is created.

    With ``apart``, find lists the directory, which pays off from some thousand files on. Without it, or when find is
    missing, fails, or prints something unexpected, Python lists the directory when the result is asked for. Close it.
    """

    def __init__(self, directory: bytes, *, apart: bool) -> None:
        self._directory = directory
        self._output = -1
        self._process: subprocess.Popen[bytes] | None = None
        if apart:
            with contextlib.suppress(OSError):  # Python then lists the directory, and raises the error if it persists
                self._begin()

    def _begin(self) -> None:
        """Start find. It writes to a file in memory, so it never waits for a reader."""
        with contents.opened(self._directory) as place:
            self._output = runner.anonymous()
            self._process = subprocess.Popen(
                _FIND,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd=f"/proc/self/fd/{place}",  # the directory that was opened, whatever is at its path now
            )

    def result(self) -> ByPath:
        """Wait for the listing, and close it. Raises OSError."""
        found = self._found()
        self.close()
        return contents.listing(self._directory) if found is None else found

    def _found(self) -> ByPath | None:
        """The result of find; None when it was not started, failed, or printed something unexpected."""
        if self._process is None:
            return None
        try:
            status = runner.exit_status(self._process, _LONGEST)
        except subprocess.TimeoutExpired:
            return None
        return None if status else read(runner.content(self._output))

    def close(self) -> None:
        """Kill find if it is still running."""
        process, self._process = self._process, None
        output, self._output = self._output, -1
        if process is not None:
            process.kill()
            process.wait()
        if output >= 0:
            os.close(output)

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(printed: bytes) -> ByPath | None:
    """The listing in the output of find; None when the output is not as expected."""
    if _PRINTED.fullmatch(printed) is None:
        return None
    pieces, found = printed.split(b"\0"), ByPath()
    for one, path in zip(pieces[::2], pieces[1::2]):
        point = one.index(b".")
        found[path] = one[:point] + one[point + 1 : point + 10] + one[point + 11 :]
    if b" 0." in printed:  # a time in the first second of 1970, or a part of a name
        for path, one in found.items():
            inode, size, time, mode = one.split(b" ")
            found[path] = b"%s %s %d %s" % (inode, size, int(time), mode)
    return found
