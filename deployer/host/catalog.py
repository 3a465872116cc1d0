"""The releases of an app on this host: their records, which one serves, and which may go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deployer.host import files
from deployer.host.errors import HostError
from deployer.host.paths import AppPaths
from deployer.host.protocol import Exit
from deployer.host.spec import Spec

PREPARING, READY, SERVED, GOOD, FAILED, ROLLED_BACK = (
    "preparing",
    "ready",
    "served",
    "good",
    "failed",
    "rolled back",
)
"""What became of a release: being made; healthy, without traffic; switched to, watched; kept; refused; taken back."""

KEPT_FAILURES = 20
"""Records (not content) of failed releases that are kept to be read."""


@dataclass(frozen=True)
class Release:
    """A release's record. ``of`` is the number whose code it carries (0: its own), ``previous`` what served before it.

    ``same`` says that it carries all else of that one, too: a reload that changed nothing.
    ``at`` and ``switched`` are seconds since the epoch; ``phase`` is the last phase that ended well.
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

    @property
    def name(self) -> str:
        return f"v{self.number}"

    @property
    def copies(self) -> int:
        """The release all of whose parts it carries; 0 when some are its own."""
        return self.of if self.same or self.kind == "rollback" else 0

    @property
    def usable(self) -> bool:
        """It has served well, or is about to: what a rollback may go to."""
        return self.result == GOOD

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "spec": self.spec.as_json()}

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Release:
        return cls(**{**value, "spec": Spec.parse(value["spec"])})


@dataclass(frozen=True)
class Catalog:
    """The records below ``releases/``. ``current`` is always read from the link: it alone is the truth."""

    paths: AppPaths

    def numbers(self) -> list[int]:
        names = (entry.name for entry in self.paths.releases.iterdir())
        return sorted(int(name[1:]) for name in names if re.fullmatch(r"v[1-9][0-9]*", name))

    def find(self, number: int) -> Release | None:
        value = files.read_json(self._record(number))
        return Release.parse(value) if value else None

    def get(self, number: int) -> Release:
        """Raises HostError naming the releases there are when there is no such release."""
        release = self.find(number)
        if release is None:
            there = ", ".join(f"v{other}" for other in self.numbers()) or "none"
            raise HostError(
                f"there is no release v{number} of {self.paths.app}; there are: {there}",
                exit=Exit.USAGE,
                state="nothing was touched",
                next="fab releases",
            )
        return release

    def all(self) -> list[Release]:
        """Every release that has a record, oldest first."""
        found = (self.find(number) for number in self.numbers())
        return [release for release in found if release is not None]

    def under_way(self) -> Release:
        """The newest release whose phases are not over. Raises HostError when there is none."""
        for release in reversed(self.all()):
            if release.result in (PREPARING, READY, SERVED):
                return release
        raise HostError(
            "no release is under way", exit=Exit.USAGE, state="nothing was touched", next="fab phase.upload"
        )

    def save(self, release: Release) -> Release:
        files.write_json(self._record(release.number), release.as_json(), 0o600)
        return release

    def create(self, kind: str, of: int, by: str, at: float, spec: Spec) -> Release:
        """A new release under a number that was never used before."""
        counter = self.paths.private / "last-release"
        last = int(counter.read_text()) if counter.exists() else 0
        number = max([last, *self.numbers()]) + 1
        files.write_file(counter, f"{number}\n".encode(), 0o600)
        directory = self.paths.release(number)
        files.make_directory(directory, 0o755)
        files.make_directory(directory / "run", 0o755)
        return self.save(Release(number=number, kind=kind, of=of, by=by, at=at, spec=spec))

    def update(self, release: Release, **changes: Any) -> Release:
        return self.save(replace(release, **changes))

    def current(self) -> int:
        """The number of the release that serves; 0 when none does."""
        try:
            target = os.readlink(str(self.paths.current))
        except FileNotFoundError:
            return 0
        found = re.fullmatch(r"releases/v([1-9][0-9]*)", target)
        if not found:
            raise HostError(
                f"{self.paths.current} leads to {target!r}, which deployer did not write",
                state="nothing was touched",
                next=f"look at it; to start afresh: rm {self.paths.current}",
            )
        return int(found.group(1))

    def _record(self, number: int) -> Path:
        return self.paths.release(number) / "release.json"


def rollback_target(releases: Sequence[Release], current: int) -> Release | None:
    """The newest good release whose parts differ from what serves and are older than those.

    A rollback to v40 makes v44; a rollback after that goes to v39, not back to what was rolled back from.
    """
    by_number = {release.number: release for release in releases}
    serving = by_number.get(current)
    if serving is None:
        return None
    origin = origin_of(serving, by_number)
    older = [one for one in releases if one.usable and one.number < origin and origin_of(one, by_number) != origin]
    return older[-1] if older else None


def origin_of(release: Release, by_number: Mapping[int, Release]) -> int:
    """The number of the release whose parts this one carries; its own when they are new. That one may be gone."""
    while release.copies and release.copies in by_number:
        release = by_number[release.copies]
    return release.copies or release.number


def to_prune(releases: Sequence[Release], protected: set[int], keep: int) -> list[int]:
    """Good releases beyond the newest ``keep``, and dead ones beyond the newest KEPT_FAILURES records.

    ``protected`` (current, standby) is never among them, failed releases never use up the count, and neither do
    copies: ever so many reloads leave ``keep`` different releases to go back to.
    """
    by_number = {release.number: release for release in releases}
    good = [release.number for release in releases if release.usable]
    dead = [release.number for release in releases if not release.usable]
    newest = {origin_of(by_number[number], by_number): number for number in good}
    kept = {*good[-keep:], *sorted(newest.values())[-keep:], *dead[-KEPT_FAILURES:], *protected}
    return sorted({*good, *dead} - kept)


def used(releases: Iterable[Release], what: str) -> set[str]:
    """The keys of trees or virtual environments that releases with content name."""
    return {getattr(release, what) for release in releases if release.result not in (FAILED, ROLLED_BACK)} - {""}


def migrations_since(target: Sequence[str], current: Sequence[str]) -> list[str]:
    """Migration files that the current code has and the target's lacks. Both are lists of ``path digest``."""
    pattern = re.compile(r"(?:^|/)(?:migrations|versions)/[^/]+\.py ")
    missing = set(current) - set(target)
    return sorted(line.split(" ")[0] for line in missing if pattern.search(line) and "__init__.py" not in line)
