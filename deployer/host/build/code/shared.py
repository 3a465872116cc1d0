"""Paths of the code that lie in the app's state directory instead: links in the tree, and what they lead to.

The links are root's, like all of a sealed tree: the app writes behind them, and can change no code. What was committed
at such a path is kept beside them (SEEDS), and is what a directory begins with.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import runner
from deployer.wire.advice import do, run
from deployer.wire.release.shared import SEEDS, Shared

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY)
_MAKE = """
import os, shutil, sys
os.umask(0o077)
for target, seed in zip(sys.argv[1::2], sys.argv[2::2]):
    os.makedirs(target, 0o700, exist_ok=True)
    draft = os.path.join(target, ".deployer-new")
    shutil.rmtree(draft, ignore_errors=True)
    if not seed or os.listdir(target):
        continue
    shutil.copytree(seed, draft, symlinks=True)
    for top, _, names in os.walk(draft):
        for path, bits in [(top, 0o700), *((os.path.join(top, name), 0o600) for name in names)]:
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & 0o777 | bits)
    for name in os.listdir(draft):
        os.rename(os.path.join(draft, name), os.path.join(target, name))
    os.rmdir(draft)
"""
"""Makes directories, and fills those that are empty from the code. It runs as the app's user: nothing that the app may
have put in the way is followed as root. The draft is in the directory, for files to get the permissions that it hands
on."""


def prepare(tree: Path, shared: Sequence[Shared]) -> None:
    """Make the directories that the tree lacks, for the build commands to find. Only root has written to it so far.

    Raises HostError where a part of a path is no directory.
    """
    for one in shared:
        with _parent(tree, one) as (directory, name):
            if one.directory and not _mode(directory, name):
                os.mkdir(name, 0o755, dir_fd=directory)
                os.chmod(name, 0o755, dir_fd=directory)


def link(tree: Path, state: Path, shared: Sequence[Shared]) -> list[str]:
    """Put the links in the place of what was committed or built there. Nobody but root can write to the tree any more.
    Returns the paths at which, or below which, something has changed.

    Raises HostError for a file that is to be a directory, or the reverse.
    """
    for one in shared:
        with _parent(tree, one) as (directory, name):
            _clear(tree, one, directory, name)
            os.symlink(str(state / one.target), name, dir_fd=directory)
    return [*(one.path for one in shared), *([SEEDS] if shared else [])]


def _clear(tree: Path, one: Shared, directory: int, name: str) -> None:
    """Move away a directory's content, and remove a file: a database that was committed serves nobody."""
    mode = _mode(directory, name)
    if mode and not stat.S_ISLNK(mode) and stat.S_ISDIR(mode) != one.directory:
        is_one = "a directory" if stat.S_ISDIR(mode) else "a file"
        wanted = one.path if one.directory else f"{one.path}/"
        raise HostError(
            f"{one.path} is {is_one} in the code, and [release] shared in deploy.toml names {one.key}",
            next=do(f'write "{wanted}" there, or another path') + run("fab deploy"),
        )
    if stat.S_ISDIR(mode):
        with _parent(tree, Shared(f"{SEEDS}/{one.target}", one.target, directory=True)) as (seeds, seed):
            os.rename(name, seed, src_dir_fd=directory, dst_dir_fd=seeds)
    elif mode:
        os.unlink(name, dir_fd=directory)


def provide(ctx: Context, release: Release) -> str:
    """Make what the links lead to, for the app to write; told for people, empty when all was there. Raises HostError.

    A directory that is empty begins with what was committed there.
    """
    wanted: dict[Path, str] = {}
    for one in release.spec.shared:
        target = ctx.paths.state / one.target
        seed = ctx.trees.path(release.tree) / SEEDS / one.target
        place = target if one.directory else target.parent
        wanted[place] = str(seed) if one.directory and seed.is_dir() else wanted.get(place, "")
    missing = {place: seed for place, seed in wanted.items() if not _is_filled(place, seed)}
    if not missing:
        return ""
    words = [word for place, seed in missing.items() for word in (str(place), seed)]
    done = runner.run(["/usr/bin/python3", "-I", "-c", _MAKE, *words], timeout=3600, user=ctx.app)
    if not done.ok:
        raise HostError(
            f"what [release] shared keeps below {ctx.paths.state} cannot be made",
            logs=done.tail(),
            next=do(f"on the host, as root: ls -l {ctx.paths.state}   (a file or a link may be in the way)")
            + run("fab deploy"),
        )
    return f", {', '.join(str(place.relative_to(ctx.paths.state)) for place in missing)} made"


def _is_filled(place: Path, seed: str) -> bool:
    """Whether a directory is there, and holds something where it begins with something. Only looks."""
    try:
        return bool(os.listdir(str(place))) if seed else place.is_dir()
    except OSError:
        return False


@contextlib.contextmanager
def _parent(tree: Path, one: Shared) -> Iterator[tuple[int, str]]:
    """The directory of a path, opened, and the last part of its name; missing directories are made, no link is
    followed. Raises HostError."""
    *parents, name = one.path.split("/")
    directory = os.open(str(tree), _DIRECTORY)
    try:
        for parent in parents:
            if not _mode(directory, parent):
                os.mkdir(parent, 0o755, dir_fd=directory)
                os.chmod(parent, 0o755, dir_fd=directory)
            inner = os.open(parent, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory, name
    except OSError as error:
        if error.errno not in _IN_THE_WAY:  # a full disk, for example, is no matter of this key
            raise
        raise HostError(
            f"{one.key}, which [release] shared in deploy.toml names, cannot be kept outside the code: "
            f"{error.filename}: {error.strerror}",
            next=do("name a path there whose directories are in the code, and no links") + run("fab deploy"),
        ) from None
    finally:
        os.close(directory)


def _mode(directory: int, name: str) -> int:
    """The type and mode of an entry, of a link its own; 0 when there is none."""
    try:
        return os.lstat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return 0
