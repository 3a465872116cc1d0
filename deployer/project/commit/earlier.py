"""What a commit has, by what was read of an earlier one: git tells what differs between the two.

Of a large project that takes a fraction of the time in which all of it is listed. It is done where all that ships are
blobs as they are, and where git says of the attributes at the paths of the earlier commit what it said then, word for
word: those of this machine count, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from deployer.project import git
from deployer.project.cache import Cache, cache_directory, name_of
from deployer.project.commit.attributes import Question, answer_of, parse
from deployer.project.commit.blobs import Blobs, Known
from deployer.project.commit.listing import EXECUTABLE_MODE, LINK_MODE, MODES, SOURCE, SUBMODULE_MODE, Place, refused
from deployer.project.files import Collection
from deployer.project.filters import CONTENT
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import directories_of

WORTH = 1000
"""Files: of fewer, all are listed in the same time."""
_MOST = 500
"""Changes beyond which all is listed."""
_FEW = 50
"""Files whose blobs are asked of git by their paths."""
_MANY, _LARGE = 20, 1 << 20
"""Changes, and bytes in them, beyond which a commit takes the place of the earlier one: they are not read again."""
_LARGEST = 200 << 20
"""Bytes of a record: those of a million files."""
_CACHE, _VERSION = "commits", 1
_GONE = "000000"
_NAMES = ("utf-8", "surrogateescape")


class Change(NamedTuple):
    """What a later commit has at a path: mode and object; ``new`` when the earlier one has nothing there."""

    path: str
    mode: str
    name: str
    new: bool


class Earlier(NamedTuple):
    """A commit that was read: what git was asked about its attributes, its answer's length and digest, what ships."""

    commit: str
    question: Question
    length: int
    answer: str
    entries: Entries


def remember(place: Place, commit: str, question: Question, answer: bytes, entries: Entries) -> None:
    """Keep what was read of a commit, for those that come after it."""
    ids = b"".join(entries.ids)
    head = {
        "version": _VERSION,
        "commit": commit,
        "sources": question.sources,
        "length": len(answer),
        "answer": hashlib.sha256(answer).hexdigest(),
        "parts": [len(question.told), len(ids)],
    }
    Cache(cache_directory(_CACHE)).save(
        name_of(place.top / place.below), b"\n".join([json.dumps(head).encode(), question.told + ids + entries.text])
    )


def recall(place: Place) -> Earlier | None:
    """What was kept last of a project; None when there is nothing, or another version has kept it."""
    head, _, rest = Cache(cache_directory(_CACHE)).load(name_of(place.top / place.below), _LARGEST).partition(b"\n")
    known = json.loads(head) if head else {}
    if known.get("version") != _VERSION:
        return None
    told, ids = known["parts"]
    sources = {path: (mode, name) for path, (mode, name) in known["sources"].items()}
    entries = Entries.parse(rest[told + ids :], rest[told : told + ids])
    return Earlier(known["commit"], Question(sources, rest[:told]), known["length"], known["answer"], entries)


def add_changed(files: Collection, place: Place, commit: str, earlier: Earlier) -> bool:
    """Add to ``files``, which has none, what a commit has. False where that cannot be told by what differs from an
    earlier one; what was added is of no use then. Raises ConfigError when git fails, or a file cannot ship."""
    changes = changes_between(place, earlier.commit, commit)
    if changes is None:
        return False
    new = Question.of({}, _asked_as_well(place, [one.path for one in changes if one.new]))
    question = Question(earlier.question.sources, earlier.question.told + new.told)
    answer = answer_of(place.top, question)
    if answer is None or hashlib.sha256(answer[: earlier.length]).hexdigest() != earlier.answer:
        return False
    if parse(answer[earlier.length :]):
        return False
    blobs = Blobs(place.top, files.contents.spool)
    # What the earlier commit has, and did not ship, is left out by its attributes
    kept = [one for one in changes if one.new or earlier.entries.find(one.path)]
    known = blobs.read(one.name for one in kept if one.mode != _GONE)
    if any(one.raw != CONTENT for one in known.values()):
        return False
    files.begin(earlier.entries.but(earlier.entries.places(one.path for one in kept)))
    files.contents.add_later(blobs, lambda paths: _blobs_at(place, commit, paths))
    _add(files, blobs, [one for one in kept if one.mode != _GONE], known)
    if len(kept) > _MANY or sum(one.size for one in known.values()) > _LARGE:
        remember(place, commit, question, answer, files.entries())
    return True


def _add(files: Collection, blobs: Blobs, changes: Sequence[Change], known: Mapping[str, Known]) -> None:
    for path, _, name, _ in (one for one in changes if one.mode == LINK_MODE):
        files.add_link(path, blobs.open(name).read().decode("utf-8", "surrogateescape"))
    names = {one.path: one.name for one in changes if one.mode != LINK_MODE}
    files.add_blobs(blobs, names, known, {one.path for one in changes if one.mode == EXECUTABLE_MODE})
    blobs.rest()


def changes_between(place: Place, earlier: str, later: str) -> list[Change] | None:
    """What two commits of a project do not have in common, in git's order; paths in the project. None where it is too
    much, git does not know, or it changes the attributes of files, a submodule, or what only ``git archive`` can
    tell."""
    asked = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none", "--full-index")
    done = git.run(place.top, "--literal-pathspecs", *asked, earlier, later, *place.asked)
    fields = done.stdout.decode(*_NAMES).split("\0")[:-1]
    if done.returncode != 0 or len(fields) > 2 * _MOST:
        return None
    found, lines = [], b""
    for about, path in zip(fields[::2], fields[1::2], strict=True):
        before, after, _, name, status = about.removeprefix(":").split(" ")
        allowed = {before, after} - {_GONE} <= MODES - {SUBMODULE_MODE}
        if not allowed or not path.startswith(place.below) or path.rpartition("/")[2] == SOURCE:
            return None
        lines += f"{after} blob {name}\t{path}\0".encode(*_NAMES)
        found.append(Change(path[len(place.below) :], after, name, status == "A"))
    return None if refused(lines) else found


def _asked_as_well(place: Place, paths: Sequence[str]) -> Iterator[str]:
    whole = [place.below + path for path in paths]
    yield from (f"{directory}/" for directory in directories_of(whole))
    yield from whole


def _blobs_at(place: Place, commit: str, paths: Sequence[str]) -> dict[str, str]:
    """The blobs of a commit at some paths, and where these are more than a few, at all."""
    asked = ["--", *(place.below + path for path in paths)] if len(paths) <= _FEW else place.asked
    tree = git.ask(place.top, "--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, *asked)
    lines = (line.partition("\t") for line in tree.decode(*_NAMES).split("\0")[:-1])
    return {path[len(place.below) :]: about.rpartition(" ")[2] for about, _, path in lines}
