"""What a host says of itself before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from deployer.remote.answers import AskAnswer, HeldRelease, HostVariable, Job, Lock
from deployer.wire.lazydata import dataclass
from deployer.wire.release.spec import Spec
from deployer.wire.tree import unpack_ids

__all__ = ["Facts"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a host says before anything is sent. ``partials`` are interrupted uploads: bytes there, by digest.

    ``next`` is the number its next release would have, ``target`` what a rollback would go back to (empty: nothing),
    ``passed`` what is wrong with those that are newer than it and were passed by, ``usable`` the digest of the source
    of each release that can be gone back to, ``processes`` the names of what its releases have run, web first,
    ``lock`` who keeps releases from beginning, ``environment`` what a new release gets of the host itself.
    """

    current: str
    spec: Spec | None
    busy: Job | None
    base_key: str
    base_ids: list[bytes]
    partials: Mapping[str, int]
    free: int
    program: str
    next: int
    target: str
    usable: Mapping[str, str]
    processes: tuple[str, ...] = ()
    passed: Mapping[str, str] = field(default_factory=dict)
    lock: Lock | None = None
    held: HeldRelease | None = None
    environment: Mapping[str, HostVariable] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: AskAnswer) -> Facts:
        """Raises ValueError for what no host of this version says."""
        return cls(
            current=answer.current,
            spec=Spec.parse(answer.spec) if answer.spec is not None else None,
            busy=answer.busy,
            base_key=answer.base.key,
            base_ids=unpack_ids(answer.base.ids),
            partials=answer.partials,
            free=answer.free,
            program=answer.program,
            next=answer.next,
            target=answer.target,
            usable=answer.usable,
            processes=answer.processes,
            passed=answer.passed,
            lock=answer.lock,
            held=answer.held,
            environment=answer.environment,
        )
