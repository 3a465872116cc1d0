"""The units that a systemd knows, and what it says of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .service import parse

ALIVE = ("active", "activating", "deactivating", "reloading")


@dataclass
class Unit:
    """What systemd holds of one unit. ``text`` is its file as it was read; a transient one has none.

    ``spell`` counts its starts and stops: what was planned in an earlier spell does not happen any more.
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
    starts: list[float] = field(default_factory=list)
    work: Callable[[], bool] | None = None

    @property
    def directives(self) -> dict[str, list[str]]:
        return parse(self.text)

    def becomes(self, active: str, sub: str, result: str = "") -> None:
        if active == "inactive" and self.active != "inactive":
            self.left = 1.0
        self.active, self.sub, self.spell = active, sub, self.spell + 1
        self.result = result or self.result


@dataclass
class Table:
    """All units, by name; unit files lie below ``directory``."""

    directory: Path
    units: dict[str, Unit] = field(default_factory=dict)

    def known(self, name: str) -> Unit | None:
        return self.units.get(name)

    def load(self, name: str) -> Unit | None:
        """The unit, its file read if systemd does not hold it yet; None when there is no such unit."""
        unit = self.units.get(name)
        if unit is None and (self.directory / name).exists():
            unit = self.units[name] = Unit(name, (self.directory / name).read_text())
        return unit

    def read_again(self) -> None:
        """daemon-reload: every file is read; what has none any more goes on as it is."""
        for unit in self.units.values():
            path = self.directory / unit.name
            if not unit.transient and path.exists():
                unit.text = path.read_text()
        self.collect()

    def collect(self) -> None:
        """Forget what is stopped, unless another unit that is held names it."""
        for name in list(self.units):
            unit = self.units[name]
            partner = self.units.get(_partner(name))
            if unit.active == "inactive" and (partner is None or partner.active == "inactive"):
                del self.units[name]

    def matching(self, pattern: str) -> list[Unit]:
        return [unit for name, unit in sorted(self.units.items()) if fnmatch.fnmatchcase(name, pattern)]

    def show(self, name: str, properties: list[str]) -> list[str]:
        unit = self.load(name)
        values = _values(unit, self.directory / name)
        lines = [f"{one}={values[one]}" for one in properties]
        self.collect()
        return lines


def _partner(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    return f"{stem}.{'socket' if kind == 'service' else 'service'}"


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
        "Job": "0",
        "LoadState": load,
        "NeedDaemonReload": "yes" if outdated else "no",
        "Description": unit.description,
        "ExecMainCode": "1" if unit.result == "exit-code" else "0",
        "ExecMainStatus": "3" if unit.result == "exit-code" else "0",
        "FragmentPath": str(path) if path.exists() else "",
        "UnitFileState": "enabled",
    }
