"""A host as it was, to be brought back again and again."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.host.state import catalog

from .host import SimulatedHost
from .units import Unit


@dataclass(frozen=True)
class Entry:
    """A file, a link or a directory; ``path`` is relative, ``content`` what is in a file or where a link leads."""

    path: str
    mode: int
    owner: tuple[int, int]
    modified: int
    content: bytes

    def make(self, root: str) -> None:
        path = root + self.path
        if stat.S_ISLNK(self.mode):
            os.symlink(self.content, path)
        elif stat.S_ISDIR(self.mode):
            os.mkdir(path)
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            if self.content:
                os.write(descriptor, self.content)
            os.close(descriptor)
        if any(self.owner):
            os.chown(path, *self.owner, follow_symlinks=False)
        if not stat.S_ISLNK(self.mode):
            os.chmod(path, stat.S_IMODE(self.mode))

    def date(self, root: str) -> None:
        """Once all is there: what is put into a directory changes its time."""
        if not stat.S_ISLNK(self.mode):
            os.utime(root + self.path, ns=(self.modified, self.modified))


def entries(root: str, below: str = "") -> Iterator[Entry]:
    """All that is below a directory, and a directory before what is in it."""
    for one in sorted(os.scandir(root + below), key=lambda one: one.name):
        path, status = f"{below}/{one.name}", one.stat(follow_symlinks=False)
        content = b""
        if stat.S_ISLNK(status.st_mode):
            content = os.fsencode(os.readlink(one.path))
        elif stat.S_ISREG(status.st_mode):
            with open(one.path, "rb") as file:
                content = file.read()
        yield Entry(path, status.st_mode, (status.st_uid, status.st_gid), status.st_mtime_ns, content)
        if stat.S_ISDIR(status.st_mode):
            yield from entries(root, path)


def _empty(directory: str) -> None:
    for one in list(os.scandir(directory)):
        if one.is_dir(follow_symlinks=False):
            _empty(one.path)
            os.rmdir(one.path)
        else:
            os.unlink(one.path)


@dataclass
class Saved:
    """A host as it was: only one on which nothing is under way but its services."""

    host: SimulatedHost
    units: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        host = self.host
        assert host.clock.idle, "something is still due"
        self._disk = list(entries(str(host.root)))
        self.units = {name: dict(vars(unit)) for name, unit in host.table.units.items()}
        self._web = (dict(host.web.running), dict(host.web.since), dict(host.web.queues))
        self._background = dict(host.background.running)
        self._times = (host.boots, host.clock.now, host.clock.ahead)

    def bring_back(self) -> None:
        host = self.host
        root = str(host.root)
        _empty(root)
        for entry in self._disk:
            entry.make(root)
        for entry in reversed(self._disk):
            entry.date(root)
        host.is_on, host.is_off = True, False
        catalog._parsed.cache_clear()  # each time the same is read and parsed
        host.boots, host.clock.now, host.clock.ahead = self._times
        host.looked_at, host.seen = (0, 0), (None, {})
        host.table.units.clear()
        for name, values in self.units.items():
            unit = host.table.units[name] = Unit(name)
            vars(unit).update(values, starts=list(values["starts"]))
        host.web.running, host.web.since, host.web.queues = (dict(one) for one in self._web)
        host.background.running = dict(self._background)
        host.background.runs.clear()
        host.background.struck = 0.0
        host.web.called.clear()
        host.clock.forget()
        host.web.failed.clear()
        for seen in (host.broken, host.said, host.programs.bugs, host.programs.trace):
            seen.clear()
        host.last_current = host.web.current()

    @contextlib.contextmanager
    def again(self) -> Iterator[SimulatedHost]:
        """The host as it was, in place for the block: cheaper than to make another one like it."""
        with self.host.in_place():
            self.bring_back()
            yield self.host


def two_releases(root: Path) -> Saved:
    """A host in ``root``, which is not there yet, on which v2 serves, and v1 did before it."""
    host = SimulatedHost(root)
    host.set_up()
    with host.in_place():
        assert host.deploy(text="one").exit == 0
        assert host.deploy(text="two").exit == 0
        host.recover()
        return Saved(host)
