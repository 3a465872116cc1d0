"""``hosts``: which hosts there are, where the names come from, and what is different on one of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from msgspec import Meta, Struct

from deployer.config import check
from deployer.config.check import Invalid
from deployer.config.declare import key, text
from deployer.errors import ConfigError
from deployer.ssh.target import Target
from deployer.wire.advice import do
from deployer.wire.protocol import WEB
from deployer.wire.release.processes import WORKERS

HOST = r"(?:(?!-)[A-Za-z0-9._-]+@)?(?!-)[A-Za-z0-9._:%\[\]-]+"
HOST_LENGTH = 320


# fmt: off
class HostSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different on one host. Its NAME is `[user@]host[:port]`, or one that you choose, with an `address`."""

    address: Annotated[Annotated[str, text(HOST, HOST_LENGTH)] | None, key(
        "Where to log in, when NAME does not say it.",
        'a host such as "deploy@10.0.0.3:2222"')] = None
    processes: Annotated[Annotated[tuple[str, ...], Meta(min_length=1)] | None, key(
        "What runs on this host: names of processes and timers, and `web`. Left out: everything.",
        'a list of names such as ["web", "worker"]')] = None
    workers: Annotated[Annotated[int, Meta(ge=WORKERS[0], le=WORKERS[1])] | None, key(
        "`web.workers` on this host.", f"a whole number from {WORKERS[0]} to {WORKERS[1]}")] = None
    memory: Annotated[Annotated[str, Meta(pattern=check.SIZE.pattern)] | None, key(
        "`web.memory` on this host.", 'an amount such as "300M" or "2G"')] = None
    env: Annotated[dict[str, str], key(
        "Environment variables that this host has besides those of `[env]`, or instead of them. A variable of the "
        "`env_file` wins over both.",
        'a table of strings, such as ROLE = "batch"')] = {}
    migrate: Annotated[bool, key(
        "Whether the fleet's migration runs here. At most one host may say so.", "true or false")] = False

    def __post_init__(self) -> None:
        check.env_table("env", self.env)
        check.memory("memory", self.memory)
        if self.address is not None:
            check.host("address", self.address)
        for name in ("workers", "memory"):
            if self.processes is not None and WEB not in self.processes and getattr(self, name) is not None:
                raise Invalid(name, f"is web.{name}, and {WEB} does not run on this host")
        for index, name in enumerate(self.processes or ()):
            if name in (self.processes or ())[:index]:
                raise Invalid("processes", f"{name} is named twice", f"[{index}]")


class Inventory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an inventory knows the hosts, as in `hosts = { ansible = "inventory.yml", group = "web" }`. Tables beside
    these two keys hold what is different on hosts of that name in the inventory."""

    ansible: Annotated[str, key(
        "An Ansible inventory, relative to deploy.toml: INI, YAML, a directory, or a script that prints one. It is "
        "read by `ansible-inventory`.",
        'the path of an inventory such as "inventory.yml"')]
    group: Annotated[str, key(
        "The group of the inventory whose hosts are meant.", 'the name of a group such as "web"')] = "all"

    def __post_init__(self) -> None:
        for name, value in (("ansible", self.ansible), ("group", self.group)):
            if not value.strip() or check.control(value):
                raise Invalid(name, "must be one line, and not empty")
# fmt: on


Table = dict[str, HostSettings | str]
"""``hosts`` as a table: settings by host, and the keys of :class:`Inventory` among them."""


def settings_of(written: tuple[str, ...] | Table) -> dict[str, HostSettings]:
    """Each host that the file names, with its settings: a list is short for hosts without any."""
    if isinstance(written, tuple):
        return dict.fromkeys(written, HostSettings())
    return {name: value for name, value in written.items() if isinstance(value, HostSettings)}


def inventory_of(written: tuple[str, ...] | Table) -> Inventory | None:
    """Where the hosts are to be asked for; None when the file names them. Raises Invalid."""
    values = {} if isinstance(written, tuple) else written
    given = {name: value for name, value in values.items() if isinstance(value, str)}
    for name in given:
        if name not in Inventory.__struct_fields__:
            raise Invalid("hosts", not_a_table(name), name)
    if given and "ansible" not in given:
        raise Invalid("hosts", "has no meaning without ansible, which names the inventory", "group")
    try:
        return Inventory(**given) if given else None
    except Invalid as invalid:
        raise Invalid("hosts", invalid.message, *invalid.path) from None


def not_a_table(name: str) -> str:
    """Why a name in the table of hosts may not have a string as its value."""
    close = difflib.get_close_matches(name, Inventory.__struct_fields__, n=1)
    if close:
        return f"there is no such key; did you mean {close[0]}?"
    return 'must be a table of settings, such as { address = "deploy@10.0.0.3" }'


def check_written(written: tuple[str, ...] | Table) -> None:
    """Refuse names that cannot be connected to, hosts that are named twice, and two that migrate. Raises Invalid."""
    inventory, table = inventory_of(written), settings_of(written)
    seen: dict[tuple[str, int], str] = {}
    migrates = ""
    for index, name in enumerate(written if isinstance(written, tuple) else table):
        below, settings = f"[{index}]" if isinstance(written, tuple) else name, table[name]
        if not re.fullmatch(HOST, name) or len(name) > HOST_LENGTH:
            raise Invalid("hosts", "is not the name of a host such as deploy@web1.example.com", below)
        check.host("hosts", name, below)
        if settings.migrate and migrates:
            raise Invalid("hosts", f"the migration runs on one host, and {migrates} has it", below, "migrate")
        migrates = name if settings.migrate else migrates
        where = Target.parse(settings.address or name)
        place = (where.host, where.port or 22)
        if place in seen and not inventory:
            raise Invalid("hosts", f"is the same host as {seen[place]}", below)
        seen[place] = name


def only(
    table: dict[str, HostSettings], typed: str, more: Callable[[str], object] = lambda _: None
) -> dict[str, HostSettings]:
    """Of the table, the host that was typed; nothing when it has none such.

    A name is matched as typed; else by its host part: ``web3`` is ``deploy@web3:22``, where no other port was typed.
    Raises ConfigError when that fits several which are not alike: in their settings, or in what ``more`` says of them.
    """
    if typed in table:
        return {typed: table[typed]}
    given = Target.parse(typed)
    names = [name for name, settings in table.items() if fits(given, name) or fits(given, settings.address)]
    if any((table[name], more(name)) != (table[names[0]], more(names[0])) for name in names[1:]):
        raise ConfigError(
            message=f"{typed!r} may be any of these hosts of deploy.toml: {', '.join(names)}",
            next=do(f"name it as it stands there, such as -H {names[0]}"),
        )
    return {name: table[name] for name in names[:1]}


def fits(given: Target, text: str | None) -> bool:
    """Whether the host that was typed may be the one that ``text`` names."""
    if text is None:
        return False
    known = Target.parse(text)
    return given.host == known.host and (not given.port or not known.port or given.port == known.port)


def target_of(table: dict[str, HostSettings], typed: str) -> Target:
    """Where to log in for a host that was typed, or that the table names.

    Where the table has an address for it, what was not typed (user, port) is taken from that. Raises ConfigError.
    """
    given = Target.parse(typed)
    for settings in only(table, typed).values():
        if settings.address is not None:
            known = Target.parse(settings.address)
            return replace(known, user=given.user or known.user, port=given.port or known.port, name=typed)
    return given
