"""Copies the compiled form of unchanged modules to a new tree, so that a build compiles only what changed.

Root copies from a tree that a build has written to one that was just shipped. Neither is trusted: no directory that is
a link is followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.host.system import ownership
from deployer.wire.lazyre import pattern
from deployer.wire.tree import LINK, Entry

_COMPILED = pattern(r"([^./]+)\.cpython-[0-9a-z.-]+\.pyc\Z")
_LARGEST = 8 * 1024 * 1024
"""Bytes; a larger file is compiled again."""


def carry(base: Path, tree: Path, before: Sequence[Entry], after: Sequence[Entry]) -> None:
    """Copy the compiled form of every module that is in both trees. It names its source by time and size, so that the
    sources' times are copied, too."""
    for directory, names in _unchanged(before, after).items():
        with contextlib.suppress(OSError), _opened(base, directory) as source, _opened(tree, directory) as target:
            _copy_times(source, target, names)
            with contextlib.suppress(FileExistsError):
                os.mkdir("__pycache__", 0o755, dir_fd=target)
            with _inner(source) as compiled, _inner(target) as cache:
                _copy_compiled(compiled, cache, names)


def _unchanged(before: Sequence[Entry], after: Sequence[Entry]) -> dict[str, set[str]]:
    """The names of the unchanged modules, by directory."""
    found: dict[str, set[str]] = {}
    for entry in set(before) & set(after):
        if entry.kind != LINK and entry.path.endswith(".py"):
            directory, _, name = entry.path.rpartition("/")
            found.setdefault(directory, set()).add(name)
    return found


@contextlib.contextmanager
def _opened(root: Path, directory: str) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY
    descriptor = (
        ownership.open_below(root, directory, flags) if directory else os.open(str(root), flags | os.O_NOFOLLOW)
    )
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _inner(directory: int) -> Iterator[int]:
    descriptor = os.open("__pycache__", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_times(source: int, target: int, names: set[str]) -> None:
    for name in names:
        status = os.lstat(name, dir_fd=source)
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_compiled(source: int, target: int, names: set[str]) -> None:
    for name in os.listdir(source):
        found = _COMPILED.fullmatch(name)
        if found and f"{found.group(1)}.py" in names:
            _copy(name, source, target)


def _copy(name: str, source: int, target: int) -> None:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, os.O_RDONLY | flags, dir_fd=source), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return
        content = file.read(_LARGEST)
    with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o644, dir_fd=target), "wb") as copy:
        copy.write(content)
