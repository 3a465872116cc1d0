"""The compiled form of modules: of unchanged ones it is taken over from the tree before, so that only new ones are
compiled.

Root works in trees that a build has written or a laptop has shipped. Neither is trusted: no directory that is a link is
followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from deployer.host.build.command import run_build
from deployer.host.state.app import Context
from deployer.host.system import files, ownership
from deployer.wire.tree import LINK, Entry

CACHE = "__pycache__"
_COMPILED = re.compile(r"([^./]+)\.cpython-[0-9a-z.-]+\.pyc\Z")
_LARGEST = 8 * 1024 * 1024
"""Bytes; a larger file is compiled again."""
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def of_modules(names: Iterable[str], modules: Collection[str]) -> list[str]:
    """The names in a directory of bytecode that are the compiled form of modules (``app.py``)."""
    return [name for name in names if (found := _COMPILED.fullmatch(name)) and f"{found[1]}.py" in modules]


def python(venv: Path | None) -> str:
    """The program that compiles."""
    return str(venv / "bin/python") if venv else "/usr/bin/python3"


def carry(base: Path, tree: Path, before: Sequence[Entry], after: Sequence[Entry]) -> None:
    """Copy the compiled form of every module that is in both trees. It names its source by time and size, so that the
    sources' times are copied, too."""
    for directory, names in _by_directory(set(before) & set(after)).items():
        with (
            contextlib.suppress(OSError),
            ownership.directory_below(base, directory) as source,
            ownership.directory_below(tree, directory) as target,
        ):
            _copy_times(source, target, names)
            with cache_of(source) as compiled, cache_of(target, make=True) as cache:
                for name in of_modules(os.listdir(compiled), names):
                    _write(name, _read(name, compiled), cache, 0o644)


def add_missing(
    ctx: Context, tree: Path, entries: Sequence[Entry], venv: Path | None, environment: Mapping[str, str], limit: float
) -> None:
    """Have the deploy user compile the modules of a sealed tree that have no bytecode yet, in a directory of its own,
    and copy the results. What cannot be compiled stays as it is. Raises HostError, OSError."""
    modules = _by_directory(entries)
    missing = _missing(tree, modules)
    if not missing:
        return
    draft = tree.with_name(f".{tree.name}.bytecode{files.TEMPORARY}")
    files.remove_tree(draft)
    draft.mkdir(mode=0o700)
    try:
        paths = [f"{tree}/{directory}/{name}" for directory, names in missing.items() for name in sorted(names)]
        (draft / "list").write_bytes("".join(f"{path}\n" for path in paths).encode())
        (draft / "list").chmod(0o644)
        ownership.give(draft, *ctx.builder())
        all_of_them = 2 * len(paths) > sum(map(len, modules.values()))
        what = ["-j", "0", str(tree)] if all_of_them else ["-i", str(draft / "list")]
        argv = [python(venv), "-X", f"pycache_prefix={draft}/made", "-m", "compileall", "-q", *what]
        run_build(ctx, argv, draft, draft, environment, "", limit, venv)
        for directory, names in missing.items():
            _add(draft, f"made{tree}/{directory}".rstrip("/"), tree, directory, names)
    finally:
        files.remove_tree(draft)


def _by_directory(entries: Iterable[Entry]) -> dict[str, set[str]]:
    """The names of modules, by directory."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        if entry.path.endswith(".py") and entry.kind != LINK:
            directory, _, name = entry.path.rpartition("/")
            found.setdefault(directory, set()).add(name)
    return found


def _missing(tree: Path, modules: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The modules without a compiled form."""
    found = {}
    for directory, names in modules.items():
        compiled: list[str] = []
        with (
            contextlib.suppress(OSError),
            ownership.directory_below(tree, directory) as source,
            cache_of(source) as cache,
        ):
            compiled = os.listdir(cache)
        missing = names - {f"{name.partition('.')[0]}.py" for name in of_modules(compiled, names)}
        if missing:
            found[directory] = missing
    return found


def _add(draft: Path, made: str, tree: Path, directory: str, names: Collection[str]) -> None:
    """Copy what was compiled of the modules of a directory. Raises OSError for a full disk and its like only."""
    found = {}
    with contextlib.suppress(OSError), ownership.directory_below(draft, made) as source:  # else none could be compiled
        for name in of_modules(os.listdir(source), names):
            with contextlib.suppress(OSError):
                found[name] = _read(name, source)
    with ownership.directory_below(tree, directory) as target:
        try:
            with cache_of(target, make=True) as cache:
                for name, content in found.items():
                    _write(name, content, cache, 0o444)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # a file or a link was shipped in its place
                raise


@contextlib.contextmanager
def cache_of(directory: int, *, make: bool = False) -> Iterator[int]:
    """The directory of the bytecode of a directory's modules, opened. Raises OSError, also when it is a link."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(CACHE, 0o755, dir_fd=directory)
            os.chmod(CACHE, 0o755, dir_fd=directory)  # whatever the umask
    descriptor = os.open(CACHE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_times(source: int, target: int, names: Collection[str]) -> None:
    for name in names:
        status = os.lstat(name, dir_fd=source)
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _read(name: str, directory: int) -> bytes:
    """Bytecode; nothing when it is too large, or no regular file. Raises OSError."""
    with os.fdopen(os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory), "rb") as file:
        status = os.fstat(file.fileno())
        is_small = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST
        return file.read(_LARGEST) if is_small else b""


def _write(name: str, content: bytes, directory: int, mode: int) -> None:
    if not content:
        return
    with contextlib.suppress(FileExistsError):  # it was shipped
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode, dir_fd=directory)
        with os.fdopen(made, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
