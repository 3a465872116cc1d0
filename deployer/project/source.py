"""Which files ship: a git commit, or the working tree; with the files that ``include`` names besides.

A source is read once, into a temporary file: what is hashed is what is sent, whatever happens on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.commit.checkout import add_commit, missing_submodule
from deployer.project.commit.contents import Contents
from deployer.project.files import Collection, included, plain_files
from deployer.project.filters import listed, refuse_raw
from deployer.wire.advice import do
from deployer.wire.alongside import alongside
from deployer.wire.lazydata import dataclass
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import LINK, Entry, directories_of

T = TypeVar("T")
OWN_FILES = frozenset({"deploy.toml", "fabfile.py", "fabric.yaml"})
"""Needed where a deploy is typed, not on the hosts: nobody is warned when they do not ship."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of a release.

    ``commit`` is what they come from (empty outside git), ``ref`` how the user named it (empty for a working
    tree); ``dirty`` says that they may differ from the commit. ``warnings`` are for the user, one line each.
    """

    root: Path
    entries: Entries
    commit: str = ""
    ref: str = ""
    dirty: bool = False
    warnings: tuple[str, ...] = ()
    contents: Contents = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """What stands for all its files."""
        return self.entries.digest

    def find(self, path: str) -> Entry | None:
        """The entry at a path, or None."""
        return self.entries.find(path)

    def open(self, entry: Entry) -> BinaryIO:
        """A stream over a file's content (of a link: its target's text). Any number may be open at once.

        Raises ConfigError when it is still in git, and git cannot give it.
        """
        return self.contents.open(entry)

    def fetch(self, entries: Iterable[Entry]) -> None:
        """Have contents at hand that will be opened: quicker than one after the other. Raises what ``open`` does."""
        self.contents.fetch(entries)

    def read_text(self, path: str) -> str | None:
        """A file's text; None when there is no such file. Raises ConfigError when it is not UTF-8."""
        entry = self.find(path)
        if entry is None or entry.kind == LINK:
            return None
        try:
            return self.open(entry).read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(message=f"{path} is not UTF-8 text") from None


def collect(
    root: Path,
    *,
    ref: str | None = None,
    dirty: bool = False,
    include: Sequence[str] = (),
    env_file: Path | None = None,
    submodules: bool = True,
) -> Source:
    """What a deploy asks for: a commit (no ``ref``: HEAD, and the tree must be clean), or the working tree.

    ``env_file`` is relative to ``root``; ``submodules`` ship as well, unless it is False. Raises ConfigError for a
    dirty tree, a bad ref or pattern, what cannot ship, and an ``env_file`` that would.
    """
    if dirty and ref is not None:
        raise ConfigError(message="--dirty ships the working tree and --ref a commit: choose one")
    new: tuple[str, ...] = ()
    if dirty:
        source = from_working_tree(root, include=include, submodules=submodules)
    elif ref is not None:
        source = from_git(root, ref, include=include, submodules=submodules)
    else:
        clean = alongside(lambda: require_clean(root), "git status")  # git looks at every file of the tree
        try:
            source = from_git(root, include=include, submodules=submodules)
        finally:
            new = clean().untracked  # what is wrong with the tree is told first
    refuse_env_file(source, env_file)
    return replace(source, warnings=(*source.warnings, *untracked_warnings(source, new)))


def from_git(root: Path, ref: str = "HEAD", *, include: Sequence[str] = (), submodules: bool = True) -> Source:
    """The files of a commit as a checkout would have them, less those under ``export-ignore``; and what ``include``
    names besides."""
    commit = git.resolve(root, ref)
    collection = Collection(root)
    warnings = add_commit(collection, root, commit, submodules=submodules)
    add_included(collection, root, include)
    return finish(collection, root, commit=commit, ref=ref, dirty=False, warnings=warnings)


def from_working_tree(root: Path, *, include: Sequence[str] = (), submodules: bool = True) -> Source:
    """The files on the disk: outside git all but common junk, in git all that git does not ignore."""
    if not git.is_repository(root):
        return from_directory(root, include)
    collection = Collection(root)
    warnings = add_tree(collection, root, submodules=submodules)
    add_included(collection, root, include)
    return finish(collection, root, commit=git.head(root), dirty=True, warnings=warnings)


