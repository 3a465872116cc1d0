"""Creates and removes sandbox hosts, and removes abandoned ones."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass

from deployer.sandbox import keys, ssh
from deployer.sandbox.backends import mounts
from deployer.sandbox.backends.addresses import Reservations
from deployer.sandbox.backends.choice import choose
from deployer.sandbox.contents.content import host_files
from deployer.sandbox.contents.package_index import discover, index_files
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.machine import space
from deployer.sandbox.machine.processes import OsProcess
from deployer.sandbox.prepared import Preparation, layers
from deployer.sandbox.records.registry import check, down, engine_of, host_of, register, remove
from deployer.sandbox.records.state import State, is_abandoned


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What became of all hosts: removed, left to the living process that owns or boots them, or not removable."""

    removed: tuple[str, ...]
    kept: dict[str, int]
    failed: dict[str, SandboxError]


def up(
    name: str | None = None,
    *,
    distribution: str = "bookworm",
    backend: str | None = None,
    progress: Callable[[str], None] | None = None,
    owned: bool = True,
    preparation: Preparation | None = None,
) -> SandboxHost:
    """Boot a fresh host and return once sshd answers and systemd has started everything.

    An `owned` host goes when this process ends, or, if that is killed, at the next sweep; one that is not
    stays until `down`. The first host of a distribution waits about a minute for its image. With a `preparation`
    the host is as that leaves one; where the backend can copy disks, it is made once for all such hosts. Raises
    SandboxError, with nothing left behind, on bad arguments and on a boot that fails.
    """
    say = progress or (lambda _: None)
    check(name, distribution)
    state = State.open(os.environ)
    engine = choose(backend, state, os.environ)
    engine.require()
    sweep()
    image = engine.ensure_image(distribution, say)
    if preparation is not None and engine.name == "nspawn":
        image = layers(state, image, preparation, lambda: up(distribution=distribution, backend="nspawn"), say)
        preparation = None
    owner = OsProcess.current() if owned else None
    with Reservations() as reserved:
        record, identity = register(state, engine, name, distribution, owner, reserved)
        host = host_of(state, engine, record)
        try:
            say(f"booting {record.name} at {record.address}")
            with space.watched(state.directory):
                engine.create(record, image, (*host_files(identity), *index_files(discover(os.environ))))
                host.boot()
            if preparation is not None:
                preparation.act(host)
        except BaseException:
            remove(state, engine, record)
            raise
    if owned:
        atexit.register(_down_at_exit, state, record.name, os.getpid())
    return host


def keep(name: str) -> None:
    """Have host `name` stay when its owner ends, until `down`. Raises SandboxError when there is none."""
    state = State.open(os.environ)
    with state.lock():
        state.save(dataclasses.replace(state.get(name), owner=None))


def down_all() -> Cleared:
    """Remove every host that no living process owns or boots; one that cannot be removed does not keep the others."""
    sweep()
    removed: list[str] = []
    kept: dict[str, int] = {}
    failed: dict[str, SandboxError] = {}
    for record in State.open(os.environ).records():
        holder = record.owner or (record.maker if record.phase == "booting" else None)
        if holder is not None and holder.is_alive():
            kept[record.name] = holder.pid
            continue
        try:
            down(record.name)
            removed.append(record.name)
        except SandboxError as error:
            failed[record.name] = error
    return Cleared(removed=tuple(removed), kept=kept, failed=failed)


def sweep() -> list[str]:
    """Remove abandoned hosts, with their processes and mounts; their names.

    Those are hosts whose owner is gone, that died by themselves, or that were never finished.
    """
    state = State.open(os.environ)
    swept = []
    with state.lock():
        for directory in sorted(state.hosts.iterdir()):
            record = state.find(directory.name)
            if record is None:  # its maker, or its remover, was killed half-way
                mounts.remove_tree(directory)
                swept.append(directory.name)
                continue
            with contextlib.suppress(SandboxError):  # such as a Docker engine that is not running now
                engine = engine_of(state, record)
                if is_abandoned(record, init_alive=engine.is_alive(record)):
                    engine.remove(record)
                    swept.append(record.name)
        if swept:
            keys.write_client_files(state)
    for name in swept:
        ssh.end_sharing(state, name)
    return swept


def _down_at_exit(state: State, name: str, owner_pid: int) -> None:
    record = state.find(name)
    if os.getpid() == owner_pid and record is not None and record.owner == OsProcess.current():
        with contextlib.suppress(SandboxError):  # the next sweep tries again
            remove(state, engine_of(state, record), record)
