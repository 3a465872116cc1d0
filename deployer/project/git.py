"""What git says about a project. Only this module and ``commit/`` run git, by argument lists, never by a shell line.

git's own failure is never taken for an answer: it is told with git's own words.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deployer.errors import ConfigError
from deployer.wire import advice
from deployer.wire.lazydata import dataclass

LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
         "GIT_NAMESPACE")  # fmt: skip
"""Set inside git's own hooks; they would name another repository than the project's."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Paths in the project: ``tracked`` ones differ from the commit, others are new (``dir/``: all in it)."""

    tracked: tuple[str, ...]
    untracked: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Known:
    """A path that is tracked, or is neither tracked nor ignored (``dir/``: a repository inside this one).

    ``sparse``: it is tracked, but not checked out on purpose. ``link``: it is tracked, as a symbolic
    link.
    """

    path: str
    tracked: bool
    submodule: bool = False
    sparse: bool = False
    link: bool = False


def run(root: Path, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git in the project. Raises ConfigError when there is no git program, or no such directory."""
    try:
        return subprocess.run(command(arguments), cwd=root, env=environment(), capture_output=True, input=input)
    except FileNotFoundError:
        raise no_program(root) from None


def ask(root: Path, *arguments: str, input: bytes = b"") -> bytes:
    """What git answers. Raises ConfigError with git's words when it fails."""
    done = run(root, *arguments, input=input)
    if done.returncode != 0:
        raise refused(root, done.stderr)
    return done.stdout


def command(arguments: Sequence[str]) -> list[str]:
    """The argument list: file names as they are, and all else as the user has set it."""
    return ["git", "-c", "core.quotePath=false", *arguments]


def environment() -> dict[str, str]:
    """This process's environment without what would point git at another repository, or keep content away."""
    return {
        **{key: value for key, value in os.environ.items() if key not in (*LOCAL, "GIT_LFS_SKIP_SMUDGE")},
        "GIT_OPTIONAL_LOCKS": "0",
    }


def no_program(root: Path) -> ConfigError:
    """Why git could not be started."""
    if not root.is_dir():
        return ConfigError(message=f"{root} is not a directory")
    if marker := dot_git(root):
        message = f"{marker} is a git repository, and the git program is not installed here"
        return ConfigError(message=f"{message}: what ships is not known", next=advice.do("install git"))
    return ConfigError(
        message="the git program is not installed here", next=advice.do("install git, or deploy with --dirty")
    )


def refused(root: Path, stderr: bytes) -> ConfigError:
    """git's own words about a repository that it does not read."""
    said = stderr.decode(errors="replace").strip() or "git said nothing"
    return ConfigError(
        message=f"git does not read the repository of {root}: {said}",
        state="nothing was touched",
        next=lfs_advice(said) or advice.run("git status", "must work here first: git says above what it lacks"),
    )


def lfs_advice(stderr: str) -> advice.Next:
    """What to type where a filter of Git LFS is set up and its program is not there; else nothing."""
    if "git-lfs" not in stderr or shutil.which("git-lfs") is not None:
        return advice.NOTHING
    return advice.run("apt-get install git-lfs", "it is not installed here") + advice.run("git lfs pull")


def last_words(stderr: bytes) -> str:
    """The last line that git printed about its failure."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "git said nothing"


def dot_git(root: Path) -> Path | None:
    """The ``.git`` of the project or of a directory above it; None when there is none."""
    here = root.absolute()
    return next((place / ".git" for place in (here, *here.parents) if os.path.lexists(place / ".git")), None)


def is_repository(root: Path) -> bool:
    """Whether the project lies in a git work tree.

    Raises ConfigError when there is a ``.git`` and git does not read it: what is ignored is then not known.
    """
    if dot_git(root) is None and shutil.which("git") is None:
        return False
    answer = run(root, "rev-parse", "--is-inside-work-tree")
    if answer.stdout.strip() == b"true":
        return True
    if dot_git(root) is not None:
        raise refused(root, answer.stderr or b"it is no work tree")
    return False


def require_repository(root: Path) -> None:
    """Raises ConfigError, saying what to do, when the project does not lie in a git work tree."""
    answer = run(root, "rev-parse", "--is-inside-work-tree")
    if answer.stdout.strip() == b"true":
        return
    if dot_git(root) is not None:
        raise refused(root, answer.stderr or b"it is no work tree")
    raise ConfigError(
        message=f"{root} is not in a git repository ({last_words(answer.stderr)})",
        state="nothing was touched",
        next=advice.run("git init && git add . && git commit") + advice.run("fab deploy --dirty", "ships it as it is"),
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
        raise ConfigError(
            message=f"{root} has no commit yet",
            next=advice.run("git add . && git commit") + advice.run("fab deploy --dirty"),
        )
    raise ConfigError(message=f"{ref!r} is not a commit, branch or tag of {root}{nearest(ref, names(root))}")


def head(root: Path) -> str:
    """The commit that is checked out; empty when there is none yet."""
    return run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").stdout.decode().strip()


def names(root: Path) -> list[str]:
    """The names of all branches and tags."""
    answer = run(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    return answer.stdout.decode(errors="replace").split()


def nearest(ref: str, known: Sequence[str]) -> str:
    """``; did you mean …?``, or nothing when no name is like it."""
    close = difflib.get_close_matches(ref, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def files(root: Path) -> list[Known]:
    """The tracked files, and those neither tracked nor ignored, by path."""
    tracked = ask(root, "ls-files", "-z", "-t", "--stage", "--cached")
    new = ask(root, "ls-files", "-z", "--others", "--exclude-standard")
    found = {}
    for line in tracked.split(b"\0"):
        about, _, path = line.partition(b"\t")
        if path:
            tag, mode, *_ = about.split()
            found[path] = Known(
                path=os.fsdecode(path),
                tracked=True,
                submodule=mode == b"160000",
                sparse=tag == b"S",
                link=mode == b"120000",
            )
    for path in filter(None, new.split(b"\0")):
        found[path] = Known(path=os.fsdecode(path), tracked=False)
    return [found[path] for path in sorted(found)]


def ignored(root: Path) -> frozenset[str]:
    """What the .gitignore files of a directory in no repository, and the user's own, leave out. Raises ConfigError."""
    with tempfile.TemporaryDirectory(prefix="deployer-") as scratch:
        ask(root, "init", "--quiet", "--bare", scratch)
        listing = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard"]
        found = ask(root, f"--git-dir={scratch}", "--work-tree=.", *listing)
    return frozenset(os.fsdecode(path) for path in found.split(b"\0") if path)


def changes(root: Path) -> Changes:
    """What ``git status`` says of the project's directory, under the user's own settings."""
    _, prefix = place(root)
    listing = ask(root, "status", "--porcelain=v2", "-z", "--no-renames", "--", ".")
    found = [_change(os.fsdecode(line)) for line in listing.split(b"\0") if line and not line.startswith(b"#")]
    inside = [(tracked, path.removeprefix(prefix)) for tracked, path in found]
    return Changes(
        tracked=tuple(path for tracked, path in inside if tracked),
        untracked=tuple(path for tracked, path in inside if not tracked),
    )


def _change(line: str) -> tuple[bool, str]:
    """Whether a tracked path differs, and which. A submodule with nothing but new files of its own does not."""
    if line[0] in "?!":
        return False, line[2:]
    fields = line.split(" ", 10 if line[0] == "u" else 8)
    only_new = fields[1] == ".M" and fields[2] == "S..U"
    return not only_new, fields[-1] + ("/ (new files in it)" if only_new else "")


def place(root: Path) -> tuple[Path, str]:
    """The work tree that the project lies in, and its directory there, with a slash at the end (empty: all of it).

    Only at the top of it git applies all .gitattributes.
    """
    top, _, below = os.fsdecode(ask(root, "rev-parse", "--show-toplevel", "--show-prefix")).partition("\n")
    return Path(top), below.rstrip("\n")
