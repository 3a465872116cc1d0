"""What a host must have before anything is touched: systemd, commands, writable directories, free space."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import runner, systemd
from deployer.wire.advice import Next

OLDEST = 247
"""The oldest systemd with everything that the units need."""
_COMMANDS = {
    "useradd": "passwd", "usermod": "passwd", "gpasswd": "passwd", "chage": "passwd", "runuser": "util-linux",
    "systemd-run": "systemd", "systemd-analyze": "systemd", "journalctl": "systemd", "rm": "coreutils",
}  # fmt: skip
"""Commands that setup cannot install, each with its Debian package."""
_BOOTED = Path("/run/systemd/system")
"""Exists when systemd runs: see sd_booted(3)."""
_WRITTEN = ("/etc", "/srv", "/var/lib", "/usr/local/lib", "/run", "/home")
_ROOM = {"/usr/local/lib": 160, "/var/lib": 16, "/srv": 16, "/etc": 1, "/run": 4}
"""MiB that the first setup needs: uv and its environment, the host program, small files."""


def check() -> None:
    """Raises HostError that names what is missing."""
    _check_systemd()
    _check_commands()
    for name in _WRITTEN:
        _check_writable(_there(Path(name)))
    if not Path("/usr/local/lib/deployer/tools").exists():
        for name, room in _ROOM.items():
            require_room(_there(Path(name)), room)


def _refuse(message: str, next: str) -> HostError:
    return HostError(message, state="nothing was touched", next=Next.of(next))


def _check_systemd() -> None:
    if not _BOOTED.is_dir():
        raise _refuse(
            f"this host does not run systemd (its first process is {_first_process()}), which is what runs the apps",
            f"use a host with systemd {OLDEST} or newer, such as Debian 11 or Ubuntu 22.04; a container must boot it",
        )
    version = systemd.version()
    if version < OLDEST:
        raise _refuse(
            f"this host has systemd {version or 'of an unknown version'}; deployer needs {OLDEST} or newer",
            "upgrade the host's system: Debian 11, Ubuntu 22.04 and RHEL 9 have it",
        )
    state = systemd.systemctl("is-system-running").out.strip()
    if state in ("", "offline", "unknown", "stopping"):
        raise _refuse(
            f"systemd does not answer on this host, or is going down (is-system-running: {state or 'no answer'})",
            "on the host, as root: systemctl status   (then fab setup again)",
        )


def _first_process() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/1/comm").read_bytes().decode("utf-8", "replace").strip() or "unknown"
    return "unknown"


def _check_commands() -> None:
    path = runner.ENVIRONMENT["PATH"]
    missing = [name for name in _COMMANDS if runner.which(name, path) is None]
    if missing:
        packages = " ".join(dict.fromkeys(_COMMANDS[name] for name in missing))
        raise _refuse(
            f"this host lacks {', '.join(missing)}", f"as root on the host: apt-get install {packages}   (on Debian)"
        )


def _there(path: Path) -> Path:
    """The nearest directory that exists."""
    return next(one for one in (path, *path.parents) if one.is_dir())


def _check_writable(path: Path) -> None:
    if not os.access(str(path), os.W_OK):  # for root: mounted read-only
        raise _refuse(
            f"{path} is read-only on this host",
            f"as root on the host: mount -o remount,rw {_mount_of(path)}   (and look why: dmesg); then fab setup again",
        )


def _mount_of(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if os.path.ismount(str(one)))


def require_room(path: Path, mebibytes: int) -> None:
    """Raises HostError when less is free below a directory."""
    status = os.statvfs(str(path))
    free = status.f_bavail * status.f_frsize
    if free < mebibytes * 2**20:
        raise _no_room(path, f"{free // 2**20} MiB are free, and setup needs {mebibytes}")
    if status.f_files and status.f_favail < 2000:
        raise _no_room(path, f"{status.f_favail} more files can be made, and setup needs 2000")


def _no_room(path: Path, why: str) -> HostError:
    return _refuse(
        f"the disk of {path} is full: {why}",
        f"make room on the host (df -h {path}; df -i {path}), then fab setup again",
    )
