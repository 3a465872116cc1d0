"""Makes sandbox hosts, lists them, takes them down, and sweeps up those that nobody owns any more."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
from collections.abc import Callable

from deployer.sandbox import keys, mounts, ssh
from deployer.sandbox.addresses import Claims, lowest_name
from deployer.sandbox.backend import Backend
from deployer.sandbox.backends import choose
from deployer.sandbox.content import DISTRIBUTIONS, Identity, host_files
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.package_index import discover, index_files
from deployer.sandbox.prepared import Preparation, layers
from deployer.sandbox.processes import Process
from deployer.sandbox.state import Record, State, is_abandoned

_DOCKER = "DOCKER_HOST"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


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
    owner = Process.current() if owned else None
    with Claims() as claims:
        record, identity = _register(state, engine, name, distribution, owner, claims)
        host = _host(state, engine, record)
        try:
            say(f"booting {record.name} at {record.address}")
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


def down(name: str) -> None:
    """Remove host `name` and all it holds. Raises SandboxError when there is none."""
    state = State.open(os.environ)
    record = state.get(name)
    _remove(state, _engine_of(state, record), record)


def listing() -> list[SandboxHost]:
    """Every host there is, sorted by name, whether it is on or off."""
    state = State.open(os.environ)
    return [_host(state, _engine_of(state, record), record) for record in state.records()]


def get(name: str) -> SandboxHost:
    """Host `name`; raises SandboxError when there is none."""
    state = State.open(os.environ)
    record = state.get(name)
    return _host(state, _engine_of(state, record), record)


def sweep() -> list[str]:
    """Remove the hosts that nobody will miss, with their processes and mounts; their names.

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
    state: State, engine: Backend, name: str | None, distribution: str, owner: Process | None, claims: Claims
) -> tuple[Record, Identity]:
    """Reserve a name and an address, and let ssh know the host before it exists."""
    pair = keys.generate("deployer-sandbox-host")
    with state.lock():
        records = state.records()
        names = [record.name for record in records]
        if name in names:
            raise SandboxError(
                f"There is a sandbox host called {name!r} already.",
                state="It was left alone.",
                hint=f"fab sandbox.down {name}, or choose another name",
            )
        place = engine.endpoint([record.address for record in records], claims.in_use)
        record = Record(
            name=name or lowest_name(names),
            distribution=distribution,
            backend=engine.name,
            address=place.address,
            ssh_port=place.ssh_port,
            http_port=place.http_port,
            host_key=pair.public.decode().strip(),
            phase="booting",
            maker=Process.current(),
            owner=owner,
            engine=os.environ.get(_DOCKER, "") if engine.name == "docker" else "",
        )
        state.save(record)
        authorized = keys.ensure_identity(state)
        keys.write_client_files(state)
    identity = Identity(
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


def _down_at_exit(state: State, name: str, owner_pid: int) -> None:
    record = state.find(name)
    if os.getpid() == owner_pid and record is not None and record.owner == Process.current():
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
