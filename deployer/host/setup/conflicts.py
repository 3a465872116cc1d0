"""Refuse, before anything is touched, an app name or deploy user that is taken on this host.

An app's name becomes a user, a group, a unit, and directories below /srv and /var/lib: an app called ``dpkg`` would
get /var/lib/dpkg.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.state.paths import AppPaths
from deployer.host.system import systemd
from deployer.wire.advice import do
from deployer.wire.cause import Cause

COMMENT = "deployer app"
"""Marks the app users that deployer creates, in the fifth field of passwd(5)."""
DEPLOYS = "deploys by deployer"
"""The same for deploy users."""

NAME_TAKEN = Cause(
    "name-taken",
    "the host has a user, a group or a unit of the app's name",
    "this host has {what} that deployer did not make",
    do("choose another app name in deploy.toml"),
)
NO_DIRECTORY = Cause(
    "no-directory",
    "one of the app's directories is a link, or no directory",
    "this host has a {path} that deployer did not make",
    do("it must be a directory, and no link: to use another disk, mount it at {path}"),
)
DIRECTORY_TAKEN = Cause(
    "directory-taken",
    "one of the app's directories is there, holds something, and is not the app's",
    "this host has a {path} that deployer did not make",
    do("choose another app name in deploy.toml, or move {path} away"),
)
USER_IS_ROOT = Cause(
    "user-is-root",
    "deploy_user has the number 0",
    "the deploy user {name!r} is root by another name",
    do("choose another deploy_user in deploy.toml: a deploy key must not be able to become root"),
)
USER_WITHOUT_SHELL = Cause(
    "user-without-shell",
    "deploy_user is on the host, and its shell lets nobody in or is not there",
    "the deploy user {name!r} exists and cannot log in (its shell is {shell})",
    do("choose another deploy_user in deploy.toml, or give that one a shell that is on the host, as root: "
       "usermod -s /bin/sh {name}"),
)  # fmt: skip
CAUSES = (NAME_TAKEN, NO_DIRECTORY, DIRECTORY_TAKEN, USER_IS_ROOT, USER_WITHOUT_SHELL)


def check(paths: AppPaths, deploy_user: str) -> None:
    """Raises HostError naming the conflict and what to do about it."""
    user = find_user(paths.app)
    _check_user(paths.app, user)
    _check_unit(paths)
    _check_directory(paths.home, user, owner=0)
    _check_directory(paths.state, user, owner=user.pw_uid if user else 0)
    _check_deploy_user(deploy_user)


def find_user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _refused(cause: Cause, **values: object) -> HostError:
    return HostError(**cause.told(**values), state="nothing was touched")


def _check_user(app: str, user: pwd.struct_passwd | None) -> None:
    if user is None and group_exists(app):
        raise _refused(NAME_TAKEN, what=f"a group {app!r}")
    if user is not None and (user.pw_gecos.split(",")[0] != f"{COMMENT} {app}" or user.pw_uid == 0):
        raise _refused(NAME_TAKEN, what=f"a user {app!r}")


def _check_unit(paths: AppPaths) -> None:
    shown = systemd.properties_if_known(f"{paths.app}.service", "FragmentPath").get("FragmentPath")
    ours = paths.units / f"{paths.app}.service"
    if shown and (Path(shown) != ours or b"Written by deployer" not in ours.read_bytes()):
        raise _refused(NAME_TAKEN, what=f"a {paths.app}.service ({shown})")


def _check_directory(path: Path, user: pwd.struct_passwd | None, owner: int) -> None:
    """It must be missing, empty, or the app's already. Its parents belong to root: nobody can swap it."""
    try:
        status = os.lstat(str(path))
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        raise _refused(NO_DIRECTORY, path=path)
    ours = user is not None and status.st_uid == owner and status.st_gid == user.pw_gid
    if not ours and os.listdir(str(path)):
        raise _refused(DIRECTORY_TAKEN, path=path)


def _check_deploy_user(name: str) -> None:
    user = find_user(name)
    if user is None:
        return
    if user.pw_uid == 0:
        raise _refused(USER_IS_ROOT, name=name)
    shell = user.pw_shell or "/bin/sh"
    if user.pw_gecos.startswith(COMMENT) or Path(shell).name in ("nologin", "false") or not os.access(shell, os.X_OK):
        raise _refused(USER_WITHOUT_SHELL, name=name, shell=shell)
