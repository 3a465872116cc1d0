"""The release records of an app: which releases there are, which one serves, and which number comes next."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.host.errors import BadRequest, Damaged, HostError
from deployer.host.state.ledger import BEGUN, Ledger
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import Release
from deployer.host.system import files
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_MISSED, MOST_NUMBER, RELEASE, Exit
from deployer.wire.release.spec import Spec


@functools.lru_cache(maxsize=256)
def _parsed(text: bytes, number: int) -> Release:
    """The record in ``text``. A job reads all records several times: unchanged ones are parsed once."""
    return Release.parse(json.loads(text), number)


@dataclass(frozen=True)
class Catalog:
    """The records below ``releases/``. What serves is always read from the link ``current``, the only truth."""

    paths: AppPaths

    def numbers(self) -> list[int]:
        """The numbers of all releases, ascending."""
        names = (entry.name for entry in self.paths.releases.iterdir())
        return sorted(int(name[1:]) for name in names if RELEASE.fullmatch(name))

    def before(self, release: Release) -> Release | None:
        """The release that served before this one; None when none did, or when its record cannot be read."""
        with contextlib.suppress(Damaged):
            return self.find(release.previous) if release.previous else None
        return None

    def find(self, number: int) -> Release | None:
        """The record of a release; None when there is none. Raises Damaged."""
        try:
            return _parsed(self._record(number).read_bytes(), number)
        except FileNotFoundError:
            return None
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            raise Damaged(self._record(number)) from None

    def serving_name(self) -> str:
        """The name of the release that serves, for example ``v42``; empty when nothing serves."""
        number = self.current()
        return f"v{number}" if number else ""

    def serving(self) -> Release | None:
        """The release that serves; None when none does. Raises Damaged."""
        number = self.current()
        return self.find(number) if number else None

    def require_serving(self) -> Release:
        """The release that serves. Raises HostError (exit 2) when nothing is deployed yet, or its record is gone; and
        Damaged."""
        number = self.current()
        if not number:
            raise HostError(
                f"nothing of {self.paths.app} is deployed yet",
                exit=Exit.USAGE,
                state="nothing was touched",
                next=run("fab deploy"),
            )
        return self.get(number)

    def get(self, number: int) -> Release:
        """The record of a release. Raises HostError naming those that exist when there is no such release."""
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
        """Every release with a readable record, oldest first."""
        found = (self._readable(number) for number in self.numbers())
        return [release for release in found if release is not None]

    def _readable(self, number: int) -> Release | None:
        try:
            return self.find(number)
        except (Damaged, FileNotFoundError, NotADirectoryError):
            return None

    def under_way(self) -> Release:
        """The newest release whose phases are not finished. Raises HostError when there is none."""
        for release in reversed(self.all()):
            if release.unfinished:
                return release
        raise HostError(
            "no release is under way", exit=Exit.USAGE, state="nothing was touched", next=run("fab phase.upload")
        )

    def save(self, release: Release) -> Release:
        """Write a record durably. Raises OSError."""
        files.write_json(self._record(release.number), release.as_json(), 0o600)
        return release

    def next_number(self) -> int:
        """A number that was never used before."""
        return max(self._counted(self._counter), self.ledger.last_number(), *self.numbers(), 0) + 1

    def check_number(self, number: int) -> None:
        """Raises BadRequest for a number (0: none given) too far above this host's next one.

        Numbers only grow: an absurd one would stay with the app for ever.
        """
        least = self.next_number()
        if max(number, least) > min(least + MOST_MISSED, MOST_NUMBER):
            raise BadRequest(
                f"v{number or least} is no number for the next release: here that is v{least}",
                next=run("fab releases", "on every host: one of them counts differently"),
            )

    def refuse_if_taken(self, number: int) -> None:
        """Raises HostError (exit 4) when another command has used the number since the fleet chose it."""
        if number and number < self.next_number():
            raise HostError(
                f"busy: another command was quicker, and has made v{number} here",
                exit=Exit.BUSY,
                state="nothing was touched",
                next=run("fab deploy", "again"),
            )

    def create(self, kind: str, of: int, by: str, at: float, spec: Spec, number: int = 0) -> Release:
        """Create a release and its ledger entry.

        ``number`` is the one its fleet agreed on (0: the next). Raises HostError when another command has taken it,
        OSError.
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
        """The number of the release that serves; 0 when none does. Raises HostError when the link is not deployer's."""
        try:
            target = os.readlink(str(self.paths.current))
        except FileNotFoundError:
            return 0
        found = re.fullmatch(rf"releases/v([1-9][0-9]{{0,8}})(?:/{maintenance.DIRECTORY})?", target)
        if not found:
            raise HostError(
                f"{self.paths.current} leads to {target!r}, which deployer did not write",
                state="nothing was touched",
                next=do(f"check it; to start over: rm {self.paths.current}"),
            )
        return int(found.group(1))

    def point(self, number: int) -> None:
        """Have ``current`` lead to a release: the one rename that moves code and traffic together. In maintenance
        visitors go on getting the page. Raises TimeoutError, OSError."""
        with files.locked(self.paths.releases):
            on = maintenance.is_on(self.paths)
            files.point(self.paths.current, maintenance.target(self.paths, number, on=on))

    def set_maintenance(self, *, on: bool) -> int:
        """Begin or end maintenance, whichever release serves. Returns its number (0: none does, nothing was done).

        Under the same lock as :meth:`point`, so that neither undoes the other. Raises HostError, OSError.
        """
        with files.locked(self.paths.releases):
            number = self.current()
            if number and maintenance.is_on(self.paths) != on:
                files.point(self.paths.current, maintenance.target(self.paths, number, on=on))
        return number

    def _record(self, number: int) -> Path:
        return self.paths.release(number) / "release.json"
