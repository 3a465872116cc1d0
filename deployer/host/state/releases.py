"""The releases of an app on this host: their records, which one serves, and which may go."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from deployer.host.errors import BadRequest, Damaged, HostError
from deployer.host.state.ledger import BEGUN, Ledger
from deployer.host.state.paths import AppPaths
from deployer.host.system import files
from deployer.wire.advice import do, run
from deployer.wire.protocol import MOST_MISSED, MOST_NUMBER, PHASES, RELEASE, Exit
from deployer.wire.spec import Spec

PREPARING, READY, SERVED, CONDEMNED, GOOD, FAILED, ROLLED_BACK, INTERRUPTED = (
    "preparing",
    "ready",
    "served",
    "rolling back",
    "good",
    "failed",
    "rolled back",
    "interrupted",
)
"""What became of a release: being made; healthy, without traffic; switched to, watched; being taken back; kept;
refused; taken back; its attempt died before the switch."""

UNFINISHED = (PREPARING, READY, SERVED, CONDEMNED)
DEAD = (FAILED, ROLLED_BACK, INTERRUPTED)

KEPT_FAILURES = 20
"""Records (not content) of failed releases that are kept to be read."""


@dataclass(frozen=True)
class Release:
    """A release's record. ``of`` is the number whose code it carries (0: its own), ``previous`` what served before it.

    ``same`` says that it carries all else of that one, too: a reload that changed nothing.
    ``at``, ``switched`` and ``ended`` are seconds since the epoch; ``phase`` is the last phase that ended well.
    ``sealed`` are the digests of its parts (see ``host/state/seal.py``): without them it does not count. ``held`` is
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
        """The release all of whose parts it carries; 0 when some are its own."""
        return self.of if self.same or self.kind == "rollback" else 0

    @property
    def unfinished(self) -> bool:
        return self.result in UNFINISHED

    @property
    def next_phase(self) -> str:
        """The phase after the last one that ended well; empty after the last."""
        done = PHASES.index(self.phase) + 1 if self.phase in PHASES else 0
        return PHASES[done] if done < len(PHASES) else ""

    @property
    def usable(self) -> bool:
        """It has served well, or is about to: what a rollback may go to."""
        return self.result == GOOD

    def stalls(self, current: Release | None) -> bool:
        """Whether its web process starts only when that of ``current`` has stopped: there is no room for both."""
        both = self.spec.web is not None and current is not None and current.spec.web is not None
        return both and not self.spec.overlap

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "spec": self.spec.as_json()}

    @classmethod
    def parse(cls, value: dict[str, Any], number: int) -> Release:
        """The record of release ``number``, as it was written. Raises TypeError, ValueError or KeyError otherwise."""
        release = cls(**{**value, "spec": Spec.parse(value["spec"])})
        if release.number != number or release.result not in (*UNFINISHED, *DEAD, GOOD):
            raise ValueError("not a record of this release")
        for one in fields(cls):
            if not _is_as_written(one.type, getattr(release, one.name)):
                raise ValueError(f"{one.name}: not what is written there")
        return release


def _is_as_written(kind: Any, value: Any) -> bool:
    """Whether a value of a record is of its type; a record has been to the disk and back."""
    if kind == "int":
        return type(value) is int and 0 <= value <= MOST_NUMBER
    if kind == "float":
        return type(value) in (int, float)
    if kind in ("str", "bool", "Spec"):
        return bool(type(value).__name__ == kind)
    if kind == "dict[str, float] | None":
        return value is None or (isinstance(value, dict) and all(type(one) in (int, float) for one in value.values()))
    return value is None or isinstance(value, dict)


@functools.lru_cache(maxsize=256)
def _parsed(text: bytes, number: int) -> Release:
    """The record with that content. A job reads all records several times: unchanged ones are parsed once."""
    return Release.parse(json.loads(text), number)


