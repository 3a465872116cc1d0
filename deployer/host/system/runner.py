"""Runs the commands of the host: with a time limit, as another user if asked, with its output read.

A pipe ends only when every process that holds it has closed it, and a command may leave its end to a process that
outlives it. Nothing here waits for such a process.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from deployer.host.errors import HostError
from deployer.wire import advice
from deployer.wire.lazydata import dataclass

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
LONGEST_LINE = 64 * 1024
"""Bytes after which a line is passed on in pieces, so that a build's output cannot fill root's memory."""
_LEFT = 1 << 20
"""Bytes that are still read of each stream once the command has ended: no more fits into a pipe."""
_TICK = 100
"""Milliseconds between two checks whether the command has ended."""
_AGAIN = 0.5
"""Seconds between two questions whether a command's work goes on without it."""
_NOEXEC_SEAL = 8
"""MFD_NOEXEC_SEAL (memfd_create(2)): a hardened kernel requires it, an old one does not know it."""


def which(name: str, path: str) -> str | None:
    """Where a program is on ``path``; None when it is not."""
    import shutil

    return shutil.which(name, path=path)


@dataclass(frozen=True)
class CommandResult:
    """The exit status of a command and what it printed."""

    status: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def tail(self, count: int = 20) -> list[str]:
        return (self.out + self.err).strip().splitlines()[-count:]


def run(argv: Sequence[str], *, timeout: float = 90, stdin: bytes | None = None, user: str = "") -> CommandResult:
    """Run a command for at most ``timeout`` seconds, as ``user`` with their groups (empty: root). Raises HostError when
    it is missing or takes longer.

    It prints into memory files, not pipes: a process that it leaves behind keeps nobody waiting.
    """
    with contextlib.ExitStack() as stack:
        given, out, err = _file(stack, stdin), _file(stack, b""), _file(stack, b"")
        try:
            process = subprocess.Popen(
                list(argv), stdin=given, stdout=out, stderr=err, env=ENVIRONMENT, cwd="/", **_rights(user)
            )
        except FileNotFoundError:
            raise HostError(
                f"the host lacks the command {argv[0]}", next=advice.do(f"install it: apt-get install {argv[0]}")
            ) from None
        try:
            status = exit_status(process, timeout)
        except subprocess.TimeoutExpired:
            raise HostError(f"{' '.join(argv[:4])} did not end within {timeout:.0f} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said = [content(descriptor).decode("utf-8", "replace") for descriptor in (out, err)]
        return CommandResult(status, *said)


def exit_status(process: subprocess.Popen[bytes], timeout: float) -> int:
    """The exit status of a process once it has ended. Raises TimeoutExpired after ``timeout`` seconds.

    A descriptor of a process can be read from when the process has ended (pidfd_open(2)). ``Popen.wait`` with a limit
    only looks now and then, with pauses of up to 50 ms.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except (OSError, AttributeError):  # a kernel older than 5.3, a container that forbids it, or a Python built on such
        return process.wait(timeout)
    try:
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        if not end.poll(max(0.0, timeout) * 1000):
            raise subprocess.TimeoutExpired(process.args, timeout)
    finally:
        os.close(descriptor)
    return process.wait()


def _file(stack: contextlib.ExitStack, content: bytes | None) -> int:
    """A descriptor for a command, closed with the ``stack``; /dev/null for None."""
    if content is None:
        return subprocess.DEVNULL
    descriptor = anonymous(content)
    stack.callback(os.close, descriptor)
    return descriptor


def _rights(user: str) -> dict[str, Any]:
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    stdin: bytes | None = None,
    goes_on: Callable[[], bool] | None = None,
) -> int:
    """Run a command, pass each line it prints to ``on_line``, return its exit status.

    Ends with the command's own process, even if others still hold its output. But while ``goes_on()`` says that
    its work goes on in another process, the output is read until that has ended: a process that prints into a closed
    pipe dies.
    """
    with contextlib.ExitStack() as stack:
        given = _file(stack, stdin)
        process = stack.enter_context(
            subprocess.Popen(
                list(argv), stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, cwd="/"
            )
        )
        try:
            for line in lines(process, goes_on):
                on_line(line)
        except BaseException:
            process.kill()
            raise
    return process.returncode


def lines(process: subprocess.Popen[bytes], goes_on: Callable[[], bool] | None = None) -> Iterator[str]:
    """Each line of the standard output (a pipe) of ``process`` until it ends (``goes_on``: see :func:`stream`).

    What is not UTF-8 is replaced.
    """
    assert process.stdout is not None
    pipe, buffer = process.stdout.fileno(), LineBuffer()
    for descriptor, piece in pieces(process, [pipe], goes_on):
        if descriptor == pipe and not piece:
            break
        yield from buffer.feed(piece)
    yield from buffer.rest()


class LineBuffer:
    """Cuts bytes into lines, and lines that are too long into pieces. What is not UTF-8 is replaced."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that ``data`` ends."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield from _told(line)
        if len(self._rest) >= LONGEST_LINE:
            yield from self.rest()

    def rest(self) -> Iterator[str]:
        """The last line, if it has no end."""
        line, self._rest = self._rest, b""
        if line:
            yield from _told(line)


def _told(line: bytes) -> Iterator[str]:
    for start in range(0, max(1, len(line)), LONGEST_LINE):
        yield line[start : start + LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")


def pieces(
    process: subprocess.Popen[bytes], descriptors: Sequence[int], goes_on: Callable[[], bool] | None = None
) -> Iterator[tuple[int, bytes]]:
    """What comes on each of the descriptors until the work of ``process`` has ended (``goes_on``: see :func:`stream`).

    No bytes: that stream is at its end. The descriptor -1: nothing has come for a while. Others may hold the streams
    longer than the work lasts: what is not at its end then keeps nobody waiting.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    left, lasts, again = _LEFT * len(descriptors), True, 0.0
    while left > 0:
        ended = process.poll() is not None
        if ended and lasts and time.monotonic() >= again:
            lasts, again = goes_on is not None and goes_on(), time.monotonic() + _AGAIN
        ended = ended and not lasts
        ready = waiting.poll(0 if ended else _TICK)
        if not ready:
            if ended:
                return
            yield -1, b""
        for descriptor, _ in ready:
            piece = _read(descriptor)
            if not piece:
                waiting.unregister(descriptor)
            left -= len(piece) if ended else 0
            yield descriptor, piece


def _read(descriptor: int) -> bytes:
    """A terminal whose other end is closed by all is an error to read."""
    with contextlib.suppress(OSError):
        return os.read(descriptor, LONGEST_LINE)
    return b""


def anonymous(content: bytes = b"") -> int:
    """A descriptor of an unnamed file in memory with ``content``, positioned at its beginning."""
    try:
        descriptor = os.memfd_create("deployer", os.MFD_CLOEXEC | _NOEXEC_SEAL)
    except OSError:
        descriptor = os.memfd_create("deployer")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def content(descriptor: int) -> bytes:
    """The whole content of an :func:`anonymous` file. Its offset, which may be shared, does not change."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