def add_tree(collection: Collection, root: Path, *, below: str = "", submodules: bool) -> list[str]:
    """Add what a work tree has and git does not ignore, and the submodules in it; warnings. Raises ConfigError."""
    warnings, sparse = [], []
    for known in git.files(root):
        path = f"{below}{known.path}"
        if known.submodule:
            if submodules and collection.is_directory(path):
                if not os.path.lexists(collection.root / path / ".git"):
                    raise missing_submodule(path)
                warnings += add_tree(collection, root / known.path, below=f"{path}/", submodules=True)
        elif not known.tracked and collection.is_directory(path):
            warnings.append(f"{path.rstrip('/')} is another git repository, and no submodule: its files do not ship")
        elif collection.exists(path):
            collection.add_path(path)
        elif known.sparse:
            sparse.append(path)
    if sparse:
        raise ConfigError(
            message=f"these files are not checked out (a sparse checkout): {listed(sparse)}",
            state="nothing was touched",
            next=do("git sparse-checkout disable, then deploy with --dirty again; or deploy the commit"),
        )
    return warnings


def from_directory(root: Path, include: Sequence[str]) -> Source:
    """All files of a directory that is in no git repository, but common junk; a warning says so."""
    collection = Collection(root)
    paths = plain_files(root)
    if any(Path(path).name == ".gitignore" for path in paths):
        ignored = git.ignored(root)
        paths = [path for path in paths if path not in ignored]
    for inner in repositories(root, paths):
        known = {f"{inner}/{one.path}" for one in git.files(root / inner)}
        paths = [path for path in paths if path in known or not path.startswith(f"{inner}/")]
    for path in paths:
        collection.add_path(path)
    add_included(collection, root, include)
    warning = (
        f"{root} is not in a git repository: all its {len(paths)} files ship, except what a .gitignore names, virtual "
        "environments, caches, node_modules, .env files and SQLite databases"
    )
    return finish(collection, root, commit="", dirty=True, warnings=[warning])


def repositories(root: Path, paths: Iterable[str]) -> list[str]:
    """The directories with a repository of their own, among those that hold the paths; the inner ones first."""
    return sorted((parent for parent in directories_of(paths) if os.path.lexists(root / parent / ".git")), reverse=True)


def add_included(collection: Collection, root: Path, patterns: Iterable[str]) -> None:
    """Add the files that the patterns name; those that are in already stay as they are."""
    for path in included(root, patterns):
        if path not in collection:
            collection.add_path(path)


def finish(
    collection: Collection, root: Path, *, commit: str, dirty: bool, warnings: Sequence[str], ref: str = ""
) -> Source:
    """The finished source. Raises ConfigError when there is nothing to ship, names exclude each other, or what would
    ship is not the content."""
    entries = collection.entries()
    refuse_raw(collection.raw)
    return Source(
        root=root,
        entries=entries,
        commit=commit,
        ref=ref,
        dirty=dirty,
        warnings=tuple(warnings),
        contents=collection.contents,
    )


def require_clean(root: Path) -> git.Changes:
    """What is new in the tree. Raises ConfigError naming the tracked files that differ from HEAD."""
    git.require_repository(root)
    changes = git.changes(root)
    changed = changes.tracked
    if not changed or not git.head(root):
        return changes
    raise ConfigError(
        message=f"these files differ from the last commit: {listed(changed)}",
        state="nothing was touched",
        next=do("commit them, or deploy with --dirty to ship the files as they are"),
    )


def refuse_env_file(source: Source, env_file: Path | None) -> None:
    """Raises ConfigError when the file that holds the secrets is among those that would ship."""
    if env_file is None:
        return
    root = Path(os.path.normpath(source.root.absolute()))
    named = Path(os.path.normpath(root / env_file))
    for path in (named, named.resolve()):
        for base in (root, root.resolve()):
            inside = path.relative_to(base).as_posix() if path.is_relative_to(base) else ""
            if inside and source.find(inside):
                raise ConfigError(
                    message=f"{inside} holds the secrets of env_file, and it would ship with the code",
                    state="nothing was touched",
                    next=do(f"git rm --cached {inside}, add it to .gitignore, and change the secrets in it"),
                )


def untracked_warnings(source: Source, untracked: Sequence[str]) -> list[str]:
    """One line that names files which git does not know and which do not ship, if there are any."""
    if not untracked:
        return []
    paths = source.entries.paths
    ships = {*paths, *OWN_FILES, *(f"{directory}/" for directory in directories_of(paths))}
    missing = [path for path in untracked if path not in ships]
    return [f"not tracked by git, so they do not ship: {listed(missing)}"] if missing else []
