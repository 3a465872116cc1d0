"""The hosts that an Ansible inventory knows, by way of ``ansible-inventory``, which reads all its forms."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

from msgspec import structs

from deployer.config import Config, HostSettings, Inventory, refusal
from deployer.config.check import Invalid
from deployer.config.problems import suggestion
from deployer.errors import ConfigError
from deployer.ssh.target import Target
from deployer.wire.advice import NOTHING, Next, do
from deployer.wire.advice import run as typed
from deployer.wire.lazydata import dataclass

__all__ = ["resolve"]

PROGRAM = "ansible-inventory"
TIMEOUT = 60.0
LAST = 30
"""Lines of what the program said that are shown when it fails: it tries several readers, and each complains."""
SSH = ("ssh", "smart", "paramiko", "paramiko_ssh")
SETTINGS = {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
"""By default the program treats an inventory that it cannot read as empty, and succeeds."""
WITHOUT = do("make it work") + do(
    'or, to do without it for once, name the hosts in deploy.toml: hosts = ["deploy@HOST"]'
)
"""What to do when a rollback is urgent and the cloud that a script asks does not answer."""

Listing = Mapping[str, Any]


@dataclass(eq=False, kw_only=True)
class Unusable(Exception):
    """Why there are no hosts: ``key`` is the key under ``hosts`` that is to blame."""

    message: str
    key: str = "ansible"
    next: Next = NOTHING
    logs: Sequence[str] = ()


def resolve(config: Config, path: Path, environment: str | None = None, *, timeout: float = TIMEOUT) -> Config:
    """The configuration with the hosts of its inventory; itself when it has none.

    ``path`` and ``environment`` are what it was loaded from. Each host has its name in the inventory, and an address;
    the settings that deploy.toml has for that name stay. Takes at most ``timeout`` seconds. Raises ConfigError.
    """
    inventory = config.inventory
    if inventory is None:
        return config
    try:
        listing = ask(path.parent, path.parent / Path(inventory.ansible).expanduser(), timeout)
        table = hosts_of(listing, inventory, config.host_settings, config.deploy_user)
        resolved = structs.replace(config, hosts_written=table)
        roles = resolved.roles
        for why in chain(roles.mistakes(), () if environment else roles.idle()):
            raise why
        return resolved
    except Unusable as why:
        error = refusal(path, environment, ("hosts", why.key), why.message)
        raise replace(error, next=why.next, logs=why.logs) from None
    except Invalid as why:
        raise refusal(path, environment, why.path, why.message) from None


def hosts_of(
    listing: Listing, inventory: Inventory, settings: Mapping[str, HostSettings], user: str
) -> dict[str, HostSettings]:
    """The hosts of the group, in the inventory's order, each with its settings and its address. Pure.

    Raises Unusable for a group that is unknown or empty, for a host that cannot be logged in to by what the inventory
    says, and for settings of a host that the group does not have.
    """
    names = members(listing, inventory.group)
    for name in settings:
        if name not in names:
            meant = suggestion(name, names, "hosts there")
            raise Unusable(message=f"is no host of group {inventory.group!r} of {inventory.ansible}; {meant}", key=name)
    variables = listing.get("_meta", {}).get("hostvars", {})
    table = {}
    for name in names:
        own = settings.get(name, HostSettings())
        address = own.address or address_of(name, variables.get(name, {}), user)
        table[name] = structs.replace(own, address=address)
    return table


def members(listing: Listing, group: str) -> tuple[str, ...]:
    """All hosts of a group: its own, then those of the groups in it; each once."""
    known = dict.fromkeys(("all", *listing, *(child for one in listing.values() for child in one.get("children", ()))))
    known.pop("_meta", None)
    if group not in known:
        raise Unusable(message=f"there is no group {group!r}; {suggestion(group, known, 'groups')}", key="group")
    hosts = tuple(dict.fromkeys(host for one in within(listing, group) for host in listing[one].get("hosts", ())))
    if not hosts:
        raise Unusable(message=f"the group {group!r} has no hosts", key="group")
    return hosts


def within(listing: Listing, group: str) -> Iterator[str]:
    """The group and all below it, as far as they are listed: the program leaves out empty ones."""
    waiting, seen = [group], set()
    while waiting:
        name = waiting.pop(0)
        if name in listing and name not in seen:
            seen.add(name)
            yield name
            waiting[:0] = listing[name].get("children", ())


def address_of(name: str, variables: Mapping[str, Any], user: str) -> str:
    """Where to log in to a host.

    The user is the one who deploys, never ``ansible_user``: that is who administers the host, and a deploy is to need
    no more than its own narrow rights.
    """
    connection = str(variables.get("ansible_connection", "ssh")).rpartition(".")[2]
    if connection not in SSH:
        raise Unusable(
            message=f"{name} is not reached by SSH there (ansible_connection is {connection!r})",
            next=do('name a group without it: hosts = { ansible = "…", group = "…" }'),
        )
    host = first(name, variables, "ansible_host", "ansible_ssh_host") or name
    port = first(name, variables, "ansible_port", "ansible_ssh_port")
    try:
        written = f"{user}@[{host}]" if ":" in host else f"{user}@{host}"
        return Target.parse(f"{written}:{port}" if port else written).address
    except ConfigError as error:
        raise Unusable(message=f"{name}: {error.message}") from None


def first(name: str, variables: Mapping[str, Any], *keys: str) -> str:
    """The value of the first of these variables that the host has; empty for none."""
    for key in keys:
        value = str(variables.get(key) or "")
        if "{{" in value or "{%" in value:
            raise Unusable(
                message=f"the {key} of {name} is a template, which {PROGRAM} leaves as it is: {value}",
                next=do(f'say where it is in deploy.toml: [hosts."{name}"] with an address'),
            )
        if value:
            return value
    return ""


def ask(root: Path, inventory: Path, timeout: float) -> Listing:
    """What the program lists. It runs in the directory of deploy.toml, where an ``ansible.cfg`` of the project is."""
    if not inventory.exists():
        raise Unusable(message=f"{inventory} does not exist")
    beside = Path(sys.executable).parent
    program = shutil.which(PROGRAM, path=os.pathsep.join((os.environ.get("PATH", os.defpath), str(beside))))
    if program is None:
        raise Unusable(
            message=f"{PROGRAM}, which reads the inventory, is not installed here",
            next=typed("pipx install ansible-core", "for example"),
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            code = run([program, "-i", str(inventory.absolute()), "--list"], root, out, err, timeout)
        except OSError as error:
            raise Unusable(message=f"{PROGRAM} cannot be started: {program}: {error.strerror}") from None
        told, said = (read(file) for file in (out, err))
    lines = [line for line in (told + said if code else said).splitlines() if line.strip()][-LAST:]
    if code is None:
        raise Unusable(message=f"{PROGRAM} gave no answer within {timeout:g} s", logs=lines, next=WITHOUT)
    if code:
        raise Unusable(message=f"{PROGRAM} failed with exit code {code}", logs=lines, next=WITHOUT)
    try:
        listing = json.loads(told)
    except ValueError:
        listing = None
    if not isinstance(listing, dict) or not all(isinstance(value, dict) for value in listing.values()):
        raise Unusable(
            message=f"{PROGRAM} printed something else than a list of groups", logs=told.splitlines()[-LAST:]
        )
    return listing


def run(argv: list[str], root: Path, out: IO[bytes], err: IO[bytes], timeout: float) -> int | None:
    """The program's exit code; None when it took too long: it is ended then, with all that it has started."""
    process = subprocess.Popen(
        argv,
        cwd=root,
        env={**os.environ, **SETTINGS},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
