"""What git says about a project. Only this module runs git, by argument lists, never by a shell line."""

from __future__ import annotations

import difflib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from deployer.errors import ConfigError

LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
"""Set inside git's own hooks; they would name another repository than the project's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Paths in the project: ``tracked`` ones differ from the commit, others are new (``dir/``: all in it)."""

    tracked: tuple[str, ...]
    untracked: tuple[str, ...]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in the project. Raises ConfigError when there is no git program, or no such directory."""
    try:
        return subprocess.run(command(arguments), cwd=root, env=environment(), capture_output=True)
    except FileNotFoundError:
        raise no_program(root) from None


def command(arguments: Sequence[str]) -> list[str]:
    """The argument list: file names as they are, and contents as they are in the commit."""
    return ["git", "-c", "core.quotePath=false", "-c", "core.autocrlf=false", *arguments]


def environment() -> dict[str, str]:
    """This process's environment without what would point git at another repository."""
    return {
        **{key: value for key, value in os.environ.items() if key not in LOCAL},
        "GIT_OPTIONAL_LOCKS": "0",
    }


def no_program(root: Path) -> ConfigError:
    """Why git could not be started."""
    if not root.is_dir():
        return ConfigError(message=f"{root} is not a directory")
    return ConfigError(message="the git program is not installed here", next="install git, or deploy with --dirty")


def last_words(stderr: bytes) -> str:
    """The last line that git printed about its failure."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "git said nothing"


def is_repository(root: Path) -> bool:
    """Whether the project lies in a git work tree (False as well when git is not installed)."""
    try:
        return run(root, "rev-parse", "--is-inside-work-tree").stdout.strip() == b"true"
    except ConfigError:
        return False


def require_repository(root: Path) -> None:
    """Raises ConfigError, saying what to do, when the project does not lie in a git work tree."""
    answer = run(root, "rev-parse", "--is-inside-work-tree")
    if answer.stdout.strip() != b"true":
        raise ConfigError(
            message=f"{root} is not in a git repository ({last_words(answer.stderr)})",
            state="nothing was touched",
            next="git init && git add . && git commit, or deploy with --dirty to ship the directory as it is",
        )


def resolve(root: Path, ref: str) -> str:
    """The commit (40 or 64 hex digits) that ``ref`` names.

    Raises ConfigError with the nearest branches and tags when it names none. It is never taken for an option.
    """
    require_repository(root)
    if ref and not ref.startswith("-") and "\0" not in ref:
        answer = run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{commit}")
        if answer.returncode == 0:
            return answer.stdout.decode().split()[-1]
    if ref == "HEAD":
        raise ConfigError(message=f"{root} has no commit yet", next="git add . && git commit, or deploy with --dirty")
    raise ConfigError(message=f"{ref!r} is not a commit, branch or tag of {root}{nearest(ref, names(root))}")


def names(root: Path) -> list[str]:
    """The names of all branches and tags."""
    answer = run(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    return answer.stdout.decode(errors="replace").split()


def nearest(ref: str, known: Sequence[str]) -> str:
    """``; did you mean …?``, or nothing when no name is like it."""
    close = difflib.get_close_matches(ref, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def submodules(root: Path, commit: str) -> list[str]:
    """The paths of the submodules below the project in a commit."""
    listing = run(root, "ls-tree", "-r", "-z", commit).stdout
    return [os.fsdecode(line.partition(b"\t")[2]) for line in listing.split(b"\0") if line.startswith(b"160000 ")]


def files(root: Path) -> list[str]:
    """The tracked files, and those neither tracked nor ignored; ``dir/`` for a repository inside this one."""
    listing = run(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    return sorted({os.fsdecode(name) for name in listing.split(b"\0") if name})


def changes(root: Path) -> Changes:
    """What differs from the commit that is checked out, in the project's directory."""
    prefix = os.fsdecode(run(root, "rev-parse", "--show-prefix").stdout.rstrip(b"\n"))
    listing = run(root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal", "--", ".").stdout
    lines = [os.fsdecode(line) for line in listing.split(b"\0") if line]
    found = [(line[:2], line[3:].removeprefix(prefix)) for line in lines]
    return Changes(
        tracked=tuple(path for state, path in found if state != "??"),
        untracked=tuple(path for state, path in found if state == "??"),
    )


@contextmanager
def archive(root: Path, commit: str) -> Iterator[IO[bytes]]:
    """The project's files of a commit as a tar stream, less those that ``export-ignore`` leaves out.

    Raises ConfigError when git fails, for example because the commit does not have the project's directory.
    """
    with tempfile.TemporaryFile() as stderr:
        arguments = command(["-c", "tar.umask=0022", "archive", "--format=tar", commit])
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": stderr, "stdin": subprocess.DEVNULL}
        with subprocess.Popen(arguments, cwd=root, env=environment(), **streams) as process:
            stdout = cast(IO[bytes], process.stdout)
            yield stdout
            while stdout.read(1 << 16):
                pass
        if process.returncode != 0:
            stderr.seek(0)
            raise ConfigError(
                message=f"git cannot give the files of {commit[:12]} in {root}: {last_words(stderr.read())}"
            )
