"""Media: directories below the app's state directory, which the app writes and the proxy serves.

The proxy reads them through mounts below ``/srv/APP/media``, where nothing can be written and no symbolic link is
followed: the app makes what is in them, and the proxy may read other apps, and keys. The state directory itself stays
closed to it. systemd knows nothing of these mounts: they are made at boot, by a setup and by a deploy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.state.paths import AppPaths
from deployer.host.system import files, mounts, ownership, runner
from deployer.wire.advice import do, run
from deployer.wire.site import ProxySite

_DEFAULT_ACL = "system.posix_acl_default"
_SHARED = 0o2050
"""Mode bits of a directory that the app's group may read; what is made in it has that group."""
_SHARE = """
import os, stat, sys

def entry(tag, permissions):
    return tag.to_bytes(2, "little") + permissions.to_bytes(2, "little") + b"\\xff" * 4

ACL = b"\\x02\\0\\0\\0" + entry(0x01, 7) + entry(0x04, 5) + entry(0x20, 0)  # user rwx, group r-x, others nothing

def share(path, bits):
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
        return
    os.chown(path, -1, os.getgid())
    os.chmod(path, stat.S_IMODE(status.st_mode) | bits)

for top in sys.argv[1:]:
    os.makedirs(top, 0o700, exist_ok=True)
    for directory, _, names in os.walk(top):
        share(directory, 0o2050)
        try:
            os.setxattr(directory, "system.posix_acl_default", ACL)
        except OSError as error:
            print(directory, error.strerror)
        for name in names:
            share(os.path.join(directory, name), 0o040)
"""
"""Opens directories to the group, with all that is in them, and has files made in them be readable by it, whatever the
umask (acl(5)). Runs as the app's user: it can open nothing that is not the app's."""


def directories(site: ProxySite | None) -> tuple[str, ...]:
    """The directories that the proxy is to serve, relative to the app's state directory."""
    return tuple(dict.fromkeys(directory for _, directory in site.media)) if site else ()


def provide(paths: AppPaths, wanted: Sequence[str]) -> list[str]:
    """Make, share and mount the wanted directories, and unmount others. Returns what was changed. Raises HostError."""
    changed = _forget(paths, wanted)
    for directory in wanted:
        if not _is_shared(paths, directory):
            _share(paths, directory)
            changed.append(str(paths.state / directory))
        try:
            changed += [str(paths.medium(directory))] if _mount(paths, directory) else []
        except OSError as error:
            raise _no_mount(paths, directory, error) from None
    return changed


def problems(paths: AppPaths, wanted: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """The directories that a visitor cannot read, each with the reason. Raises OSError."""
    for directory in wanted:
        own, seen = paths.state / directory, paths.medium(directory)
        if not _is_shared(paths, directory):
            yield own, f"{own} is missing, or closed to the proxy: visitors get no media"
        elif not _is_mounted(paths, directory):
            yield seen, f"{seen} does not show what is in {own}: visitors get no media, or old ones"


def _is_shared(paths: AppPaths, directory: str) -> bool:
    """Whether it is a directory of the app's that its group may read, as all that is made in it from now on."""
    user = pwd.getpwnam(paths.app)
    try:
        descriptor = _open(paths, directory)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        own = (status.st_uid, status.st_gid) == (user.pw_uid, user.pw_gid)
        return own and status.st_mode & _SHARED == _SHARED and _has_default_acl(descriptor)
    finally:
        os.close(descriptor)


def _open(paths: AppPaths, directory: str) -> int:
    """The directory, found without following a link. Raises OSError."""
    return ownership.open_below(paths.state, directory, os.O_RDONLY | os.O_DIRECTORY)


def _has_default_acl(descriptor: int) -> bool:
    """True also on a file system that has none."""
    try:
        os.getxattr(descriptor, _DEFAULT_ACL)
    except OSError as error:
        return error.errno == errno.ENOTSUP
    return True


def _share(paths: AppPaths, directory: str) -> None:
    path = str(paths.state / directory)
    argv = ["runuser", "-u", paths.app, "--", "/usr/bin/python3", "-I", "-c", _SHARE, path]
    done = runner.run(argv, timeout=600)
    if not done.ok or not _is_shared(paths, directory):
        raise HostError(
            f"{path} cannot be opened to the proxy",
            logs=done.tail(),
            next=do(f"on the host, as root: ls -ld {path}   (it must be a directory of {paths.app}, and no link)")
            + run("fab setup -H root@HOST", "again"),
        )


def _mount(paths: AppPaths, directory: str) -> bool:
    """Show the directory at its place; True if it was not there. Raises OSError."""
    if _is_mounted(paths, directory):
        return False
    target = paths.medium(directory)
    _unmount(target)
    files.make_directory(target, 0o755)
    descriptor = _open(paths, directory)
    try:
        if os.fstat(descriptor).st_uid != pwd.getpwnam(paths.app).pw_uid:
            raise PermissionError(errno.EPERM, "not the app's", str(paths.state / directory))
        mounts.show(descriptor, target)
    finally:
        os.close(descriptor)
    return True


def _is_mounted(paths: AppPaths, directory: str) -> bool:
    target = paths.medium(directory)
    with contextlib.suppress(OSError):
        descriptor = _open(paths, directory)
        try:
            return mounts.is_shown(target) and os.path.samestat(os.fstat(descriptor), os.stat(str(target)))
        finally:
            os.close(descriptor)
    return False


def _forget(paths: AppPaths, wanted: Sequence[str]) -> list[str]:
    kept = {paths.medium(directory).name for directory in wanted}
    gone = [paths.media / name for name in files.names(paths.media) if name not in kept]
    for target in gone:
        _unmount(target)
        with contextlib.suppress(OSError):
            target.rmdir()
    return [f"{target} removed" for target in gone]


def _unmount(target: Path) -> None:
    while target.is_dir() and not stat.S_ISLNK(os.lstat(str(target)).st_mode) and mounts.is_mount_point(target):
        mounts.detach(target)


def _no_mount(paths: AppPaths, directory: str, error: OSError) -> HostError:
    own, seen = paths.state / directory, paths.medium(directory)
    return HostError(
        f"{own} cannot be shown to the proxy at {seen}: {error.strerror or error}",
        next=do("allow mounts (in a container: CAP_SYS_ADMIN, Linux 5.10 or newer), or leave media out of [proxy]")
        + run("fab setup -H root@HOST", "again"),
    )
