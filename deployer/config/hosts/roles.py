"""Which host runs what: the ``processes`` of each host, and the one host of a process that runs ``once``. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain

from deployer.config.check import Invalid
from deployer.config.hosts.hosts import HostSettings
from deployer.config.problems import suggestion
from deployer.errors import ConfigError
from deployer.wire.advice import do
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import WEB

SHOWN = 5
"""Hosts that a message names before it says how many more there are."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What there is to run, by name, and the hosts of the file, in their order. ``once`` may run on one of them.

    With ``open`` there are more hosts than the table has: an inventory is still to be asked for them.
    """

    processes: tuple[str, ...]
    timers: tuple[str, ...]
    once: tuple[str, ...]
    table: Mapping[str, HostSettings]
    open: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All that a host can run."""
        return (WEB, *self.processes, *self.timers)

    @property
    def run_web(self) -> bool:
        """Whether one of the hosts answers requests; one that the file does not name does."""
        return not self.table or any(self.names_it(host, WEB) for host in self.table)

    def names_it(self, host: str, name: str) -> bool:
        """Whether a host of the table may run it: by name, or because nothing is said of what it runs."""
        own = self.table[host].processes
        return own is None or name in own

    def the_one(self, name: str) -> str:
        """The host of a process that runs once: the first that names it, else the first without ``processes``.

        Empty when there is none. It depends on the file alone, never on which hosts a command works on.
        """
        naming = (host for host, settings in self.table.items() if name in (settings.processes or ()))
        silent = (host for host, settings in self.table.items() if settings.processes is None)
        return next(chain(naming, silent), "")

    def on(self, host: str | None) -> tuple[str, ...]:
        """What runs on a host of the table; None is a host that was typed and that the file does not name.

        Such a one runs all but what is to run once: another host has that. Where the file names no hosts at all, it
        is taken for the only one (see :func:`refuse_twice`).
        """
        if host is None:
            return tuple(name for name in self.names if not (self.table and name in self.once))
        may = (name for name in self.names if self.names_it(host, name))
        return tuple(name for name in may if name not in self.once or self.the_one(name) == host)

    def mistakes(self) -> Iterator[Invalid]:
        """Mistakes: names that do not exist, a host that would run nothing."""
        unknown = list(self._unknown())
        yield from unknown
        if unknown or self.open:
            return
        for host, settings in self.table.items():
            if not self.on(host):
                why = ", ".join(f"{name} runs once, on {self.the_one(name)}" for name in settings.processes or ())
                yield Invalid("hosts", f"nothing would run here: {why}", host, "processes")

    def idle(self) -> Iterator[Invalid]:
        """What would run on no host. Not an error in an environment: that is how an environment leaves it out."""
        if self.open or not self.table:
            return
        for table, names in (("processes", self.processes), ("timers", self.timers)):
            for name in names:
                if not any(self.names_it(host, name) for host in self.table):
                    yield Invalid(table, f"no host would run it: add {name} to the processes of one", name)

    def _unknown(self) -> Iterator[Invalid]:
        for host, settings in self.table.items():
            for index, name in enumerate(settings.processes or ()):
                if name not in self.names:
                    why = f"there is no process or timer {name!r}; {suggestion(name, self.names, 'there are')}"
                    yield Invalid("hosts", why, host, "processes", f"[{index}]")


def refuse_twice(once: Mapping[str, tuple[str, ...]]) -> None:
    """Raises ConfigError where something that is to run once would run on several hosts of a command.

    ``once`` says for each of these hosts what of that it would run. It comes to this only where the file does not tell
    the hosts apart.
    """
    where: dict[str, list[str]] = {}
    for host, names in once.items():
        for name in names:
            where.setdefault(name, []).append(host)
    for name, hosts in where.items():
        if len(hosts) > 1:
            more = f" and {len(hosts) - SHOWN} more" if len(hosts) > SHOWN else ""
            written = json.dumps(hosts[:SHOWN])[:-1] + (", …]" if more else "]")
            raise ConfigError(
                message=f"{name} is to run on one host (once = true), and deploy.toml does not say on which of "
                f"{', '.join(hosts[:SHOWN])}{more}",
                next=do(f"name them in deploy.toml, of which the first runs it: hosts = {written}")
                + do("or write once = false, if it may run on each"),
            )
