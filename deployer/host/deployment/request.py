"""A request to the host: parsed strictly, as it came over the channel, then completed with what only the host knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from deployer.host.build.code.delta import parse_delta
from deployer.host.state.catalog import Catalog
from deployer.host.state.releases import Release
from deployer.wire.environment import MOST_VARIABLES, Change, parse_environment, parse_names, parse_sources
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import (
    BARRIERS,
    BEHIND_THE_SWITCH,
    ENV_NAME,
    MOST_BY,
    MOST_NUMBER,
    PHASES,
    SWITCH_BARRIERS,
)
from deployer.wire.reader import Reader
from deployer.wire.release.spec import Spec

KINDS = ("deploy", "reload", "restart", "rollback", "scale")
_LISTS = ("phases", "secret", "barriers", "required")
_OPTIONAL: dict[str, Any] = {"sources": {}, "change": None, "required": []}
"""What a request may leave out."""


@dataclass(frozen=True)
class Request:
    """A new release, or (``release`` not 0) phases to run of an unfinished one.

    ``of`` is the release whose code and dependencies it reuses (0: none, they come from ``delta``). ``yes`` accepts a
    rollback behind migrations; ``secret`` names the variables of ``environment`` whose values no event may show.
    ``barriers`` are those at which the job waits for a barrier signal; ``number`` is the release's number in the whole
    fleet (0: this host's next). ``sources`` says where each variable comes from, ``change`` what the host keeps of its
    own from this release on, ``required`` which variables there must be. Set by the host itself: ``inherits``, that the
    environment is that of an older release as it stands, and ``reason``, why it goes on with an interrupted deploy.
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
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    change: Change | None = None
    required: tuple[str, ...] = ()
    inherits: bool = False

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
            "sources": {name: list(found) for name, found in self.sources.items()},
            "change": self.change.as_json() if self.change else None,
            "required": list(self.required),
            "inherits": self.inherits,
        }

    @classmethod
    def stored(cls, value: Any) -> Request:
        """Read a request that this program wrote."""
        found: dict[str, Any] = {name: tuple(value.get(name, ())) for name in _LISTS}
        found["sources"] = {name: tuple(one) for name, one in value.get("sources", {}).items()}
        found["change"] = Change.parse(value["change"]) if value.get("change") else None
        return cls(**{**value, **found, "spec": Spec.parse(value["spec"])})

    @classmethod
    def parse(cls, value: Any) -> Request:
        """Raises ValueError naming the key that is wrong."""
        read = Reader({**_OPTIONAL, **value} if isinstance(value, dict) else value, "request")
        delta = read.raw("delta")
        environment = parse_environment(read.raw("env"))
        change = read.raw("change")
        request = cls(
            kind=read.choice("kind", KINDS),
            by=read.text("by", length=MOST_BY),
            phases=read.texts("phases"),
            of=read.integer("of", 0, MOST_NUMBER),
            release=read.integer("release", 0, 0),
            spec=Spec.parse(read.raw("spec")),
            environment=environment,
            secret=read.texts("secret", ENV_NAME, MOST_VARIABLES),
            delta=delta,
            yes=read.boolean("yes"),
            no_migrate=read.boolean("no_migrate"),
            barriers=read.texts("barriers"),
            number=read.integer("number", 0, MOST_NUMBER),
            sources=parse_sources(read.raw("sources"), environment),
            change=None if change is None else Change.parse(change),
            required=parse_names(read.raw("required"), "required"),
        )
        read.done()
        if request.change is not None and request.kind != "reload":
            raise ValueError("change: comes with a reload")
        _check_phases(request.phases)
        _check_barriers(request.barriers, request.phases)
        if request.phases[0] != PHASES[0]:
            raise ValueError(f"phases: a release begins with {PHASES[0]}")
        if delta is not None and parse_delta(delta).digest != request.spec.source.digest:
            raise ValueError("delta: belongs to another tree than the release")
        if request.kind == "deploy" and delta is None:
            raise ValueError("delta: missing")
        return request


@dataclass(frozen=True)
class PhasesRequest:
    """Phases to run of the release ``number`` (0: the newest unfinished one). ``barriers`` are those of a fleet that
    promotes what it holds."""

    number: int
    by: str
    phases: tuple[str, ...]
    no_migrate: bool
    barriers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> PhasesRequest:
        """Raises ValueError naming the key that is wrong."""
        read = Reader(value, "phases")
        asked = cls(
            number=read.integer("release", 0, MOST_NUMBER),
            by=read.text("by", length=MOST_BY),
            phases=read.texts("phases"),
            no_migrate=read.boolean("no_migrate"),
            barriers=read.texts("barriers") if read.has("barriers") else (),
        )
        read.done()
        _check_phases(asked.phases)
        if asked.barriers and (asked.barriers, asked.phases) != (SWITCH_BARRIERS, BEHIND_THE_SWITCH):
            raise ValueError("barriers: those of the switch go with the phases from it to the last")
        if asked.phases[0] == PHASES[0]:
            raise ValueError(f"phases: {PHASES[0]} begins a release, and cannot be run again")
        return asked


def phases_request(catalog: Catalog, asked: PhasesRequest) -> Request:
    """The request for phases of an unfinished release. Raises HostError."""
    release = catalog.get(asked.number) if asked.number else catalog.under_way()
    request = of_release(release, asked.by, asked.phases)
    return replace(request, no_migrate=asked.no_migrate, barriers=asked.barriers)


def of_release(release: Release, by: str, phases: tuple[str, ...], reason: str = "") -> Request:
    """The request for phases of ``release``: all the rest of it is in its record."""
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
    """Raises ValueError unless they are consecutive phases in order."""
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
        raise ValueError("barriers: need all phases of a release, from the first to the last")
