"""Reads what strace has written of one thread, and adds up its calls on files. Pure."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

COUNTED = {
    "opened": "files opened, directories not",
    "read": "files of which something was read after they were opened: what is hashed or copied is among them",
    "bytes_read": "bytes read from files; what is read through a mapping, as git does, is not seen",
    "piped": "bytes read from pipes and sockets",
    "created": "files opened so that they are made when they are not there",
    "bytes_written": "bytes written to files",
    "linked": "hard links made",
    "removed": "files and directories removed",
    "renamed": "files and directories renamed",
    "changed": "changes of mode, owner or times",
    "directories": "directories made",
    "listed": "directories opened",
    "looked_at": "questions about the metadata of a path",
    "synced": "fsync, fdatasync, syncfs and sync",
}
"""What is counted, each call that succeeds. Files and directories are those ``inside``: see :class:`Thread`."""

_OPENS = ("open", "openat", "openat2", "creat")
_READS = ("read", "pread64", "readv", "preadv", "preadv2")
_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
_COPIES = ("copy_file_range", "sendfile", "splice")
_FORKS = ("clone", "clone3", "fork", "vfork")
_OTHERS = {
    "linked": ("link", "linkat"),
    "removed": ("unlink", "unlinkat", "rmdir"),
    "renamed": ("rename", "renameat", "renameat2"),
    "changed": (
        "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utimensat", "futimesat",
        "utimes", "utime",
    ),
    "directories": ("mkdir", "mkdirat"),
    "looked_at": ("stat", "lstat", "newfstatat", "statx"),
    "synced": ("fsync", "fdatasync", "syncfs", "sync"),
}  # fmt: skip
_KIND = {call: kind for kind, calls in _OTHERS.items() for call in calls}
_TRANSFERS = (*_READS, *_WRITES, *_COPIES)
CALLS = (*_OPENS, *_TRANSFERS, *_FORKS, *_KIND)
"""What strace has to follow; it must be told names that this kernel's machine has not with a question mark."""

_LINE = re.compile(r"([a-z0-9_]+)\((.*)\)\s+= (\d+)(?:<(.*)>(?:\(deleted\))?)?(?: /\* (\d+) in strace's PID NS \*/)?$")
_OPERAND = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>|"((?:[^"\\]|\\.)*)"')
_UNIT = re.compile(r"/sys/fs/cgroup/(?:.*/)?([^/]+)/cgroup\.procs\Z")


@dataclass(slots=True)
class Thread:
    """What one thread did, by the unit it belonged to meanwhile; "" while that is the one of who started it.

    ``inside`` says of a path whether it is counted. ``children`` are the threads it started, with its unit then.
    """

    inside: Callable[[str], bool]
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    children: list[tuple[int, str]] = field(default_factory=list)
    _unit: str = ""
    _fresh: set[str] = field(default_factory=set)

    def take(self, lines: Iterable[str]) -> None:
        """Add up the lines of strace's record."""
        for line in lines:
            if found := _LINE.match(line):
                call, arguments, result, path, translated = found.groups()
                if call in _OPENS:
                    self._open(path or "", arguments)
                elif call in _TRANSFERS:
                    self._transfer(call, arguments, int(result))
                elif call in _FORKS:
                    self.children.append((int(translated or result), self._unit))
                elif call in _KIND and "AT_EMPTY_PATH" not in arguments:
                    self._other(_KIND[call], arguments)

    def _open(self, path: str, flags: str) -> None:
        if found := _UNIT.match(path):  # systemd's child, before it becomes the program of a unit
            self._unit = found[1] if "O_WRONLY" in flags else self._unit
        if not self.inside(path) or "O_PATH" in flags:
            return
        if "O_DIRECTORY" in flags:
            self._add("listed", 1)
            return
        self._add("opened", 1)
        self._fresh.add(path)
        if "O_CREAT" in flags or "O_TMPFILE" in flags:
            self._add("created", 1)

    def _transfer(self, call: str, arguments: str, size: int) -> None:
        paths = [found[1] for found in _OPERAND.finditer(arguments) if found[1] is not None]
        source, target = paths[:1], paths[:1]
        if call in _COPIES:
            source, target = (paths[1:2], paths[:1]) if call == "sendfile" else (paths[:1], paths[1:2])
        if call not in _WRITES and source:
            self._read(source[0], size)
        if call not in _READS and target and self.inside(target[0]):
            self._add("bytes_written", size)

    def _read(self, path: str, size: int) -> None:
        if path.startswith(("pipe:", "socket:", "UNIX", "TCP")):
            self._add("piped", size)
        elif self.inside(path):
            self._add("bytes_read", size)
            if size and path in self._fresh:
                self._fresh.discard(path)
                self._add("read", 1)

    def _other(self, kind: str, arguments: str) -> None:
        paths = list(_paths(arguments))
        if not paths or not paths[-1].startswith("/") or self.inside(paths[-1]):
            self._add(kind, 1)

    def _add(self, kind: str, number: int) -> None:
        self.counts.setdefault(self._unit, Counter())[kind] += number


def _paths(arguments: str) -> Iterator[str]:
    """The files that a call names, in order: by descriptor, by path, or by a path below a descriptor."""
    base = ""
    for found in _OPERAND.finditer(arguments):
        if found[1] is not None:
            if base:
                yield base
            base = found[1]
        else:
            yield posixpath.join(base, found[2])
            base = ""
    if base:
        yield base
