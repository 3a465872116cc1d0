"""Names, addresses and records of sandbox hosts: entered before a host exists, taken out when it is removed."""

from __future__ import annotations

import os
import re

from deployer.sandbox import keys, ssh
from deployer.sandbox.backends import mounts
from deployer.sandbox.backends.addresses import Reservations, lowest_name
from deployer.sandbox.backends.backend import Backend
from deployer.sandbox.backends.choice import choose
from deployer.sandbox.contents.content import DISTRIBUTIONS, HostIdentity
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.machine import space
from deployer.sandbox.machine.processes import OsProcess
from deployer.sandbox.records.state import Record, State

_DOCKER = "DOCKER_HOST"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def refuse_name(name: str | None) -> None:
    """Raises SandboxError when no host can be called that, or one is already."""
    check(name, DISTRIBUTIONS[0])
    if name is not None and name in [record.name for record in State.open(os.environ).records()]:
        raise _taken(name)


def _taken(name: str) -> SandboxError:
    return SandboxError(
        f"There is a sandbox host called {name!r} already.",
        state="It was left alone.",
        hint=f"deployer sandbox down {name}, or choose another name",
    )


def check(name: str | None, distribution: str) -> None:
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


def register(
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


def engine_of(state: State, record: Record) -> Backend:
    """What runs the host: with Docker the very engine that made it, whichever $DOCKER_HOST names now."""
    environment = {name: value for name, value in os.environ.items() if name != _DOCKER}
    return choose(record.backend, state, {**environment, _DOCKER: record.engine} if record.engine else environment)


def host_of(state: State, engine: Backend, record: Record) -> SandboxHost:
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


def down(name: str, *, force: bool = False) -> None:
    """Remove host `name` and all it holds. Raises SandboxError when there is none, or when it cannot be removed.

    With `force` it is forgotten even then, whatever its Docker engine still has of it.
    """
    state = State.open(os.environ)
    record = state.get(name)
    try:
        remove(state, engine_of(state, record), record)
    except SandboxError as error:
        if not force:
            raise _not_removed(record, error) from None
        with state.lock():
            mounts.remove_tree(state.host(name))
            keys.write_client_files(state)


def remove(state: State, engine: Backend, record: Record) -> None:
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
