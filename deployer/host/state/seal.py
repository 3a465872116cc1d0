"""The seal of a release: digests of all its parts, taken when it is complete, compared before it gets traffic."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.content.damage import compare_content
from deployer.host.state.content.listing import Listing
from deployer.host.state.content.store import Store
from deployer.host.state.releases import Release
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass

CODE = 1
"""The part of a release that is its code, as :func:`compare` counts them."""
_FILES = ("env", "env.json", "secret.json", "sources.json")


def take(ctx: Context, release: Release, units: list[str]) -> dict[str, Any]:
    """The digests of the release's parts as they are now. Raises OSError when one is missing."""
    return {
        "tree": _sums(ctx.trees.record(release.tree)),
        "venv": _sums(ctx.venvs.record(release.venv)) if release.venv else "",
        "files": {name: _digest(ctx.paths.release(release.number) / name) for name in _FILES},
        "units": {name: _digest(ctx.paths.units / name) for name in units},
    }


@dataclass(frozen=True)
class Trust:
    """Which content is what was sealed as long as its file system says so, and is not read again: what ``serving``
    serves, and what was ``built`` (keys) just now. Of other content, the files that it shares with what serves."""

    serving: Release | None = None
    built: Collection[str] = ()

    def suspect(self, store: Store, key: str, recorded: Mapping[bytes, bytes]) -> Collection[bytes]:
        """The paths of those files of content that are read again, whatever is ``recorded`` of them."""
        serving = list(self._serving(store))
        if key in self.built or key in serving:
            return ()
        suspect: Collection[bytes] = recorded.keys()
        for other in map(store.seen, serving):
            suspect = [path for path in suspect if other.get(path) != recorded[path]]
        return suspect

    def _serving(self, store: Store) -> Iterator[str]:
        for key in {self.serving.tree, self.serving.venv} - {""} if self.serving is not None else ():
            record = store.record(key)
            if record is not None and not record.get("damaged"):
                yield key


NOTHING_TRUSTED = Trust()


@dataclass(frozen=True)
class Damage:
    """What differs from a seal: ``text`` is for people; of content also in which ``store``, under what ``key``, and the
    ``paths`` below it, where it is these."""

    text: str
    store: Store | None = None
    key: str = ""
    paths: Sequence[bytes] = ()


Read = list[tuple[Store, str, Mapping[bytes, bytes]]]
"""Content of which the file system says something else than is recorded, and what: see :meth:`Store.remember`."""


class _Content:
    """The code or the environment of a release, compared with its ``digest`` in the seal while it is listed."""

    def __init__(self, store: Store, key: str, digest: str, listing: Listing) -> None:
        self._store, self._key, self._digest, self._listing = store, key, digest, listing
        self._recorded: Mapping[bytes, bytes] = {}
        self._suspect: Collection[bytes] = ()

    def prepare(self, trust: Trust) -> None:
        """Read what is recorded of the files, and decide which are read again."""
        self._recorded = self._store.seen(self._key)
        self._suspect = trust.suspect(self._store, self._key, self._recorded)

    def damage(self, read: Read) -> Damage | None:
        """What differs from the seal; see :func:`compare`."""
        store, key = self._store, self._key
        if _sums(store.record(key)) != self._digest:
            return Damage(f"{store.path(key)} (another one was built in its place)", store, key)
        found = compare_content(store, key, self._recorded, self._suspect, self._listing)
        if found.damage:
            return Damage(found.damage, store, key, found.paths)
        if found.seen is not None:
            read.append((store, key, found.seen))
        return None


def compare(ctx: Context, release: Release, trust: Trust, read: Read) -> Generator[Damage | None, None, None]:
    """Compare a release with its seal, part by part: its own files and units, its code, its environment. Of each part
    what differs. Reads the files of code and environment, but for those that it may trust; adds to ``read`` what it had
    to. Raises OSError.

    Code and environment are listed at the same time, from the start. Close the generator to end that early.

    An unfinished rollback has rewritten a release's units; :mod:`deployer.host.recovery.recovery` relies on seeing
    that.
    """
    if release.sealed is None:
        yield Damage(f"{release.name} was never sealed")
        return
    with contextlib.ExitStack() as begun:
        parts = [
            _Content(store, key, digest, begun.enter_context(store.begin_listing(key))) if key else None
            for store, key, digest in (
                (ctx.trees, release.tree, release.sealed["tree"]),
                (ctx.venvs, release.venv, release.sealed["venv"]),
            )
        ]
        directory = ctx.paths.release(release.number)
        changed = _changed(directory, release.sealed["files"]) or _changed(ctx.paths.units, release.sealed["units"])
        yield Damage(changed) if changed else None
        for part in parts:
            if part is not None:
                part.prepare(trust)  # while find runs
        for part in parts:
            yield part.damage(read) if part is not None else None


def known_damage(ctx: Context, release: Release) -> str:
    """The damage of a release that is known without reading every file, for people; empty when there is none.

    Damage to code or virtual environment is known once ``fab doctor``, or a release that shares them, has found it.
    """
    for store, key, what in ((ctx.trees, release.tree, "code"), (ctx.venvs, release.venv, "virtual environment")):
        record = store.record(key) if key else {}
        if record is None:
            return f"its {what} is gone from the host"
        if record.get("damaged"):
            return f"its {what} is damaged: {record['damaged']}"
    sealed = release.sealed or {"files": {}}
    changed = _changed(ctx.paths.release(release.number), sealed["files"])
    return f"{changed} has changed" if changed else ""


def refuse_changed_environment(ctx: Context, release: Release) -> None:
    """Raises HostError when the environment that another release is to take over has changed."""
    changed = _changed(ctx.paths.release(release.number), release.sealed["files"]) if release.sealed else ""
    if changed:
        raise HostError(
            f"{release.name} has been changed: the digest of {changed} differs",
            state="nothing was touched",
            next=run("fab deploy") + run("fab releases", "shows the other releases") + do("check the disk, too"),
        )


def _changed(parent: Path, digests: dict[str, str]) -> str:
    paths = (parent / name for name, digest in digests.items() if _found(parent / name) != digest)
    return str(next(paths, ""))


def _sums(record: dict[str, Any] | None) -> str:
    return str((record or {}).get("sums", ""))


def _found(path: Path) -> str:
    try:
        return _digest(path)
    except OSError:
        return ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
