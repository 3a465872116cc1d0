"""What git's attributes change of a commit's files, as the commit's own .gitattributes and this machine's say."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deployer.project import git

IGNORE = "export-ignore"

_OFF = ("unset", "unspecified")
_HARMLESS = {IGNORE: _OFF, "export-subst": _OFF, "filter": _OFF, "ident": _OFF, "eol": (*_OFF, "lf"),
             "working-tree-encoding": ()}  # fmt: skip
"""The attributes that leave a file out or may change its content, and their values that do neither, where no setting
asks for other line ends than the blob's."""
_OWN_INDEX = ("-c", "core.splitIndex=false", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")
"""A temporary index is one file, and nothing of it is written into the repository."""


def attributes_of(
    top: Path, sources: Mapping[str, tuple[str, str]], paths: Iterable[str]
) -> dict[str, frozenset[str]] | None:
    """The attributes in effect at each path that has some which leave it out or may change its content.

    ``sources`` are mode and object of each .gitattributes of the commit, by path; paths are relative to ``top``, and
    those of directories and submodules end with a slash. None where git does not answer, or ambiguously.
    """
    with tempfile.TemporaryDirectory(prefix="deployer-") as scratch:
        index = {**git.environment(), "GIT_INDEX_FILE": f"{scratch}/index"}

        def ask(*arguments: str, told: Iterable[str] = ()) -> tuple[int, bytes]:
            given = "".join(f"{one}\0" for one in told).encode("utf-8", "surrogateescape")
            argv = git.command([*_OWN_INDEX, *arguments])
            done = subprocess.run(argv, cwd=top, env=index, input=given, capture_output=True)
            return done.returncode, done.stdout

        if sources:
            lines = (f"{mode} {name}\t{path}" for path, (mode, name) in sources.items())
            if ask("update-index", "-z", "--index-info", told=lines)[0] != 0:
                return None
        status, answer = ask("check-attr", "--all", "--cached", "-z", "--stdin", told=paths)
        if status != 0:
            return None
        found = _parse(answer)
        if any(IGNORE in names for names in found.values()) and sources:
            # git prints ``set`` for export-ignore, which leaves a file out, and for export-ignore=set, which does not;
            # what somebody writes so into the attributes of their machine is taken as it was surely meant
            mentions = ("grep", "--cached", "-q", "-a", "-F", "--no-recurse-submodules", "-e", f"{IGNORE}=")
            if ask(*mentions)[0] != 1:
                return None
    return found


def _parse(answer: bytes) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for path, name, value in _triples(answer):
        if name in _HARMLESS and value not in _HARMLESS[name] and (name != IGNORE or value == "set"):
            found.setdefault(path, set()).add(name)
    return {path: frozenset(names) for path, names in found.items()}


def _triples(answer: bytes) -> Iterator[tuple[str, str, str]]:
    fields = iter(answer.decode("utf-8", "surrogateescape").split("\0"))
    return zip(fields, fields, fields, strict=False)
