"""What a disk has not written yet: names that no fsync of their directory, content that no fsync of its file, has
made last. A power cut may lose all of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


class Cache:
    """Told of each change before it is made, except ``wrote``. Only while ``on``: it costs copies."""

    def __init__(self) -> None:
        self.on = False
        self._names: list[tuple[str, Callable[[], object]]] = []
        self._sizes: dict[str, int] = {}
        self._aside = Path(tempfile.mkdtemp(prefix="deployer-cache-"))

    def close(self) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)

    def clear(self) -> None:
        self._names.clear()
        self._sizes.clear()

    def lose(self) -> None:
        """The power goes: the last change is undone first."""
        for path, size in self._sizes.items():
            if os.path.isfile(path) and os.path.getsize(path) > size:
                os.truncate(path, size)
        for _, undo in reversed(self._names):
            undo()
        self.clear()

    def make(self, path: str) -> None:
        """A file, a link or a directory comes into being."""
        if self.on:
            self._names.append((os.path.dirname(path), lambda: _remove(path)))

    def write(self, path: str) -> None:
        if self.on:
            self._sizes.setdefault(path, os.path.getsize(path))

    def sync(self, path: str) -> None:
        """fsync: of a file its content, of a directory the names in it."""
        self._sizes.pop(path, None)
        if os.path.isdir(path):
            self._names = [one for one in self._names if one[0] != path]

    def sync_all(self) -> None:
        self.clear()

    def move(self, old: str, new: str) -> None:
        """A name is taken from one thing and given to another, which may be none."""
        if not self.on:
            return
        before = self._keep(new)
        if old in self._sizes:
            self._sizes[new] = self._sizes.pop(old)

        def undo() -> None:
            if os.path.lexists(new):
                _remove(old)
                os.rename(new, old)
            before()

        self._names.append((os.path.dirname(new), undo))

    def remove(self, path: str) -> None:
        if self.on:
            self._names.append((os.path.dirname(path), self._keep(path)))

    def _keep(self, path: str) -> Callable[[], object]:
        """What brings back what is at ``path`` now."""
        if not os.path.lexists(path):
            return lambda: None
        copy = Path(tempfile.mkdtemp(dir=self._aside)) / "kept"
        _copy(path, copy)

        def bring_back() -> None:
            if os.path.isdir(os.path.dirname(path)):
                _remove(path)
                _copy(copy, path)

        return bring_back


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def _copy(source: str | Path, target: str | Path) -> None:
    if os.path.isdir(source) and not os.path.islink(source):
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
