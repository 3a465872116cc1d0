"""What ``git archive`` gives of a commit: content through git's own filters and attributes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.files import Collection
from deployer.wire.advice import do, run

PLAIN_ENDS = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "tar.umask=0022")
"""A commit's text ships with the line ends it was committed with, whatever this machine likes; attributes still say."""
LFS = (("filter.lfs.process", "git-lfs filter-process"), ("filter.lfs.required", "true"))


def add_archive(collection: Collection, stream: object, prefix: str, below: str) -> set[str]:
    """Add what a tar stream holds, ``below`` in place of ``prefix``; its directories.

    A stream that ends too early is left to git's exit status.
    """
    directories = set()
    try:
        with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[call-overload]
            for member in archive:
                path = below + member.name.removeprefix(prefix)
                if member.isdir():
                    if member.name.startswith(prefix):
                        directories.add(path)
                else:
                    add_member(collection, archive, member, path)
    except tarfile.TarError:
        pass
    return directories


def add_member(collection: Collection, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    """Add one file or link of a tar stream; directories come by themselves."""
    if member.issym():
        collection.add_link(path, member.linkname)
    elif member.isreg():
        content = cast(IO[bytes], archive.extractfile(member))
        collection.add_file(path, content, executable=bool(member.mode & 0o100))


def undefined_filters(root: Path, commit: str, paths: Sequence[str]) -> dict[str, list[str]]:
    """The paths of a commit under a ``filter=`` that this machine does not have, by the filter's name."""
    mentions = ["grep", "-q", "-F", "-e", "filter=", commit, "--", ":(top,glob)**/.gitattributes"]
    if git.run(root, *mentions).returncode != 0:
        return {}
    config = git.run(root, "config", "--name-only", "--get-regexp", r"^filter\.").stdout.decode(errors="replace")
    known = {line.split(".", 1)[1].rpartition(".")[0] for line in config.splitlines()}
    found: dict[str, list[str]] = {}
    for path, name in _filters(root, commit, paths):
        if name not in (*known, "lfs", "unspecified", "unset", "set"):
            found.setdefault(name, []).append(path)
    return found


def _filters(root: Path, commit: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each path with its ``filter`` attribute, as the commit's own .gitattributes have it."""
    with tempfile.TemporaryDirectory(prefix="deployer-") as scratch:
        index = {**git.environment(), "GIT_INDEX_FILE": f"{scratch}/index"}
        subprocess.run(git.command(["read-tree", commit]), cwd=root, env=index, check=False, capture_output=True)
        listed = b"\0".join(os.fsencode(path) for path in paths)
        argv = git.command(["check-attr", "-z", "--stdin", "--cached", "filter"])
        answer = subprocess.run(argv, cwd=root, env=index, input=listed, capture_output=True)
    fields = answer.stdout.split(b"\0")
    for at in range(0, len(fields) - 2, 3):
        yield os.fsdecode(fields[at]), fields[at + 2].decode(errors="replace")


@contextmanager
def archive(root: Path, commit: str, only: Sequence[str] = ()) -> Iterator[tuple[str, IO[bytes]]]:
    """The project's files of a commit as a tar stream, less those that ``export-ignore`` leaves out.

    ``only`` names the files that are wanted, by their paths in the project; without it all are. Beside the stream, what
    all names in it begin with. Content has gone through git's filters and attributes, as in a checkout.
    Raises ConfigError when git fails, for example because the commit does not have the project's directory.
    """
    top, below = git.place(root)
    settings = [*PLAIN_ENDS, *_lfs(root)]
    with tempfile.TemporaryFile() as stderr:
        paths = [f"{below}{path}" for path in only] or ([below] if below else [])
        arguments = git.command([*settings, "archive", "--format=tar", commit, *(["--", *paths] if paths else [])])
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": stderr, "stdin": subprocess.DEVNULL}
        literal = {**git.environment(), "GIT_LITERAL_PATHSPECS": "1"}
        with subprocess.Popen(arguments, cwd=top, env=literal, **streams) as process:
            stdout = cast(IO[bytes], process.stdout)
            yield below, stdout
            while stdout.read(1 << 16):
                pass
        if process.returncode != 0:
            stderr.seek(0)
            said = stderr.read().decode(errors="replace").strip().splitlines()[-6:]
            raise ConfigError(
                message=f"git cannot give the files of {commit[:12]} in {root}: {' / '.join(said)}",
                state="nothing was touched",
                next=git.lfs_advice(" ".join(said))
                or do("put right what git says") + run("git lfs pull", "where it is about a file of Git LFS"),
            )


def _lfs(root: Path) -> list[str]:
    """Settings that have Git LFS bring the content, where it is installed and only ``git lfs install`` was left out."""
    if shutil.which("git-lfs") is None or git.run(root, "config", "--get", "filter.lfs.process").returncode == 0:
        return []
    return [word for key, value in LFS for word in ("-c", f"{key}={value}")]
