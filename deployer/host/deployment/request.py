"""What is asked of the host, checked. The strict boundary: everything here came over the channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from deployer.host.build.delta import parse_delta
from deployer.host.state.catalog import Catalog
from deployer.host.state.releases import Release
from deployer.wire.environment import parse_environment
from deployer.wire.protocol import BARRIERS, ENV_NAME, MOST_NUMBER, PHASES
from deployer.wire.reader import Reader
from deployer.wire.spec import Spec

KINDS = ("deploy", "reload", "rollback")


@dataclass(frozen=True)
class Request:
    """A release to make, or (``release`` not 0) phases to run of one that is being made.

    ``of`` is the release whose code and dependencies it takes (0: its own, from ``delta``). ``yes`` accepts a
    rollback behind migrations; ``secret`` names the variables of ``environment`` whose values no event may show.
    ``barriers`` are those at which the job of a fleet waits for the laptop's word, ``number`` is the one that the
    release is to have in the whole fleet (0: this host's next). ``reason`` is the host's own: why it goes on with a
    release whose deploy was interrupted.
    """

    kind: str
    by: str
    phases: tuple[str, ...]
    of: int
    release: int
    spec: Spec
    environment: dict[str, str]
    secret: tuple[str, ...]
    delta: Any
    yes: bool
    no_migrate: bool
    barriers: tuple[str, ...] = ()
    number: int = 0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "by": self.by,
            "phases": list(self.phases),
            "of": self.of,
            "release": self.release,
            "spec": self.spec.as_json(),
            "environment": self.environment,
            "secret": list(self.secret),
            "delta": self.delta,
            "yes": self.yes,
            "no_migrate": self.no_migrate,
            "barriers": list(self.barriers),
            "number": self.number,
            "reason": self.reason,
        }

    @classmethod
    def stored(cls, value: Any) -> Request:
        """A request that this program wrote itself."""
        lists = {name: tuple(value.get(name, ())) for name in ("phases", "secret", "barriers")}
        return cls(**{**value, **lists, "spec": Spec.parse(value["spec"])})

    @classmethod
    def parse(cls, value: Any) -> Request:
        """Raises ValueError saying which key is not as it must be."""
        read = Reader(value, "request")
        delta = read.raw("delta")
        request = cls(
            kind=read.choice("kind", KINDS),
            by=read.text("by", length=256),
            phases=read.texts("phases"),
            of=read.integer("of", 0, MOST_NUMBER),
            release=read.integer("release", 0, 0),
            spec=Spec.parse(read.raw("spec")),
            environment=parse_environment(read.raw("env")),
            secret=read.texts("secret", ENV_NAME, 2000),
            delta=delta,
            yes=read.boolean("yes"),
            no_migrate=read.boolean("no_migrate"),
            barriers=read.texts("barriers"),
            number=read.integer("number", 0, MOST_NUMBER),
        )
        read.done()
        _check_phases(request.phases)
        _check_barriers(request.barriers, request.phases)
        if request.phases[0] != PHASES[0]:
            raise ValueError(f"phases: a release begins with {PHASES[0]}")
        if delta is not None and parse_delta(delta).digest != request.spec.source.digest:
            raise ValueError("delta: is of another tree than the release")
        if request.kind == "deploy" and delta is None:
            raise ValueError("delta: missing")
        return request


@dataclass(frozen=True)
class Phases:
    """Phases to run of the release ``number`` (0: the newest that is under way)."""

    number: int
    by: str
    phases: tuple[str, ...]
    no_migrate: bool

    @classmethod
    def parse(cls, value: Any) -> Phases:
        """Raises ValueError saying which key is not as it must be."""
        read = Reader(value, "phases")
        asked = cls(
            number=read.integer("release", 0, MOST_NUMBER),
            by=read.text("by", length=256),
            phases=read.texts("phases"),
            no_migrate=read.boolean("no_migrate"),
        )
        read.done()
        _check_phases(asked.phases)
        if asked.phases[0] == PHASES[0]:
            raise ValueError(f"phases: {PHASES[0]} begins a release, and is never run again")
        return asked


def phases_request(catalog: Catalog, asked: Phases) -> Request:
    """Phases to run of a release that is under way. Raises HostError."""
    release = catalog.get(asked.number) if asked.number else catalog.under_way()
    return replace(of_release(release, asked.by, asked.phases), no_migrate=asked.no_migrate)


def of_release(release: Release, by: str, phases: tuple[str, ...], reason: str = "") -> Request:
    """Phases to run of a release that is being made: all else of it is in its record."""
    return Request(
        kind=release.kind,
        by=by,
        phases=phases,
        of=release.of,
        release=release.number,
        spec=release.spec,
        environment={},
        secret=(),
        delta=None,
        yes=False,
        no_migrate=False,
        reason=reason,
    )


def _check_phases(phases: tuple[str, ...]) -> None:
    """A run of neighbouring phases, in their order."""
    known = [name for name in PHASES if name in phases]
    if not phases or list(phases) != known:
        raise ValueError("phases: unknown, twice, or out of order")
    first = PHASES.index(phases[0])
    if tuple(PHASES[first : first + len(phases)]) != phases:
        raise ValueError("phases: there is a gap")


def _check_barriers(barriers: tuple[str, ...], phases: tuple[str, ...]) -> None:
    if list(barriers) != [name for name in BARRIERS if name in barriers]:
        raise ValueError("barriers: unknown, twice, or out of order")
    if barriers and phases != PHASES:
        raise ValueError("barriers: go with all phases of a release, from the first to the last")
