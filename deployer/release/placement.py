"""What a release is on one host, what goes to it, and the protocol of the kinds that make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from deployer.errors import ConfigError
from deployer.release.delta import Upload
from deployer.remote.facts import Facts
from deployer.remote.session import Edit, unchanged
from deployer.remote.site import Site
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_MISSED

__all__ = ["Payload", "Placement", "ReleaseKind", "number_of"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a release is on one host of a fleet: its ``number`` on all hosts, the ``barriers`` where this host waits,
    and the host that runs the migration for all (empty: there is none to run). The defaults are a single host's."""

    number: int = 0
    barriers: tuple[str, ...] = ()
    migrator: str | None = None

    def migrates(self, host: str) -> bool:
        """Whether the migration runs on this host, if there is one."""
        return self.migrator is None or self.migrator == host


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What goes to a host: the request, and what is uploaded with it, from a byte on."""

    message: Mapping[str, Any]
    upload: Upload | None = None
    offset: int = 0
    edit: Edit = unchanged


def number_of(facts: Mapping[str, Facts]) -> int:
    """The number of a release on all hosts of a fleet: the next of the one that has counted furthest.

    Raises ConfigError naming the host that has counted further than another can have missed releases: numbers only
    grow, and all hosts would have its number for good.
    """
    numbers = {host: one.next for host, one in facts.items()}
    least = min(numbers.values(), default=1)
    far = sorted(host for host, number in numbers.items() if number > least + MOST_MISSED)
    if far:
        near = sorted(set(numbers) - set(far))
        told = "; ".join(f"{host}: v{numbers[host]}" for host in (*far, *near))
        raise ConfigError(
            message=f"{', '.join(far)} cannot be right about the number of the next release ({told})",
            next=run(f"fab releases -H {','.join(far)}", "how it came to that")
            + run(f"fab deploy -H {','.join(near)}", "without it"),
        )
    return max(numbers.values(), default=0)


class ReleaseKind(Protocol):
    """What is to be released: the use case. ``again`` is the command that would try once more."""

    @property
    def again(self) -> str: ...

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """Raises ConfigError unless the hosts agree on what this kind needs to be the same everywhere."""

    def migrator(self, hosts: Sequence[str], /) -> str:
        """The host that runs the migration; empty when there is none to run."""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        """What goes to one host. Raises DeployerError. Called in that host's thread."""
