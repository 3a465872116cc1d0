"""What git's attributes change of a commit's files, as the commit's own .gitattributes and this machine's say."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from deployer.project import git

IGNORE = "export-ignore"

_OFF = ("unset", "unspecified")
_HARMLESS = {IGNORE: _OFF, "export-subst": _OFF, "filter": _OFF, "ident": _OFF, "eol": (*_OFF, "lf"),
             "working-tree-encoding": ()}  # fmt: skip
"""The attributes that leave a file out or may change its content, and their values that do neither, where no setting
asks for other line ends than the blob's."""
_OWN_INDEX = ("-c", "core.splitIndex=false", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")
"""A temporary index is one file, and nothing of it is written into the repository."""


class Question(NamedTuple):
    """What git is asked: ``sources`` are mode and object of each .gitattributes of the commit, by path; ``told`` the
    paths, relative to the work tree, each with a NUL behind it. Those of directories and submodules end with a slash.
    """

    sources: Mapping[str, tuple[str, str]]
    told: bytes

    @classmethod
    def of(cls, sources: Mapping[str, tuple[str, str]], paths: Iterable[str]) -> Question:
        return cls(sources, "".join([f"{path}\0" for path in paths]).encode("utf-8", "surrogateescape"))


class Attributes(NamedTuple):
    """Those in effect at each path that has some which leave it out or may change its content; and git's answer, whole:
    it also depends on what this machine says of attributes."""

    found: Mapping[str, frozenset[str]]
    answer: bytes


def attributes_of(top: Path, question: Question) -> Attributes | None:
    """The attributes of some paths in a commit. None where git does not answer, or ambiguously."""
    with _asking(top, question.sources) as ask:
        status, answer = ask("check-attr", "--all", "--cached", "-z", "--stdin", told=question.told)
        if status != 0:
            return None
        found = parse(answer)
        if any(IGNORE in names for names in found.values()) and question.sources:
            # git prints ``set`` for export-ignore, which leaves a file out, and for export-ignore=set, which does not;
            # what somebody writes so into the attributes of their machine is taken as it was surely meant
            mentions = ("grep", "--cached", "-q", "-a", "-F", "--no-recurse-submodules", "-e", f"{IGNORE}=")
            if ask(*mentions)[0] != 1:
                return None
    return Attributes(found, answer)


def answer_of(top: Path, question: Question) -> bytes | None:
    """Only git's answer; None where it gives none."""
    with _asking(top, question.sources) as ask:
        status, answer = ask("check-attr", "--all", "--cached", "-z", "--stdin", told=question.told)
        return answer if status == 0 else None


class _Ask(Protocol):
    def __call__(self, *arguments: str, told: bytes = b"") -> tuple[int, bytes]: ...


@contextmanager
def _asking(top: Path, sources: Mapping[str, tuple[str, str]]) -> Iterator[_Ask]:
    """Asks git, its index being a temporary one of these files; what it returns are git's exit status and output."""
    with tempfile.TemporaryDirectory(prefix="deployer-") as scratch:
        index = {**git.environment(), "GIT_INDEX_FILE": f"{scratch}/index"}
        failed = 0

        def ask(*arguments: str, told: bytes = b"") -> tuple[int, bytes]:
            argv = git.command([*_OWN_INDEX, *arguments])
            done = subprocess.run(argv, cwd=top, env=index, input=told, capture_output=True)
            return failed or done.returncode, done.stdout

        if sources:
            lines = "".join([f"{mode} {name}\t{path}\0" for path, (mode, name) in sources.items()])
            failed, _ = ask("update-index", "-z", "--index-info", told=lines.encode("utf-8", "surrogateescape"))
        yield ask


def parse(answer: bytes) -> dict[str, frozenset[str]]:
    """What an answer says of paths with attributes that leave them out or may change their content."""
    found: dict[str, set[str]] = {}
    for path, name, value in _triples(answer):
        if name in _HARMLESS and value not in _HARMLESS[name] and (name != IGNORE or value == "set"):
            found.setdefault(path, set()).add(name)
    return {path: frozenset(names) for path, names in found.items()}


def _triples(answer: bytes) -> Iterator[tuple[str, str, str]]:
    fields = iter(answer.decode("utf-8", "surrogateescape").split("\0"))
    return zip(fields, fields, fields, strict=False)
