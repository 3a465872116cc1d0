"""Every way in which the host program changes files goes through here."""

from __future__ import annotations

import builtins
import contextlib
import errno
import functools
import io
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from .cache import Cache
from .programs import Programs, below

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_REAL_OPEN = io.open


class Writer:
    """A file that is written to: each write is a change of its own, and on the disk at once."""

    def __init__(self, file: Any, seam: Seam) -> None:
        self._file, self._seam = file, seam

    def write(self, data: bytes) -> int:
        def torn() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        path = self._seam.path_of(self._file.fileno())
        self._seam.cache.write(path)
        self._seam.programs.change("write", path, torn=torn)
        count: int = self._file.write(data)
        self._file.flush()
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Seam:
    """Replaces the functions of ``os`` and others by ones that count, for the files below ``root``."""

    def __init__(self, root: Path, programs: Programs) -> None:
        self.root, self.programs = root, programs
        self.cache = Cache()
        self._real: dict[str, Any] = {}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in ("open", "write", "replace", "rename", "symlink", "link", "mkdir", "unlink", "rmdir", "fsync"):
                self._real[name] = getattr(os, name)
                stack.enter_context(mock.patch.object(os, name, getattr(self, f"_{name}")))
            self._real.update(ftruncate=os.ftruncate, fdopen=os.fdopen)
            stack.enter_context(mock.patch.object(os, "ftruncate", self._ftruncate))
            stack.enter_context(mock.patch.object(os, "fdopen", self._fdopen))
            stack.enter_context(mock.patch.object(io, "open", self._open_file))
            for module in host_modules():
                stack.enter_context(mock.patch.object(module, "open", self._open_file, create=True))
            files = sys.modules["deployer.host.system.files"]
            shim = types.SimpleNamespace(run=self._rm, DEVNULL=subprocess.DEVNULL, PIPE=subprocess.PIPE)
            stack.enter_context(mock.patch.object(files, "subprocess", shim))
            overlay = sys.modules["deployer.host.system.overlay"]
            stack.enter_context(mock.patch.object(overlay, "mount", self._no_overlay))
            yield

    def _no_overlay(self, tree: Path, *_: object) -> None:
        """Commands get a copy: a simulated host has no mounts."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(tree))

    def path_of(self, descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def _ours(self, path: object, dir_fd: int | None = None) -> str:
        """The path, when a program of the host is at work on a file of the host; else empty."""
        if self.programs.active is None and not self.programs.dark:
            return ""
        name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if dir_fd is not None:
            name = f"{self.path_of(dir_fd)}/{name}"
        return name if name and below(self.root, name) else ""

    def _ours_open(self, descriptor: int) -> str:
        if self.programs.active is None and not self.programs.dark:
            return ""
        name = self.path_of(descriptor)
        return name if below(self.root, name) else ""

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        ours = self._ours(path, dir_fd) if flags & _WRITING else ""
        if ours and flags & os.O_CREAT and not os.path.lexists(ours):
            self.programs.change("create", ours)
            self.cache.make(ours)
        descriptor: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        return descriptor

    def _write(self, descriptor: int, data: bytes) -> int:
        ours = self._ours_open(descriptor)
        if ours:
            self.cache.write(ours)
            self.programs.change("write", ours, torn=lambda: self._real["write"](descriptor, data[: len(data) // 2]))
        count: int = self._real["write"](descriptor, data)
        return count

    def _replace(self, source: Any, target: Any, **more: Any) -> None:
        if self._ours(target):
            self.programs.change("replace", os.fsdecode(source), os.fsdecode(target))
            self.cache.move(os.fsdecode(source), os.fsdecode(target))
        self._real["replace"](source, target, **more)

    def _rename(self, source: Any, target: Any, **more: Any) -> None:
        if self._ours(target):
            self.programs.change("rename", os.fsdecode(source), os.fsdecode(target))
            self.cache.move(os.fsdecode(source), os.fsdecode(target))
        self._real["rename"](source, target, **more)

    def _symlink(self, target: Any, path: Any, *rest: Any, dir_fd: int | None = None) -> None:
        if ours := self._ours(path, dir_fd):
            self.programs.change("symlink", ours)
            self.cache.make(ours)
        self._real["symlink"](target, path, *rest, dir_fd=dir_fd)

    def _link(self, source: Any, path: Any, **more: Any) -> None:
        ours = self._ours(path, more.get("dst_dir_fd"))
        if ours and not os.path.lexists(ours):
            self.programs.change("link", ours)
            self.cache.make(ours)
        self._real["link"](source, path, **more)

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        ours = self._ours(path, dir_fd)
        if ours and not os.path.lexists(ours):
            self.programs.change("mkdir", ours)
            self.cache.make(ours)
        self._real["mkdir"](path, mode, dir_fd=dir_fd)

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        ours = self._ours(path, dir_fd)
        if ours and os.path.lexists(ours):
            self.programs.change("unlink", ours)
            self.cache.remove(ours)
        self._real["unlink"](path, dir_fd=dir_fd)

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        ours = self._ours(path, dir_fd)
        if ours and os.path.isdir(ours) and not os.listdir(ours):
            self.programs.change("rmdir", ours)
        self._real["rmdir"](path, dir_fd=dir_fd)

    def _fsync(self, descriptor: int) -> None:
        """Nothing of the host is really synced: that would only take time."""
        name = self.path_of(descriptor)
        if not below(self.root, name):
            self._real["fsync"](descriptor)
        elif self._ours_open(descriptor):
            self.programs.change("fsync", name)
            self.cache.sync(name)

    def _ftruncate(self, descriptor: int, size: int) -> None:
        ours = self._ours_open(descriptor)
        if ours and os.fstat(descriptor).st_size != size:
            self.programs.change("truncate", ours)
        self._real["ftruncate"](descriptor, size)

    def _fdopen(self, descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = _REAL_OPEN(descriptor, mode, *rest, **more)
        return Writer(file, self) if set(mode) & set("wa") and self._ours_open(descriptor) else file

    def _open_file(self, path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        ours = self._ours(path) if set(mode) & set("wax+") else ""
        if not ours:
            return _REAL_OPEN(path, mode, *rest, **more)
        if not Path(ours).exists():
            self.programs.change("create", ours)
            self.cache.make(ours)
        elif "w" in mode:
            self.programs.change("truncate", ours)
        return Writer(_REAL_OPEN(path, mode, *rest, **more), self)

    def _rm(self, argv: Sequence[str], **_: Any) -> Any:
        """``rm -rf``: one change, that may end half-way."""
        path = Path(argv[-1])

        def half() -> None:
            found = sorted(one for one in path.rglob("*") if not one.is_dir() or one.is_symlink())
            for one in found[: (len(found) + 1) // 2]:
                one.unlink()

        try:
            self.cache.remove(str(path))
            self.programs.change("rm", str(path), torn=half)
        except OSError as error:
            return types.SimpleNamespace(returncode=1, stderr=f"rm: {error}".encode())
        self.programs.outside(lambda: shutil.rmtree(path, ignore_errors=True))
        return types.SimpleNamespace(returncode=0, stderr=b"")


@functools.cache
def host_modules() -> list[types.ModuleType]:
    """All modules of the host program, loaded."""
    import importlib
    import pkgutil

    from deployer import host, wire

    found = [one for part in (host, wire) for one in pkgutil.walk_packages(part.__path__, f"{part.__name__}.")]
    return [importlib.import_module(one.name) for one in found if not one.name.endswith("__main__")]


@contextlib.contextmanager
def replaced(original: object, stand_in: object) -> Iterator[None]:
    """Wherever a module of the host program has ``original``, under whatever name, it has ``stand_in``."""
    with contextlib.ExitStack() as stack:
        for module in host_modules():
            for name, value in list(vars(module).items()):
                if value is original:
                    stack.enter_context(mock.patch.object(module, name, stand_in))
        yield


assert builtins.open is _REAL_OPEN
