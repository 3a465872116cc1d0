"""Runs the commands of the host, one way for all: bounded in time, as another user, with its output read.

A pipe ends only when every process that holds it has closed it. A command may have left its end to a process that
outlives it: nothing here waits for that.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from deployer.host.errors import HostError
from deployer.wire import advice

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
LONGEST_LINE = 64 * 1024
"""Bytes after which a line is handed on in pieces: what a build prints must not fill root's memory."""
_LEFT = 1 << 20
"""Bytes that are still read when the command has ended: more does not fit into a pipe."""
_TICK = 100
"""Milliseconds between two looks at whether it has ended."""
_NOEXEC_SEAL = 8
"""MFD_NOEXEC_SEAL, which a hardened kernel insists on and an old one does not know (memfd_create(2))."""


@dataclass(frozen=True)
class CommandResult:
    """A command's end: exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def tail(self, count: int = 20) -> list[str]:
        return (self.out + self.err).strip().splitlines()[-count:]


def run(argv: Sequence[str], *, timeout: float = 90, stdin: bytes | None = None, user: str = "") -> CommandResult:
    """Run a command and wait, at most ``timeout`` seconds. A command that is missing or hangs is a HostError.

    What it prints goes to files without a name, not to pipes: something that it leaves behind keeps nobody waiting.
    ``user`` is whose rights it has, with their groups (empty: those of this program).
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
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise HostError(f"{' '.join(argv[:4])} did not end within {timeout:.0f} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said = [content(descriptor).decode("utf-8", "replace") for descriptor in (out, err)]
        return CommandResult(status, *said)


def _file(stack: contextlib.ExitStack, content: bytes | None) -> int:
    """A descriptor for a command, closed with the ``stack``: /dev/null for None."""
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


def stream(argv: Sequence[str], on_line: Callable[[str], None], *, stdin: bytes | None = None) -> int:
    """Run a command, hand each line it prints to ``on_line``, return its exit status.

    It has ended when its own process has, whoever else holds what it printed to.
    """
    with contextlib.ExitStack() as stack:
        given = _file(stack, stdin)
        process = stack.enter_context(
            subprocess.Popen(
                list(argv), stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, cwd="/"
            )
        )
        try:
            for line in lines(process):
                on_line(line)
        except BaseException:
            process.kill()
            raise
    return process.returncode


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
