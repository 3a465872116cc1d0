"""``[fleet]`` and ``[hooks]``: how a command works on many hosts, and what runs on the laptop around each."""

from __future__ import annotations

import shlex
from typing import Annotated

from msgspec import Struct

from deployer.config import check
from deployer.config.check import Invalid
from deployer.config.declare import key
from deployer.ssh.target import Target


# fmt: off
class FleetSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a command works on many hosts. The options of the command line win over it."""

    parallel: Annotated[int, key(
        "How many hosts are worked on at the same time, until all are ready to switch.",
        "a whole number from 1 to 500", ge=1, le=500)] = 20
    batch: Annotated[str, key(
        "How many hosts switch at a time. Left out: all of them at once.",
        'a number of hosts such as 2, or a share of them such as "25%"')] = ""
    canary: Annotated[int, key(
        "How many hosts switch before all others.", "a whole number from 0 to 500", ge=0, le=500)] = 0
    bake: Annotated[float, key(
        "How many seconds the canary serves before the others follow.",
        "a number of seconds from 0 to 86400", ge=0, le=86400)] = 0.0

    def __post_init__(self) -> None:
        problem = check.batch_problem(self.batch)
        if problem:
            raise Invalid("batch", problem)


class Hooks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commands run on this machine for each host of a wave, without a shell, such as those that tell a load balancer.
    Where all hosts switch at once there are no waves, and none is run. `{host}` in them is the host's name without
    user and port."""

    drain: Annotated[str | None, key(
        "Run before the host is told to switch.",
        'a command, in one line, such as "./lb drain {host}"')] = None
    undrain: Annotated[str | None, key(
        "Run when the host has switched and is good, or has failed.",
        'a command, in one line, such as "./lb undrain {host}"')] = None
    timeout: Annotated[float, key(
        "How many seconds one run may take.",
        "a number of seconds above 0 and up to 3600", gt=0, le=3600)] = 60.0

    def __post_init__(self) -> None:
        for name, command in (("drain", self.drain), ("undrain", self.undrain)):
            if command is not None:
                check.hook(name, command)

    def drain_of(self, host: str) -> tuple[str, ...]:
        """The arguments of ``drain`` for a host, as it is named; empty when there is no such hook."""
        return arguments(self.drain, host)

    def undrain_of(self, host: str) -> tuple[str, ...]:
        """The arguments of ``undrain`` for a host, as it is named; empty when there is no such hook."""
        return arguments(self.undrain, host)
# fmt: on


def arguments(command: str | None, host: str) -> tuple[str, ...]:
    """The words of a command; the host's name is filled in afterwards, so that it cannot become two of them."""
    name = Target.parse(host).host
    return tuple(word.replace("{host}", name) for word in shlex.split(command or ""))
