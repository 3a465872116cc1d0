"""What is promoted: the candidate that every host holds, which then switches like any release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.errors import ConfigError
from deployer.release.placement import Payload, Placement
from deployer.remote.facts import Facts
from deployer.remote.site import Site, who
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import BEHIND_THE_SWITCH

__all__ = ["Promotion", "held_by_all"]


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The release that all hosts hold."""

    again: str = "fab promote"

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """All hosts hold a release, and it is the same."""
        held_by_all(facts)

    def migrator(self, _: Sequence[str], /) -> str:
        """It has migrated before it was held."""
        return ""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        name = held_by_all({site.host: facts})
        message = {
            "op": "phases", "phases": list(BEHIND_THE_SWITCH), "release": int(name[1:]), "by": who(),
            "no_migrate": False, "barriers": list(placement.barriers),
        }  # fmt: skip
        return Payload(message=message)


def held_by_all(facts: Mapping[str, Facts]) -> str:
    """The name of the release that all hosts hold. Raises ConfigError where one holds none, or another one."""
    held = {host: one.held.release if one.held else "" for host, one in facts.items()}
    if without := sorted(host for host, name in held.items() if not name):
        where = "" if len(held) == 1 else f" on {', '.join(without)}"
        raise ConfigError(
            message=f"no release is held{where}: none was made, its time is over, or it was discarded",
            state="nothing was touched",
            next=run("fab deploy --hold") + run("fab releases", "says what became of the last"),
        )
    if len(set(held.values())) > 1:
        told = "; ".join(f"{name} on {host}" for host, name in sorted(held.items()))
        raise ConfigError(
            message=f"the hosts hold different releases: {told}",
            state="nothing was touched",
            next=run("fab abort", "discards them") + run("fab deploy --hold"),
        )
    return next(iter(held.values()))
