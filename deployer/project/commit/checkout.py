"""What a checkout of a commit has, submodules with their own: from git's objects where that is the same, else archived.

``git archive`` is the measure. It converts and streams every file, so it is asked for no more than has to be
converted: any other content is its blob's, and a blob whose digest is known from an earlier time is not read at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.commit import earlier
from deployer.project.commit.archive import add_archive, archive, undefined_filters
from deployer.project.commit.blobs import Blobs
from deployer.project.commit.digests import Digests
from deployer.project.commit.listing import EXECUTABLE_MODE, LINK_MODE, Listing, Place, listing, place_of
from deployer.project.files import Collection, linked_parent
from deployer.project.filters import filter_warning
from deployer.project.spool import Spool
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass

_FEW, _SMALL = 100, 1 << 20
"""What is known of all blobs is written when one in so many is new, or so many bytes are."""
_MOST_CONVERTED, _MOST_BYTES = 500, 60_000
"""Files that are named to ``git archive`` one by one, and the bytes of their names; beyond that it gives all files."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The files of one repository; the submodules among them, by path, with their commits; and the files that may have
    a filter, by their paths in the repository's own project."""

    files: Collection
    submodules: Mapping[str, str]
    filtered: Sequence[str]


def add_commit(collection: Collection, root: Path, commit: str, *, below: str = "", submodules: bool) -> list[str]:
    """Add what a commit has, and the submodules in it, under ``below``; warnings. Raises ConfigError."""
    part = read_commit(root, commit, below, collection.contents.spool)
    collection.add_all(part.files)
    undefined = undefined_filters(root, commit, part.filtered) if part.filtered else {}
    warnings = [filter_warning(name, paths) for name, paths in undefined.items()]
    for path, inner in part.submodules.items() if submodules else ():
        if linked_parent(root, path) or not has_commit(root / path, inner):
            raise missing_submodule(f"{below}{path}")
        warnings += add_commit(collection, root / path, inner, below=f"{below}{path}/", submodules=True)
    return warnings


def read_commit(root: Path, commit: str, below: str, spool: Spool) -> Part:
    """What a commit has. What is wrong with it, git's own archive says: that is asked for when anything fails."""
    try:
        part = from_objects(root, commit, below, spool)
    except ConfigError:
        part = None
    return part or from_archive(root, commit, below, spool)


def from_archive(root: Path, commit: str, below: str, spool: Spool) -> Part:
    """All files by way of ``git archive``. Raises ConfigError."""
    files = Collection(root, spool)
    with archive(root, commit) as (prefix, stream):
        directories = add_archive(files, stream, prefix, below)
    submodules = submodules_of(root, commit)
    shipped = {path: inner for path, inner in submodules.items() if f"{below}{path}" in directories}
    return Part(files=files, submodules=shipped, filtered=[path.removeprefix(below) for path in files])


def from_objects(root: Path, commit: str, below: str, spool: Spool) -> Part | None:
    """The same files from git's objects; None where only ``git archive`` can tell.

    Raises ConfigError when git fails, or a file cannot ship.
    """
    place = place_of(root)
    known = earlier.recall(place) if place is not None and not below else None
    if place is not None and known is not None:
        files = Collection(root, spool)
        if earlier.add_changed(files, place, commit, known):
            return Part(files=files, submodules={}, filtered=[])
    return None if place is None else _from_listing(root, place, commit, below, spool)


def _from_listing(root: Path, place: Place, commit: str, below: str, spool: Spool) -> Part | None:
    found = listing(place, commit)
    converted = None if found is None else _converted(root, place, commit, below, found, spool)
    if found is None or converted is None:
        return None
    digests, blobs, files = Digests(place.top / place.below), Blobs(place.top, spool), Collection(root, spool)
    known = digests.load()
    plain = [file for file in found.files if file.path not in found.converted]
    read = blobs.read(file.name for file in plain if file.mode == LINK_MODE or file.name not in known)
    used = {file.name: read.get(file.name) or known[file.name] for file in plain}
    for path in found.converted:
        files.add_from(converted, below + path)
    for path, mode, name in plain:
        if mode == LINK_MODE:
            files.add_link(below + path, blobs.open(name).read().decode("utf-8", "surrogateescape"))
    names = {below + file.path: file.name for file in plain if file.mode != LINK_MODE}
    files.add_blobs(blobs, names, used, {below + file.path for file in plain if file.mode == EXECUTABLE_MODE})
    blobs.rest()
    new = [one for name, one in read.items() if name not in known]
    if _FEW * len(new) > len(used) or sum(one.size for one in new) > _SMALL:  # else they are as soon read again
        digests.save(used, known)
    if found.plain and not files.raw and not below and len(found.files) >= earlier.WORTH:
        earlier.remember(place, commit, found.question, found.answer, files.entries())
    return Part(files=files, submodules={one.path: one.name for one in found.submodules}, filtered=found.filtered)


def _converted(root: Path, place: Place, commit: str, below: str, found: Listing, spool: Spool) -> Collection | None:
    """The files whose content git has to convert; None when they are too many to be named, or it does not give all."""
    names = sorted(found.converted)
    files = Collection(root, spool)
    if len(names) > _MOST_CONVERTED or sum(len(place.below) + len(os.fsencode(name)) for name in names) > _MOST_BYTES:
        return None
    if names:
        with archive(root, commit, names) as (prefix, stream):
            add_archive(files, stream, prefix, below)
    return files if set(files) == {below + name for name in names} else None


def submodules_of(root: Path, commit: str) -> dict[str, str]:
    """The submodules below the project in a commit: by path, the commit of their own that it records."""
    found = {}
    for line in git.ask(root, "ls-tree", "-r", "-z", commit).split(b"\0"):
        about, _, path = line.partition(b"\t")
        if about.startswith(b"160000 "):
            found[os.fsdecode(path)] = about.split()[2].decode()
    return found


def has_commit(root: Path, commit: str) -> bool:
    """Whether a directory is a repository of its own that has this commit. Raises ConfigError when git refuses it."""
    if not os.path.lexists(root / ".git") or root.is_symlink() or not git.is_repository(root):
        return False
    return git.run(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def missing_submodule(path: str) -> ConfigError:
    """A submodule whose recorded commit is not on this machine."""
    return ConfigError(
        message=f"{path} is a submodule, and the commit that is recorded for it is not on this machine",
        state="nothing was touched",
        next=run("git submodule update --init --recursive")
        + do("or leave them out: submodules = false under [release]"),
    )
