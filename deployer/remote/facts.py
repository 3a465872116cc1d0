"""What a host says of itself before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from deployer.remote.answers import AskAnswer, HeldRelease, HostVariable, Job, Lock
from deployer.wire.lazydata import dataclass
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entry import unpack_ids

__all__ = ["BaseTree", "Facts"]


@dataclass(frozen=True, kw_only=True)
class BaseTree:
    """The tree on a host that an upload builds on; its ``key`` there is empty where there is none.

    ``digest`` is that of the source it was made of, empty where nothing can be taken over from it; ``altered`` are the
    ids of the files that cannot. ``told`` are those that can, where they are few; else ``ask`` asks the host for them.
    """

    key: str = ""
    digest: str = ""
    altered: frozenset[bytes] = frozenset()
    told: tuple[bytes, ...] = ()
    ask: Callable[[], Sequence[bytes]] = field(default=tuple, repr=False, compare=False)


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
    base: BaseTree
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
    def of(cls, answer: AskAnswer, ids: Callable[[str], Sequence[bytes]]) -> Facts:
        """``ids`` asks the host for those of a tree, by its key. Raises ValueError for what no host of this version
        says."""
        base = answer.base
        return cls(
            current=answer.current,
            spec=Spec.parse(answer.spec) if answer.spec is not None else None,
            busy=answer.busy,
            base=BaseTree(
                key=base.key,
                digest=base.digest,
                altered=frozenset(unpack_ids(base.altered)),
                told=tuple(unpack_ids(base.ids)),
                ask=lambda: ids(base.key),
            ),
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
