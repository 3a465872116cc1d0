"""Creates, lists and removes sandbox hosts, and removes abandoned ones."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deployer.sandbox import keys, ssh
from deployer.sandbox.backends import mounts
from deployer.sandbox.backends.addresses import Reservations, lowest_name
from deployer.sandbox.backends.backend import Backend
from deployer.sandbox.backends.choice import choose
from deployer.sandbox.contents.content import DISTRIBUTIONS, HostIdentity, host_files
from deployer.sandbox.contents.package_index import discover, index_files
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.machine import space
from deployer.sandbox.machine.processes import OsProcess
from deployer.sandbox.prepared import Preparation, layers
from deployer.sandbox.state import Record, State, is_abandoned

_DOCKER = "DOCKER_HOST"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")

Condition = Literal["on", "off", "booting", "died", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A host as it is found: `problem` says why its condition is unknown, `owner` is the process it goes with."""

    host: SandboxHost
    condition: Condition
    owner: int | None = None
    problem: str = ""


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
    _check(name, distribution)
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
        record, identity = _register(state, engine, name, distribution, owner, reserved)
        host = _host(state, engine, record)
        try:
            say(f"booting {record.name} at {record.address}")
            with space.watched(state.directory):
                engine.create(record, image, (*host_files(identity), *index_files(discover(os.environ))))
                host.boot()
            if preparation is not None:
                preparation.act(host)
        except BaseException:
            _remove(state, engine, record)
            raise
    if owned:
        atexit.register(_down_at_exit, state, record.name, os.getpid())
    return host


def has_image(distribution: str = "bookworm", backend: str | None = None) -> bool:
    """Whether `up` would boot at once. Raises SandboxError as `up` does where no host can be run."""
    _check(None, distribution)
    engine = choose(backend, State.open(os.environ), os.environ)
    engine.require()
    return engine.has_image(distribution)


def down(name: str, *, force: bool = False) -> None:
    """Remove host `name` and all it holds. Raises SandboxError when there is none, or when it cannot be removed.

    With `force` it is forgotten even then, whatever its Docker engine still has of it.
    """
    state = State.open(os.environ)
    record = state.get(name)
    try:
        _remove(state, _engine_of(state, record), record)
    except SandboxError as error:
        if not force:
            raise _not_removed(record, error) from None
        with state.lock():
            mounts.remove_tree(state.host(name))
            keys.write_client_files(state)


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


def listing() -> list[SandboxHost]:
    """Every host there is, sorted by name, whether it is on or off."""
    state = State.open(os.environ)
    return [_host(state, _engine_of(state, record), record) for record in state.records()]


def survey() -> list[Seen]:
    """Every host and its condition. An engine that does not answer is asked once, and hides none of the others."""
    state = State.open(os.environ)
    silent: dict[tuple[str, str], SandboxError] = {}
    return [_see(state, record, silent) for record in state.records()]


def _see(state: State, record: Record, silent: dict[tuple[str, str], SandboxError]) -> Seen:
    engine, at = _engine_of(state, record), (record.backend, record.engine)
    found: Condition = "unknown"
    try:
        if at not in silent:
            found = _condition(record, init_alive=engine.is_alive(record))
    except SandboxError as error:
        silent[at] = error
    problem = silent[at].problem if at in silent else ""
    owner = record.owner.pid if record.owner else None
    return Seen(host=_host(state, engine, record), condition=found, owner=owner, problem=problem)


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
    return _host(state, _engine_of(state, record), record)


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
                engine = _engine_of(state, record)
                if is_abandoned(record, init_alive=engine.is_alive(record)):
                    engine.remove(record)
                    swept.append(record.name)
        if swept:
            keys.write_client_files(state)
    for name in swept:
        ssh.end_sharing(state, name)
    return swept


def refuse_name(name: str | None) -> None:
    """Raises SandboxError when no host can be called that, or one is already."""
    _check(name, DISTRIBUTIONS[0])
    if name is not None and name in [record.name for record in State.open(os.environ).records()]:
        raise _taken(name)


def _taken(name: str) -> SandboxError:
    return SandboxError(
        f"There is a sandbox host called {name!r} already.",
        state="It was left alone.",
        hint=f"deployer sandbox down {name}, or choose another name",
    )


def _check(name: str | None, distribution: str) -> None:
    if name is not None and not _NAME.fullmatch(name):
        raise SandboxError(
            f"{name!r} cannot be a host's name.",
            state="Nothing was created.",
            hint="use up to 31 small letters, digits and hyphens, a letter first",
        )
    if distribution not in DISTRIBUTIONS:
        raise SandboxError(
            f"There is no image for {distribution!r}.",
            state="Nothing was created.",
            hint=f"choose one of {', '.join(DISTRIBUTIONS)}",
        )


def _register(
    state: State, engine: Backend, name: str | None, distribution: str, owner: OsProcess | None, reserved: Reservations
) -> tuple[Record, HostIdentity]:
    """Reserve a name and an address, and let ssh know the host before it exists."""
    pair = keys.generate("deployer-sandbox-host")
    with state.lock():
        records = state.records()
        names = [record.name for record in records]
        if name in names:
            raise _taken(str(name))
        place = engine.endpoint([record.address for record in records], reserved.in_use)
        record = Record(
            name=name or lowest_name(names),
            distribution=distribution,
            backend=engine.name,
            address=place.address,
            ssh_port=place.ssh_port,
            http_port=place.http_port,
            host_key=pair.public.decode().strip(),
            phase="booting",
            maker=OsProcess.current(),
            owner=owner,
            engine=os.environ.get(_DOCKER, "") if engine.name == "docker" else "",
        )
        try:
            with space.watched(state.directory):
                state.save(record)
                authorized = keys.ensure_identity(state)
                keys.write_client_files(state)
        except BaseException:
            mounts.remove_tree(state.host(record.name))
            raise
    identity = HostIdentity(
        name=record.name,
        listen=place.listen,
        host_key=pair.private,
        host_key_public=pair.public,
        authorized_key=authorized,
    )
    return record, identity


def _engine_of(state: State, record: Record) -> Backend:
    """What runs the host: with Docker the very engine that made it, whichever $DOCKER_HOST names now."""
    environment = {name: value for name, value in os.environ.items() if name != _DOCKER}
    return choose(record.backend, state, {**environment, _DOCKER: record.engine} if record.engine else environment)


def _remove(state: State, engine: Backend, record: Record) -> None:
    ssh.end_sharing(state, record.name)
    with state.lock():
        engine.remove(record)
        keys.write_client_files(state)


def _not_removed(record: Record, error: SandboxError) -> SandboxError:
    forget = f"\ndeployer sandbox down {record.name} --force   (forgets it, whatever the engine still has of it)"
    return SandboxError(
        f"{record.name} could not be removed: {error.problem}",
        state=f"{record.name} is still there.",
        hint=f"{error.hint or 'run it again'}{forget if record.backend == 'docker' else ''}",
        console=error.console,
    )


def _down_at_exit(state: State, name: str, owner_pid: int) -> None:
    record = state.find(name)
    if os.getpid() == owner_pid and record is not None and record.owner == OsProcess.current():
        with contextlib.suppress(SandboxError):  # the next sweep tries again
            _remove(state, _engine_of(state, record), record)


def _host(state: State, engine: Backend, record: Record) -> SandboxHost:
    return SandboxHost(
        name=record.name,
        address=record.address,
        ssh_port=record.ssh_port,
        http_port=record.http_port,
        distribution=record.distribution,
        backend=record.backend,
        state=state,
        engine=engine,
        remove=down,
    )
