"""Makes sure that nobody can still write to the files that root takes from a build.

A file stays writable for every process that opened it before its owner changed. The build's own processes are dead, but
it may have passed descriptors on, or others may have opened its files. A read lease (fcntl(2), F_SETLEASE) is refused
by the kernel while anybody has the file open for writing, mapped writable, or in transit through a socket. On a file
system without leases the file is replaced by a copy, which nobody has open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import time

_F_SETSIG = 10
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_COPY = ".deployer-copy"
_PATIENCE = 2.0
"""Seconds that other writers get to finish, for a whole tree."""
_PAUSE = 0.05


def shut_out(directory: int) -> None:
    """Make sure that nobody can write to any file below ``directory``, which root has taken with all its content.

    Raises PermissionError naming the file that is still open.
    """
    _below(directory, time.monotonic() + _PATIENCE)


def _below(directory: int, deadline: float) -> None:
    for name in os.listdir(directory):
        mode = os.lstat(name, dir_fd=directory).st_mode
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            continue
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
        try:
            if stat.S_ISDIR(mode):
                _below(descriptor, deadline)
            elif not _is_nobodys(descriptor, name, deadline):
                _replace(directory, name, descriptor)
        finally:
            os.close(descriptor)


def _is_nobodys(descriptor: int, name: str, deadline: float) -> bool:
    """True when nobody can write to the file, False when its file system cannot tell. Raises PermissionError."""
    while True:
        try:
            fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)  # ignored by default; the usual signal would end us
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # gone again when it is closed
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return False
        if time.monotonic() >= deadline:
            raise PermissionError(
                f"{name!r}, which was built, is still open for writing in a process that is not the build's"
            )
        time.sleep(_PAUSE)


def _replace(directory: int, name: str, source: int) -> None:
    """Replace a file by a copy. Raises OSError, also when it claims more space than there is."""
    status, system = os.fstat(source), os.fstatvfs(directory)
    if status.st_size > system.f_bavail * system.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    copy = os.open(_COPY, flags, 0o400, dir_fd=directory)
    try:
        with os.fdopen(copy, "wb") as target:
            for piece in iter(lambda: os.read(source, 1 << 20), b""):
                target.write(piece)
            target.flush()
            os.fchmod(target.fileno(), stat.S_IMODE(status.st_mode))
            os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.rename(_COPY, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(_COPY, dir_fd=directory)
        raise
