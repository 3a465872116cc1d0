"""The compiled form of modules. The deploy user compiles those that have none; that of unchanged modules is linked from
the tree before (:mod:`deployer.host.build.hardlinks`).

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
from deployer.wire.lazyre import pattern

CACHE = "__pycache__"
_COMPILED = pattern(r"([^./]+)\.cpython-[0-9a-z.-]+\.pyc\Z")
_COMPILED_PATH = pattern(rb"((?:.*/)?)__pycache__/([^./]+)\.cpython-[0-9a-z.-]+\.pyc", re.DOTALL)
_LARGEST = 8 * 1024 * 1024
"""Bytes; a larger file is compiled again."""
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
COMPILE = """
import compileall, os, sys
made, what = sys.argv[1:]
os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = made
if os.path.isdir(what):
    compileall.compile_dir(what, quiet=1, workers=0)
else:
    with open(what, encoding="utf-8") as places:
        for place in places:
            compileall.compile_file(place.rstrip("\\n"), quiet=1)
"""
"""Compiles all modules below a directory, or those that a file lists, into the directory ``made``.

``-X pycache_prefix=`` would have Python compile what it imports itself, too: 43 modules of its own library. The
variable is for the other processes of ``compile_dir``, which know nothing of this one since Python 3.12: they come from
a fork server (compileall.py).
"""


def of_modules(names: Iterable[str], modules: Collection[str]) -> list[str]:
    """The names in a directory of bytecode that are the compiled form of modules (``app.py``)."""
    return [name for name in names if (found := _COMPILED.fullmatch(name)) and f"{found[1]}.py" in modules]


def module_of(path: bytes) -> bytes:
    """The path of the module whose bytecode is at a path; empty when it is no bytecode."""
    found = _COMPILED_PATH.fullmatch(path)
    return b"%s%s.py" % (found[1], found[2]) if found else b""


def python(venv: Path | None) -> str:
    """The program that compiles."""
    return str(venv / "bin/python") if venv else "/usr/bin/python3"


def drop(tree: Path, written: Sequence[str]) -> list[str]:
    """Remove the compiled form of modules that a build command has ``written``, but that which it wrote as well.
    Returns the paths that were removed."""
    new, dropped = set(written), []
    for directory, names in _by_directory(written).items():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _cache_below(tree, directory) as cache:
            for name in of_modules(os.listdir(cache), names):
                path = f"{directory}/{CACHE}/{name}".lstrip("/")
                if path not in new:
                    os.unlink(name, dir_fd=cache)
                    dropped.append(path)
    return dropped


def add_missing(
    ctx: Context,
    tree: Path,
    paths: Iterable[str],
    venv: Path | None,
    environment: Mapping[str, str],
    limit: float,
    *,
    total: int = 0,
) -> list[str]:
    """Have the deploy user compile the modules among ``paths`` that have no bytecode yet, in a directory of its own,
    and copy the results, whose paths it returns. What cannot be compiled stays as it is. ``total``: how many modules
    the tree has, if more than ``paths`` names. Raises HostError, OSError."""
    modules = _by_directory(paths)
    missing = _missing(tree, modules)
    if not missing:
        return []
    draft = tree.with_name(f".{tree.name}.bytecode{files.TEMPORARY}")
    files.remove_tree(draft)
    try:
        draft.mkdir(mode=0o700)
        places = [f"{tree}/{directory}/{name}" for directory, names in missing.items() for name in sorted(names)]
        (draft / "list").write_bytes("".join(f"{place}\n" for place in places).encode())
        (draft / "list").chmod(0o644)
        ownership.give(draft, *ctx.builder())
        all_of_them = 2 * len(places) > max(total, sum(map(len, modules.values())))
        what = tree if all_of_them else draft / "list"
        argv = [python(venv), "-S", "-c", COMPILE, f"{draft}/made", str(what)]
        run_build(ctx, argv, draft, draft, environment, "", limit, venv)
        return [
            path
            for directory, names in missing.items()
            for path in _add(draft, f"made{tree}/{directory}".rstrip("/"), tree, directory, names)
        ]
    finally:
        files.remove_tree(draft)


def _by_directory(paths: Iterable[str]) -> dict[str, set[str]]:
    """The names of modules, by directory. What has a dot in its name cannot be imported."""
    found: dict[str, set[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        if name.endswith(".py") and "." not in name[:-3]:
            found.setdefault(directory, set()).add(name)
    return found


def _missing(tree: Path, modules: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The modules without a compiled form."""
    found = {}
    for directory, names in modules.items():
        there: list[str] = []
        compiled: list[str] = []
        with contextlib.suppress(OSError), ownership.directory_below(tree, directory) as place:
            there = os.listdir(place)
            with cache_of(place) as cache:
                compiled = os.listdir(cache)
        missing = names.intersection(there) - {f"{name.partition('.')[0]}.py" for name in of_modules(compiled, names)}
        if missing:
            found[directory] = missing
    return found


def _add(draft: Path, made: str, tree: Path, directory: str, names: Collection[str]) -> list[str]:
    """Copy what was compiled of the modules of a directory; the paths. Raises OSError for a full disk and its like
    only."""
    found = {}
    with contextlib.suppress(OSError), ownership.directory_below(draft, made) as source:  # else none could be compiled
        for name in of_modules(os.listdir(source), names):
            with contextlib.suppress(OSError):
                found[name] = _read(name, source)
    if not found:
        return []
    with ownership.directory_below(tree, directory) as target:
        try:
            with cache_of(target, make=True) as cache:
                for name, content in found.items():
                    _write(name, content, cache)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # a file or a link was shipped in its place
                raise
    return [f"{directory}/{CACHE}/{name}".lstrip("/") for name in found]


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


@contextlib.contextmanager
def _cache_below(tree: Path, directory: str) -> Iterator[int]:
    with ownership.directory_below(tree, directory) as place, cache_of(place) as cache:
        yield cache


def _read(name: str, directory: int) -> bytes:
    """Bytecode; nothing when it is too large, or no regular file. Raises OSError."""
    with os.fdopen(os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory), "rb") as file:
        status = os.fstat(file.fileno())
        is_small = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST
        return file.read(_LARGEST) if is_small else b""


def _write(name: str, content: bytes, directory: int) -> None:
    if not content:
        return
    with contextlib.suppress(FileExistsError):  # it was shipped
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644, dir_fd=directory)
        with os.fdopen(made, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
