"""The files of a commit as ``git archive`` has them, by the names of their blobs; and those that attributes change."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from deployer.project import git
from deployer.project.commit.attributes import IGNORE, Attributes, Question, attributes_of
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.tree.entry import directories_of

EXECUTABLE_MODE, LINK_MODE, SUBMODULE_MODE = "100755", "120000", "160000"
MODES = frozenset({"100644", "100664", EXECUTABLE_MODE, LINK_MODE, SUBMODULE_MODE})
SOURCE = ".gitattributes"

_ABOVE_ASCII = bytes(range(128, 256))
_DOT_GIT = tuple(pattern(rb"%s(?<=[\t/\\]%s)[. ]*[\0\\/:]" % (name, name)) for name in (rb"\.git", rb"git~1"))
_DOTS = tuple(pattern(before + rest) for before in (rb"\t", rb"/") for rest in (rb"[\0/]", rb"\.\.?[\0/]"))
"""Each pattern begins with what can be looked for quickly: all of a listing is searched."""
_LINKED_MODULES = pattern(rb"(?:^|\0)120000 [^\0]*[\t/\\](?:\.gitm|gitmod~|gi7e)")


class Listed(NamedTuple):
    """A file, link or submodule: its path, its mode in git's digits, and its object's name."""

    path: str
    mode: str
    name: str


class Place(NamedTuple):
    """Where a project is: the work tree, and its directory in it, which is empty or ends with a slash."""

    top: Path
    below: str

    @property
    def asked(self) -> list[str]:
        """What git is to list: all of a commit, or the project's directory with the attributes above it."""
        above = [f"{directory}/{SOURCE}" for directory in directories_of([self.below.rstrip("/")])]
        return ["--", self.below, SOURCE, *above] if self.below else []


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a commit has of a project, in git's order, less what ``export-ignore`` leaves out; paths in the project.

    ``converted`` are the files whose content may not be their blob's; ``filtered`` the files and links that have a
    filter. ``plain``: there are no submodules, and nothing has attributes that would convert a file. The rest is what
    git was asked about attributes, and its answer.
    """

    files: Sequence[Listed]
    submodules: Sequence[Listed]
    converted: frozenset[str]
    filtered: Sequence[str]
    plain: bool
    question: Question = field(repr=False)
    answer: bytes = field(repr=False)


def place_of(root: Path) -> Place | None:
    """Where a project is; None where only ``git archive`` can tell what a commit of it has. Raises ConfigError when git
    fails."""
    replacements = os.environ.get("GIT_REPLACE_REF_BASE", "refs/replace/")
    asked = git.ask(root, "rev-parse", "--show-toplevel", "--show-prefix", f"--glob={replacements}")
    where, below, *replaced = os.fsdecode(asked).split("\n")
    if replaced != [""]:  # an object's name does not say what it holds
        return None
    return Place(Path(where), below)


def listing(place: Place, commit: str) -> Listing | None:
    """The files of a commit; None where only ``git archive`` can tell. Raises ConfigError when git fails."""
    top, below = place
    tree = git.ask(top, "--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, *place.asked)
    if refused(tree):
        return None
    entries = list(_entries(tree))
    found = [entry for entry in entries if entry.path.startswith(below)]
    known = {entry.mode for entry in found} <= MODES
    if not found or not known or len({entry.path for entry in found}) != len(found):
        return None
    directories = directories_of(entry.path for entry in found)
    sources = {entry.path: entry[1:] for entry in entries if entry.path.rpartition("/")[2] == SOURCE}
    question = Question.of(sources, (*(f"{directory}/" for directory in directories), *map(_asked_as, found)))
    attributes = attributes_of(top, question)
    return None if attributes is None else _listing(below, found, question, attributes)


def refused(tree: bytes) -> bool:
    """Whether a listing of ``git ls-tree -z`` has names that git does not archive, or names rather like those."""
    plain = tree.translate(None, _ABOVE_ASCII).lower()
    odd = any(one.search(tree) for one in _DOTS) or any(one.search(plain) for one in _DOT_GIT)
    return odd or bool(b"120000 " in tree and _LINKED_MODULES.search(plain))


def _entries(tree: bytes) -> Iterator[Listed]:
    for line in tree.decode("utf-8", "surrogateescape").split("\0"):
        about, _, path = line.partition("\t")
        if path:
            yield Listed(path, about[:6], about.rpartition(" ")[2])


def _asked_as(entry: Listed) -> str:
    """The path as ``git archive`` asks for its attributes."""
    return f"{entry.path}/" if entry.mode == SUBMODULE_MODE else entry.path


def _listing(below: str, found: Sequence[Listed], question: Question, answered: Attributes) -> Listing:
    attributes, answer = answered
    ignored = {path for path, names in attributes.items() if IGNORE in names}
    kept = [entry for entry in found if not ignored or not _ignored(entry, ignored)]
    changed = [entry for entry in kept if entry.path in attributes and entry.mode != SUBMODULE_MODE]
    inside = [entry._replace(path=entry.path[len(below) :]) for entry in kept] if below else kept
    return Listing(
        files=[entry for entry in inside if entry.mode != SUBMODULE_MODE],
        submodules=[entry for entry in inside if entry.mode == SUBMODULE_MODE],
        converted=frozenset(entry.path[len(below) :] for entry in changed if entry.mode != LINK_MODE),
        filtered=[entry.path[len(below) :] for entry in changed if "filter" in attributes[entry.path]],
        plain=not changed and all(entry.mode != SUBMODULE_MODE for entry in kept),
        question=question,
        answer=answer,
    )


def _ignored(entry: Listed, ignored: set[str]) -> bool:
    """Whether a path or a directory that it is in is left out."""
    return _asked_as(entry) in ignored or any(f"{parent}/" in ignored for parent in directories_of([entry.path]))
