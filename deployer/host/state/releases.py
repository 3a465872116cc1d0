"""The record of a release: what it consists of, who made it, and its result so far."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_NUMBER, PHASES
from deployer.wire.release.spec import Spec

PREPARING, READY, SERVED, ROLLING_BACK, GOOD, FAILED, ROLLED_BACK, INTERRUPTED = (
    "preparing",
    "ready",
    "served",
    "rolling back",
    "good",
    "failed",
    "rolled back",
    "interrupted",
)
"""The results, in order: being made; healthy, without traffic; switched to and watched; being rolled back; kept;
refused before the switch; rolled back; its attempt died before the switch."""

UNFINISHED = (PREPARING, READY, SERVED, ROLLING_BACK)
DEAD = (FAILED, ROLLED_BACK, INTERRUPTED)


@dataclass(frozen=True)
class Release:
    """A release's record. ``of`` is the number of the release whose code it carries (0: its own); with ``same`` it
    carries everything else of that one, too (a reload that changed nothing). ``previous`` served before it.

    ``at``, ``switched`` and ``ended`` are in seconds since 1970; ``phase`` is the last phase that succeeded. ``sealed``
    has the digests of its parts (:mod:`deployer.host.state.seal`); a release without them does not count. ``held`` is
    its lease between two phases that are run one by one.
    """

    number: int
    kind: str
    of: int
    by: str
    at: float
    spec: Spec
    tree: str = ""
    venv: str = ""
    result: str = PREPARING
    reason: str = ""
    phase: str = ""
    previous: int = 0
    switched: float = 0.0
    phases: dict[str, float] | None = None
    same: bool = False
    sealed: dict[str, Any] | None = None
    held: dict[str, Any] | None = None
    ended: float = 0.0

    @property
    def name(self) -> str:
        return f"v{self.number}"

    @property
    def copies(self) -> int:
        """The number of the release all of whose parts it carries; 0 when some are its own."""
        return self.of if self.same or self.kind == "rollback" else 0

    @property
    def unfinished(self) -> bool:
        return self.result in UNFINISHED

    @property
    def next_phase(self) -> str:
        """The phase after the last that succeeded; empty after the last of all."""
        done = PHASES.index(self.phase) + 1 if self.phase in PHASES else 0
        return PHASES[done] if done < len(PHASES) else ""

    @property
    def usable(self) -> bool:
        """Whether a rollback may go to it: it has served and its watch succeeded."""
        return self.result == GOOD

    def stalls(self, current: Release | None) -> bool:
        """Whether its web process can start only after that of ``current`` has stopped (``overlap = false``)."""
        both = self.spec.web is not None and current is not None and current.spec.web is not None
        return both and not self.spec.overlap

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "spec": self.spec.as_json()}

    @classmethod
    def parse(cls, value: dict[str, Any], number: int) -> Release:
        """The record of release ``number``. Raises TypeError, ValueError or KeyError when it is not one."""
        release = cls(**{**value, "spec": Spec.parse(value["spec"])})
        if release.number != number or release.result not in (*UNFINISHED, *DEAD, GOOD):
            raise ValueError("not a record of this release")
        for one in fields(cls):
            if not _is_as_written(one.type, getattr(release, one.name)):
                raise ValueError(f"{one.name}: not what is written there")
        return release


def _is_as_written(kind: Any, value: Any) -> bool:
    """Whether a value read from a record has the declared type of its field."""
    if kind == "int":
        return type(value) is int and 0 <= value <= MOST_NUMBER
    if kind == "float":
        return type(value) in (int, float)
    if kind in ("str", "bool", "Spec"):
        return bool(type(value).__name__ == kind)
    if kind == "dict[str, float] | None":
        return value is None or (isinstance(value, dict) and all(type(one) in (int, float) for one in value.values()))
    return value is None or isinstance(value, dict)
