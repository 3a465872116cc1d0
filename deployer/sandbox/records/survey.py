"""Which sandbox hosts there are, and in what condition."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from deployer.sandbox.backends.choice import choose
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.records.registry import check, engine_of, host_of
from deployer.sandbox.records.state import Record, State

Condition = Literal["on", "off", "booting", "died", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A host as it is found: `problem` says why its condition is unknown, `owner` is the process it goes with."""

    host: SandboxHost
    condition: Condition
    owner: int | None = None
    problem: str = ""


def has_image(distribution: str = "bookworm", backend: str | None = None) -> bool:
    """Whether `up` would boot at once. Raises SandboxError as `up` does where no host can be run."""
    check(None, distribution)
    engine = choose(backend, State.open(os.environ), os.environ)
    engine.require()
    return engine.has_image(distribution)


def listing() -> list[SandboxHost]:
    """Every host there is, sorted by name, whether it is on or off."""
    state = State.open(os.environ)
    return [host_of(state, engine_of(state, record), record) for record in state.records()]


def survey() -> list[Seen]:
    """Every host and its condition. An engine that does not answer is asked once, and hides none of the others."""
    state = State.open(os.environ)
    silent: dict[tuple[str, str], SandboxError] = {}
    return [_see(state, record, silent) for record in state.records()]


def _see(state: State, record: Record, silent: dict[tuple[str, str], SandboxError]) -> Seen:
    engine, at = engine_of(state, record), (record.backend, record.engine)
    found: Condition = "unknown"
    try:
        if at not in silent:
            found = _condition(record, init_alive=engine.is_alive(record))
    except SandboxError as error:
        silent[at] = error
    problem = silent[at].problem if at in silent else ""
    owner = record.owner.pid if record.owner else None
    return Seen(host=host_of(state, engine, record), condition=found, owner=owner, problem=problem)


def _condition(record: Record, *, init_alive: bool) -> Condition:
    if record.phase == "off":
        return "off"
    if record.phase == "booting":
        return "booting" if record.maker is not None and record.maker.is_alive() else "died"
    return "on" if init_alive else "died"


def get(name: str) -> SandboxHost:
    """Host `name`; raises SandboxError when there is none."""
    state = State.open(os.environ)
    record = state.get(name)
    return host_of(state, engine_of(state, record), record)
