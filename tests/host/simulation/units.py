"""The units that a systemd knows, and what it says of them."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .service import parse

ALIVE = ("active", "activating", "deactivating", "reloading")


@dataclass
class Unit:
    """What systemd holds of one unit. ``text`` is its file as it was read; a transient one has none.

    ``spell`` counts its starts and stops: what was planned in an earlier spell does not happen any more. ``job`` is
    "start" or "stop" as long as that has not ended.
    """

    name: str
    text: str = ""
    transient: bool = False
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    restarts: int = 0
    pid: int = 0
    entered: float = 0.0
    left: float = 0.0
    spell: int = 0
    description: str = ""
    argv: tuple[str, ...] = ()
    restart: bool = False
    job: str = ""
    starts: list[float] = field(default_factory=list)
    work: Callable[[], bool] | None = None

    @property
    def directives(self) -> dict[str, list[str]]:
        return parse(self.text)

    @property
    def after(self) -> frozenset[str]:
        """The units that it is ordered after."""
        return _named(self.text, ("After",))

    @property
    def is_oneshot(self) -> bool:
        return self.directives.get("Type") == ["oneshot"]

    @property
    def names(self) -> frozenset[str]:
        """The units that systemd holds as long as it holds this one."""
        return _named(self.text, ("After", "Requires", "Service", "Unit"))

    def becomes(self, active: str, sub: str, result: str = "") -> None:
        if active == "inactive" and self.active != "inactive":
            self.left = 1.0
        self.active, self.sub, self.spell = active, sub, self.spell + 1
        self.result = result or self.result


@functools.lru_cache(512)
def _named(text: str, directives: tuple[str, ...]) -> frozenset[str]:
    found = parse(text)
    return frozenset(name for one in directives for value in found.get(one, []) for name in value.split())


@dataclass
class Table:
    """All units, by name; unit files lie below ``directory``. What is ``enabled`` is wanted by a target, which systemd
    always holds: it remembers that such a unit was stopped."""

    directory: Path
    units: dict[str, Unit] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)

    def known(self, name: str) -> Unit | None:
        return self.units.get(name)

    def load(self, name: str) -> Unit | None:
        """The unit, its file read if systemd does not hold it yet; None when there is no such unit."""
        unit = self.units.get(name)
        if unit is None and (self.directory / name).exists():
            unit = self.units[name] = Unit(name, (self.directory / name).read_text())
            for other in unit.names:
                self.load(other)
        return unit

    def read_again(self) -> None:
        """daemon-reload: every file is read; what has none any more goes on as it is."""
        for unit in self.units.values():
            path = self.directory / unit.name
            if not unit.transient and path.exists():
                unit.text = path.read_text()
        self.collect()

    def collect(self) -> None:
        """Forget what is stopped, unless a unit that is held names it."""
        todo = [
            unit for unit in self.units.values() if unit.active != "inactive" or unit.job or unit.name in self.enabled
        ]
        if len(todo) == len(self.units):
            return
        held = {unit.name for unit in todo}
        while todo:
            for name in todo.pop().names:
                if name not in held and name in self.units:
                    held.add(name)
                    todo.append(self.units[name])
        for name in self.units.keys() - held:
            del self.units[name]

    def matching(self, pattern: str) -> list[Unit]:
        return [unit for name, unit in sorted(self.units.items()) if fnmatch.fnmatchcase(name, pattern)]

    def show(self, name: str, properties: list[str]) -> list[str]:
        unit = self.load(name)
        values = _values(unit, self.directory / name)
        lines = [f"{one}={values[one]}" for one in properties]
        self.collect()
        return lines


def _values(unit: Unit | None, path: Path) -> dict[str, str]:
    if unit is None:
        unit = Unit(path.name)
        load, outdated = "not-found", False
    else:
        load = "loaded" if unit.transient or path.exists() or unit.text else "not-found"
        outdated = not unit.transient and (not path.exists() or path.read_text() != unit.text)
    return {
        "ActiveState": unit.active,
        "SubState": unit.sub,
        "ControlGroup": f"/system.slice/{unit.name}" if unit.pid else "",
        "InvocationID": "",
        "Result": unit.result,
        "NRestarts": str(unit.restarts),
        "MainPID": str(unit.pid),
        "MemoryCurrent": "50000000" if unit.pid else "[not set]",
        "ActiveEnterTimestampMonotonic": str(int(unit.entered * 1e6)),
        "ActiveExitTimestampMonotonic": "0",
        "InactiveExitTimestampMonotonic": "0",
        "ExecMainStartTimestamp": "",
        "LastTriggerUSec": "",
        "NextElapseUSecRealtime": "",
        "InactiveEnterTimestampMonotonic": str(int(unit.left * 1e6)),
        "Job": "17" if unit.job else "0",
        "Type": unit.directives.get("Type", ["simple"])[-1],
        "LoadState": load,
        "NeedDaemonReload": "yes" if outdated else "no",
        "Description": unit.description,
        "ExecMainCode": "1" if unit.result == "exit-code" or unit.sub.startswith("auto-restart") else "0",
        "ExecMainStatus": "3" if unit.result == "exit-code" else "0",
        "FragmentPath": str(path) if path.exists() else "",
        "UnitFileState": "enabled",
    }
