"""Files that stay from a sealed tree, as hard links: nothing of them is read, written or allocated.

Both trees are root's, and nobody else can write to a file of the one or to a directory of the other. A shared file's
owner, mode and time are never changed again: that would change it in every tree that has it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Callable

from deployer.host.build import bytecode
from deployer.host.system import ownership
from deployer.wire.tree.entry import Entry

NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)
"""The file has as many links as its file system allows, lies on another one, or on one without links (link(2))."""
_SHARED = ".deployer-shared"


class Missing(ValueError):
    """The base has lost files. ``paths`` names them: one, or all of a directory that is gone."""

    def __init__(self, paths: Sequence[str], error: OSError) -> None:
        super().__init__(f"the base does not have it any more ({error.strerror}): {paths[0]!r}")
        self.paths = tuple(paths)


def share(
    base: str,
    destination: str,
    kept: Iterable[Entry],
    shipped: Collection[str],
    *,
    modules: bool,
    link: Callable[[str, int, int], None] | None = None,
) -> set[str]:
    """Link the ``kept`` files of ``base`` into ``destination``, an empty directory; with ``modules`` the bytecode of
    those that are modules, but where one of the trees has a ``shipped`` file. Returns the directories made.

    What cannot be linked is copied, unless ``link`` does otherwise. Raises Missing, OSError.
    """
    link = link or link_or_copy
    made = {""}
    for directory, names in _by_directory(kept).items():
        _make(destination, directory, made)
        with contextlib.ExitStack() as opened:
            target = opened.enter_context(ownership.directory_below(Path(destination), directory))
            try:
                source = opened.enter_context(ownership.directory_below(Path(base), directory))
            except OSError as error:
                raise Missing([_join(directory, name) for name in names], error) from error
            for name in names:
                try:
                    link(name, source, target)
                except FileNotFoundError as error:
                    raise Missing([_join(directory, name)], error) from error
            if modules and _link_bytecode(source, target, directory, names, shipped, link):
                made.add(_join(directory, bytecode.CACHE))
    return made


def _by_directory(entries: Iterable[Entry]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        directory, _, name = entry.path.rpartition("/")
        found.setdefault(directory, []).append(name)
    return found


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _make(destination: str, directory: str, made: set[str]) -> None:
    """Make a directory, and those that it lies in."""
    if directory not in made:
        _make(destination, directory.rpartition("/")[0], made)
        os.mkdir(f"{destination}/{directory}", 0o700)
        os.chmod(f"{destination}/{directory}", 0o755)
        made.add(directory)


def link(name: str, source: int, target: int) -> None:
    """Link a file of the open directory ``source`` into ``target``. Raises OSError."""
    os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def link_or_copy(name: str, source: int, target: int) -> None:
    """The same; what cannot be linked is copied."""
    try:
        link(name, source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        _copy(name, source, target)


def _copy(name: str, source: int, target: int, new: str = "") -> None:
    """A file of its own with the same content, mode and time; a link with the same target."""
    if stat.S_ISLNK(os.lstat(name, dir_fd=source).st_mode):
        os.symlink(os.readlink(name, dir_fd=source), new or name, dir_fd=target)
        return
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if not stat.S_ISREG(os.lstat(name, dir_fd=source).st_mode):
        raise FileNotFoundError(errno.ENOENT, "it is no file", name)
    with os.fdopen(os.open(name, os.O_RDONLY | flags, dir_fd=source), "rb") as file:
        status = os.fstat(file.fileno())
        made = os.open(new or name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
        with os.fdopen(made, "wb") as copy:
            for piece in iter(lambda: file.read(1 << 20), b""):
                copy.write(piece)
            copy.flush()
            os.fchmod(copy.fileno(), status.st_mode & 0o755)
            os.utime(copy.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))


def share_equal(base: Path, tree: Path, paths: Iterable[str], compiled: Iterable[str]) -> None:
    """Replace files of ``tree``, which are root's, by links to those of ``base`` with the same content and mode, so
    that the bytecode of modules among them, ``compiled``, can be linked as well: it names its source by time and size.

    What cannot be linked stays as it is. Raises OSError.
    """
    for path in paths:
        _replace(f"{base}/{path}", f"{tree}/{path}")
    for path in compiled:
        cache = os.path.dirname(f"{tree}/{path}")
        if not os.path.lexists(cache):
            os.mkdir(cache)
            os.chmod(cache, 0o755)
        if not os.path.islink(cache):  # a build has put it there: root writes nothing where it leads to
            _replace(f"{base}/{path}", f"{tree}/{path}")


def _replace(source: str, target: str) -> None:
    draft = f"{os.path.dirname(target)}/{_SHARED}"
    try:
        os.link(source, draft, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        return
    os.rename(draft, target)


def copy_shared(tree: Path) -> None:
    """Replace each file that another tree has as well by a copy of its own. Raises OSError."""
    for directory, _, names in os.walk(str(tree)):
        with ownership.directory_below(Path(directory), "") as place:
            for name in names:
                status = os.lstat(name, dir_fd=place)
                if status.st_nlink > 1:
                    os.rename(name, _SHARED, src_dir_fd=place, dst_dir_fd=place)
                    _copy(_SHARED, place, place, name)
                    os.unlink(_SHARED, dir_fd=place)


def _link_bytecode(
    source: int,
    target: int,
    directory: str,
    names: Sequence[str],
    shipped: Collection[str],
    link: Callable[[str, int, int], None],
) -> bool:
    """Link the compiled form of modules. Whether a directory was made for it."""
    cache = _join(directory, bytecode.CACHE)
    modules = {name for name in names if name.endswith(".py")}
    if not modules or cache in shipped:
        return False
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), bytecode.cache_of(source) as compiled:
        found = bytecode.of_modules(os.listdir(compiled), modules)
        wanted = [name for name in found if f"{cache}/{name}" not in shipped]
        if not wanted:
            return False
        with bytecode.cache_of(target, make=True) as place:
            for name in wanted:
                link(name, compiled, place)
        return True
    return False
