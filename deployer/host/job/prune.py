"""``fab prune``: the job that removes old releases now, and not only at the end of the next deploy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deployer.host.build.disk import free_bytes
from deployer.host.deployment import outcome
from deployer.host.deployment.deployment import JobResult
from deployer.host.state.app import Context
from deployer.host.state.releases import DEAD
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_BY, Exit
from deployer.wire.reader import Reader
from deployer.wire.release.spec import KEEP
from deployer.wire.sizes import size

KIND = "prune"


@dataclass(frozen=True)
class Prune:
    """Who prunes, and how many good releases stay (0: as many as the release that serves says)."""

    by: str
    keep: int
    kind: str = KIND

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def stored(cls, value: dict[str, Any]) -> Prune:
        """Read a request that this program wrote."""
        return cls(by=value["by"], keep=value["keep"])


@dataclass(frozen=True)
class PruneRequest:
    """``dry``: only say what would be removed."""

    prune: Prune
    dry: bool


def parse(message: Any) -> PruneRequest:
    """Raises ValueError naming the key that is wrong."""
    read = Reader(message, KIND)
    keep = read.integer("keep", 0, KEEP[1])
    if 0 < keep < KEEP[0]:
        raise ValueError(f"prune.keep: at least {KEEP[0]}: what serves, and what a rollback goes to")
    asked = PruneRequest(Prune(by=read.text("by", length=MOST_BY), keep=keep), dry=read.boolean("dry"))
    read.done()
    return asked


def prunable(ctx: Context, asked: Prune) -> list[str]:
    """The releases that would be removed, oldest first. Raises HostError."""
    return [f"v{number}" for number in outcome.prunable(ctx, _keep(ctx, asked))]


def carry_out(ctx: Context, asked: Prune) -> JobResult:
    """Remove old releases, and trees and environments that none needs; under the app's lock. Raises HostError."""
    before, kept = free_bytes(str(ctx.paths.home)), ctx.catalog.numbers()
    outcome.prune(ctx, _keep(ctx, asked))
    left = ctx.catalog.numbers()
    gone = [f"v{number}" for number in kept if number not in left]
    freed = max(0, free_bytes(str(ctx.paths.home)) - before)
    good = [one.name for one in ctx.catalog.all() if one.result not in DEAD]
    stay = f"{', '.join(good)} stay" if good else "there is none"
    what = f"removed {', '.join(gone)} ({size(freed)} are free again)" if gone else "no release had to go"
    return JobResult(Exit.OK, "", f"{what}; {stay}")


def _keep(ctx: Context, asked: Prune) -> int:
    release = ctx.catalog.serving()
    return asked.keep or (release.spec.keep if release else 1)
