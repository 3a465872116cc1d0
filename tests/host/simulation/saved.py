"""A host as it was, to be brought back again and again."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .host import SimulatedHost
from .units import Unit


@dataclass
class Saved:
    """A host as it was: only one on which nothing is under way but its services."""

    place: Path
    host: SimulatedHost
    units: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        host = self.host
        assert host.clock.idle, "something is still due"
        shutil.rmtree(self.place, ignore_errors=True)
        _copy(host.root, self.place)
        self.units = {name: dict(vars(unit)) for name, unit in host.table.units.items()}
        self._web = (dict(host.web.running), dict(host.web.since), dict(host.web.queues))
        self._background = dict(host.background.running)

    def bring_back(self) -> None:
        host = self.host
        shutil.rmtree(host.root)
        _copy(self.place, host.root)
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


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
    for path in source.rglob("*"):
        status = path.lstat()
        if status.st_uid:
            os.chown(target / path.relative_to(source), status.st_uid, status.st_gid, follow_symlinks=False)
