"""The users of an app that is removed: their processes end, and then the accounts go, unless others need them."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import Damaged, HostError
from deployer.host.setup import conflicts
from deployer.host.system import files, runner
from deployer.wire.advice import do

_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""
_PAUSE = 0.1


def end_processes(user: str) -> None:
    """End all processes of a user: SIGTERM, then SIGKILL. Raises HostError when one survives."""
    uid = pwd.getpwnam(user).pw_uid
    if uid == 0:
        raise HostError(f"{user} is root by another name: none of its processes was touched")
    for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        deadline = time.monotonic() + seconds
        for pid in _processes(uid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while _processes(uid) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    if left := _processes(uid):
        raise HostError(
            f"processes of {user} do not end: {', '.join(map(str, left))}",
            next=do(f"as root on the host: ps -u {user}   (in state D they wait for a disk)"),
        )


def _processes(uid: int) -> list[int]:
    """The processes of a user that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid and not _is_zombie(name):
                found.append(int(name))
    return found


def _is_zombie(pid: str) -> bool:
    text = Path("/proc", pid, "stat").read_bytes()
    return text.rpartition(b")")[2].split()[:1] == [b"Z"]


def remove(app: str, deploy: str, others: Sequence[Path], *, keeps_data: bool) -> tuple[list[str], list[str]]:
    """Remove the app's user, unless it owns data that stay, and the deploy user, if a setup made it and no other app
    has it. Returns what was removed, and what was kept and why. Raises HostError."""
    removed, kept = [], []
    user = conflicts.find_user(app)
    if user is not None and user.pw_gecos.split(",")[0] == f"{conflicts.COMMENT} {app}":
        if keeps_data:
            kept.append(f"the user {app}, whose they are")
        else:
            _do("userdel", app)
            if conflicts.group_exists(app):  # userdel leaves one with other members: the proxy, and who deploys
                _do("groupdel", app)
            removed.append(f"user {app}")
    found = conflicts.find_user(deploy) if deploy else None
    if found is None:
        return removed, kept
    if found.pw_gecos.split(",")[0] != conflicts.DEPLOYS:
        kept.append(f"the user {deploy}, which deployer did not make")
    elif deploy in _deploy_users(others):
        kept.append(f"the user {deploy}, who deploys other apps")
    else:
        end_processes(deploy)
        _do("userdel", "--remove", deploy)
        removed.append(f"user {deploy}")
    return removed, kept


def _deploy_users(settings: Sequence[Path]) -> set[str]:
    """The deploy users of other apps. Raises HostError where one's settings cannot be read: its user might be lost."""
    users = set()
    for path in settings:
        try:
            value = files.read_object(path) or {}
        except Damaged as error:
            raise HostError(f"{error.message}: whose deploy user that is, is not known") from None
        users.add(str(value.get("deploy_user", "")))
    return users


def _do(*argv: str) -> None:
    done = runner.run(argv, timeout=120)
    if not done.ok:
        raise HostError(f"{' '.join(argv)} failed (exit status {done.status})", logs=done.tail())
