"""What serves, released again without a look at the code here: in new processes, or in more or fewer of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.config import Config
from deployer.errors import ConfigError
from deployer.release.agreement import current_of, refuse_nothing, refuse_skew
from deployer.release.placement import Payload, Placement
from deployer.release.spec import counts_of, release_request
from deployer.remote.facts import Facts
from deployer.remote.site import Site, who
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.release.spec import Spec

__all__ = ["Restart", "Scale"]


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What serves, once more: its code, settings and environment as they are on the hosts, in new processes."""

    again: str = "fab restart"

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """A restart of different releases would give one number to different code."""
        refuse_nothing(facts)
        refuse_skew(facts, "restart")

    def migrator(self, _: Sequence[str], /) -> str:
        return ""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        message = release_request(
            kind="restart",
            by=who(),
            spec=current_of(site.host, facts),
            environment={},
            barriers=placement.barriers,
            number=placement.number,
        )
        return Payload(message=message)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What serves, with other counts of processes. ``counts`` by name; None: as ``configs`` (by host) say again."""

    counts: Mapping[str, int | None]
    configs: Mapping[str, Config]
    again: str

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """Each process must run on a host, at least."""
        refuse_nothing(facts)
        refuse_skew(facts, "scale")
        there = {name for one in facts.values() if one.spec for name in one.spec.counts()}
        for name in self.counts:
            if name not in there:
                known = f"there are: {', '.join(sorted(there))}" if there else "there is none"
                raise ConfigError(
                    message=f"what serves runs no process {name} that can be scaled; {known}",
                    next=run("fab status"),
                )

    def migrator(self, _: Sequence[str], /) -> str:
        return ""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        message = release_request(
            kind="scale",
            by=who(),
            spec=self.scaled(site.config, current_of(site.host, facts)),
            environment={},
            barriers=placement.barriers,
            number=placement.number,
        )
        return Payload(message=message)

    def scaled(self, config: Config, current: Spec) -> Spec:
        """What serves, with the new counts. Pure."""
        usual = counts_of(config)
        back = {name: usual[name] for name, count in self.counts.items() if count is None and name in usual}
        wanted: dict[str, int] = {name: count for name, count in self.counts.items() if count is not None}
        kept = {name: count for name, count in current.scale if name not in self.counts}
        return current.counted(back).scaled({**kept, **wanted})