@dataclass(frozen=True)
class Catalog:
    """The records below ``releases/``. ``current`` is always read from the link: it alone is the truth."""

    paths: AppPaths

    def numbers(self) -> list[int]:
        names = (entry.name for entry in self.paths.releases.iterdir())
        return sorted(int(name[1:]) for name in names if RELEASE.fullmatch(name))

    def find(self, number: int) -> Release | None:
        """The record of a release; None when there is none. Raises Damaged."""
        try:
            return _parsed(self._record(number).read_bytes(), number)
        except FileNotFoundError:
            return None
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            raise Damaged(self._record(number)) from None

    def serving_name(self) -> str:
        """``v42``; empty when nothing serves."""
        number = self.current()
        return f"v{number}" if number else ""

    def serving(self) -> Release | None:
        """The release that ``current`` names; None before the first."""
        number = self.current()
        return self.find(number) if number else None

    def before(self, release: Release) -> Release | None:
        """What served before a release; None when nothing did, or when its record cannot be read."""
        with contextlib.suppress(Damaged):
            return self.find(release.previous) if release.previous else None
        return None

    def get(self, number: int) -> Release:
        """Raises HostError naming the releases there are when there is no such release."""
        release = self.find(number)
        if release is None:
            there = ", ".join(f"v{other}" for other in self.numbers()) or "none"
            raise HostError(
                f"there is no release v{number} of {self.paths.app}; there are: {there}",
                exit=Exit.USAGE,
                state="nothing was touched",
                next=run("fab releases"),
            )
        return release

    def all(self) -> list[Release]:
        """Every release that has a record which can be read, oldest first."""
        found = (self._readable(number) for number in self.numbers())
        return [release for release in found if release is not None]

    def _readable(self, number: int) -> Release | None:
        try:
            return self.find(number)
        except (Damaged, FileNotFoundError, NotADirectoryError):
            return None

    def under_way(self) -> Release:
        """The newest release whose phases are not over. Raises HostError when there is none."""
        for release in reversed(self.all()):
            if release.unfinished:
                return release
        raise HostError(
            "no release is under way", exit=Exit.USAGE, state="nothing was touched", next=run("fab phase.upload")
        )

    def save(self, release: Release) -> Release:
        files.write_json(self._record(release.number), release.as_json(), 0o600)
        return release

    def next_number(self) -> int:
        """A number that was never used before."""
        return max(self._counted(self._counter), self.ledger.last_number(), *self.numbers(), 0) + 1

    def check_number(self, number: int) -> None:
        """Raises BadRequest for a number (0: none) that is further from this host's next than a host may have missed.

        Numbers only grow: a single absurd one would be with the app for ever.
        """
        least = self.next_number()
        if max(number, least) > min(least + MOST_MISSED, MOST_NUMBER):
            raise BadRequest(
                f"v{number or least} is no number for the next release: here that is v{least}",
                next=run("fab releases", "on every host: one of them counts differently"),
            )

    def refuse_if_taken(self, number: int) -> None:
        """Raises HostError (exit 4) for a number that a command which was quicker has used since the fleet chose it."""
        if number and number < self.next_number():
            raise HostError(
                f"busy: another command was quicker, and has made v{number} here",
                exit=Exit.BUSY,
                state="nothing was touched",
                next=run("fab deploy", "again"),
            )

    def create(self, kind: str, of: int, by: str, at: float, spec: Spec, number: int = 0) -> Release:
        """A new release under a number that was never used before, and the ledger's line for it.

        ``number`` is the one of its fleet (0: the next). Raises HostError when a command that came between took it.
        """
        self.check_number(number)
        self.refuse_if_taken(number)
        counter, number = self._counter, number or self.next_number()
        files.write_file(counter, f"{number}\n".encode(), 0o600)
        release = Release(number=number, kind=kind, of=of, by=by, at=at, spec=spec)
        source = spec.source
        told = {"kind": kind, "by": by, "commit": source.commit, "ref": source.ref, "of": f"v{of}" if of else ""}
        self.ledger.add(BEGUN, at, release=release.name, **told)
        directory = self.paths.release(number)
        files.make_directory(directory, 0o755)
        files.make_directory(directory / "run", 0o755)
        return self.save(release)

    @property
    def _counter(self) -> Path:
        return self.paths.private / "last-release"

    def _counted(self, counter: Path) -> int:
        try:
            text = files.read_text(counter).strip()
        except FileNotFoundError:
            return 0
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.paths.ledger)

    def update(self, release: Release, **changes: Any) -> Release:
        return self.save(replace(release, **changes))

    def current(self) -> int:
        """The number of the release that serves; 0 when none does."""
        try:
            target = os.readlink(str(self.paths.current))
        except FileNotFoundError:
            return 0
        found = re.fullmatch(r"releases/v([1-9][0-9]{0,8})", target)
        if not found:
            raise HostError(
                f"{self.paths.current} leads to {target!r}, which deployer did not write",
                state="nothing was touched",
                next=do(f"look at it; to start afresh: rm {self.paths.current}"),
            )
        return int(found.group(1))

    def _record(self, number: int) -> Path:
        return self.paths.release(number) / "release.json"


def rollback_targets(releases: Sequence[Release], current: int) -> list[Release]:
    """The good releases whose parts differ from what serves and are older than those, the newest first.

    A rollback to v40 makes v44; a rollback after that goes to v39, not back to what was rolled back from.
    """
    by_number = {release.number: release for release in releases}
    serving = by_number.get(current)
    if serving is None:
        return []
    origin = origin_of(serving, by_number)
    older = [one for one in releases if one.usable and one.number < origin and origin_of(one, by_number) != origin]
    return older[::-1]


def origin_of(release: Release, by_number: Mapping[int, Release]) -> int:
    """The number of the release whose parts this one carries; its own when they are new. That one may be gone."""
    while release.copies and release.copies in by_number:
        release = by_number[release.copies]
    return release.copies or release.number


def to_prune(releases: Sequence[Release], protected: set[int], keep: int) -> list[int]:
    """Good releases beyond the newest ``keep``, and dead ones beyond the newest KEPT_FAILURES records.

    ``protected`` (current, standby) is never among them, nor is the last known good one, nor one under way. Failed
    releases never use up the count, and neither do copies: ever so many reloads leave ``keep`` different releases.
    """
    keep = max(keep, 1)
    by_number = {release.number: release for release in releases}
    good = [release.number for release in releases if release.usable]
    dead = [release.number for release in releases if release.result in DEAD]
    newest = {origin_of(by_number[number], by_number): number for number in good}
    kept = {*good[-keep:], *sorted(newest.values())[-keep:], *dead[-KEPT_FAILURES:], *protected}
    return sorted({*good, *dead} - kept)


def used(releases: Iterable[Release], what: str) -> set[str]:
    """The keys of trees or virtual environments that releases with content name."""
    return {getattr(release, what) for release in releases if release.result not in DEAD} - {""}


def migrations_since(target: Sequence[str], current: Sequence[str]) -> list[str]:
    """Migration files that the current code has and the target's lacks. Both are lists of ``path digest``."""
    pattern = re.compile(r"(?:^|/)(?:migrations|versions)/[^/]+\.py ")
    missing = set(current) - set(target)
    return sorted(line.split(" ")[0] for line in missing if pattern.search(line) and "__init__.py" not in line)
