"""The users of an app: its own, the deploy user with its keys and its sudo rule, and who may read its directory."""

from __future__ import annotations

import contextlib
import grp
import os
import pty
import pwd
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.setup import conflicts
from deployer.host.setup.users import ageing, login
from deployer.host.system import files, runner
from deployer.wire.advice import do, run
from deployer.wire.protocol import PROGRAM

_ADD_KEYS = """
umask 077
file=$1
[ -d "${file%/*}" ] || mkdir -p "${file%/*}"
[ -e "$file" ] || : > "$file"
added=0
while read -r kind blob comment; do
    if ! grep -v '^#' "$file" | grep -qF -- "$kind $blob"; then
        if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >> "$file"; fi
        printf '%s\\n' "$kind $blob${comment:+ $comment}" >> "$file"
        added=$((added + 1))
    fi
done
echo $added
"""
"""Run as the deploy user; the keys are on standard input. A key that exists under another comment is not added."""

_CLOSE = """
for path in "$@"; do
    if [ -n "$(find "$path" -maxdepth 0 ! -type l -perm /022)" ]; then chmod go-w "$path" && echo "$path"; fi
done
"""


_NO_SHELL = "/dev/null"
"""The app's shell. sshd refuses users whose shell is not executable. The app can write keys for sshd into its home;
with a shell such as nologin they would allow forwarding, sftp and a user systemd, all outside the app's confinement."""
_SUDO_OPTIONS = "!requiretty, !noexec, !log_input, !log_output, !command_timeout"
"""Turns off what other rules of the host may demand of every command: the host program has no terminal, starts other
programs, runs as long as a deploy, and its input and output hold the app's secrets."""


def ensure_users(app: str, deploy: str) -> list[str]:
    """Make sure that both users exist and do not expire. Returns what was changed. Raises HostError."""
    changed = []
    if conflicts.find_user(app) is None:
        _do("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", f"/var/lib/{app}", *ageing.NEVER,
            "--shell", _NO_SHELL, "--comment", f"{conflicts.COMMENT} {app}", app)  # fmt: skip
        changed.append(f"user {app}")
    if conflicts.find_user(deploy) is None:
        shell = "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
        _do("useradd", "--create-home", "--shell", shell, "--password", "*", *ageing.NEVER,
            "--comment", conflicts.DEPLOYS, deploy)  # fmt: skip
        changed.append(f"user {deploy}")
    changed += [*_ensure_no_shell(app), *ageing.prevent_expiry(app), *ageing.prevent_expiry(deploy)]
    if _is_ours(pwd.getpwnam(deploy)):
        changed += ageing.unlock(deploy)
    return changed + ensure_home(pwd.getpwnam(deploy))


def _ensure_no_shell(app: str) -> list[str]:
    """Also for an app that an older version has set up, while its processes run."""
    if pwd.getpwnam(app).pw_shell == _NO_SHELL:
        return []
    _do("usermod", "--shell", _NO_SHELL, app)
    return [f"{app} has no shell any more: sshd lets it in with no key"]


def _is_ours(user: pwd.struct_passwd) -> bool:
    """Whether a setup created the user."""
    return user.pw_gecos.split(",")[0] == conflicts.DEPLOYS


def ensure_home(user: pwd.struct_passwd) -> list[str]:
    """Make sure that the user's home exists and belongs to the user: sshd reads the keys there. Raises HostError."""
    home = Path(user.pw_dir)
    parent = home.parent
    try:
        owner = os.lstat(str(home)).st_uid
    except FileNotFoundError:
        if not _is_roots(parent):
            raise _no_home(user, "is missing", f"mkdir -p {home} && chown {user.pw_name}: {home}") from None
        files.own_directory(home, 0o750, user.pw_uid, user.pw_gid)
        return [str(home)]
    if not home.is_dir():
        raise _no_home(user, "is no directory", f"usermod -m -d /home/{user.pw_name} {user.pw_name}")
    if owner not in (0, user.pw_uid):
        raise _no_home(user, "belongs to another user", f"chown -R {user.pw_name}: {home}")
    return []


def _no_home(user: pwd.struct_passwd, why: str, mend: str) -> HostError:
    return HostError(
        f"{user.pw_dir}, the home of {user.pw_name}, {why}: sshd would read no keys there",
        next=do(f"as root on the host: {mend}") + run("fab setup -H root@HOST", "again"),
    )


def _is_roots(path: Path) -> bool:
    """Whether only root can change what is in a directory."""
    try:
        status = os.stat(str(path))
    except OSError:
        return False
    return status.st_uid == 0 and not status.st_mode & 0o022


def ensure_members(app: str, members: Sequence[str], *, former: str) -> list[str]:
    """Put the ``members`` that exist into the group that may read /srv/APP; remove ``former``, the old deploy user."""
    there = grp.getgrnam(app).gr_mem
    changed = []
    for member in members:
        if member and member not in there and conflicts.find_user(member):
            _do("gpasswd", "--add", member, app)  # usermod knows no users that are kept elsewhere (LDAP)
            changed.append(f"{member} in group {app}")
    if former not in members and former in there:
        _do("gpasswd", "--delete", former, app)
        changed.append(f"{former} no longer in group {app}")
    return changed


def ensure_keys(user: str, keys: Sequence[str]) -> list[str]:
    """Add public keys to the file that sshd reads for the user, and fix its modes. Raises HostError.

    Below the home directory this runs as the user: root writes nothing through a path that the user could swap.
    """
    entry, told = pwd.getpwnam(user), login.rules(user)
    file = login.key_file(entry, told)
    home = Path(entry.pw_dir)
    own = home in file.parents
    if not own and not _is_roots(file.parent):
        raise HostError(
            f"sshd reads the keys of {user} from {file}, and {file.parent} is not a directory of root's alone",
            next=do(f"as root on the host: install -d -o root -m 755 {file.parent}")
            + run("fab setup -H root@HOST", "again"),
        )
    added = _add(user if own else "root", entry, file, keys) if keys else []
    return added + (_close(entry, home, file) if own else [])


def _add(as_user: str, entry: pwd.struct_passwd, file: Path, keys: Sequence[str]) -> list[str]:
    new = not file.exists()
    done = _shell(as_user, entry.pw_dir, _ADD_KEYS, str(file), stdin="".join(f"{key}\n" for key in keys).encode())
    if not done.ok:
        raise HostError(f"the keys of {entry.pw_name} could not be written", logs=done.tail())
    if as_user == "root" and new:
        os.chmod(str(file), 0o644)  # sshd reads it as the user
    told = done.out.strip()
    count = int(told) if told.isascii() and told.isdigit() and len(told) < 6 else 0
    return [f"{count} key{'s' if count > 1 else ''} for {entry.pw_name}"] if count else []


def _close(entry: pwd.struct_passwd, home: Path, file: Path) -> list[str]:
    """Remove write permissions of others on the path to the keys: sshd would not read them otherwise."""
    between = [path for path in file.parents if path == home or home in path.parents]
    done = _shell(entry.pw_name, entry.pw_dir, _CLOSE, *map(str, [*reversed(between), file]))
    if not done.ok:
        raise HostError(f"others can write to {home} or to what leads to {file}", logs=done.tail())
    return [f"mode of {path}" for path in done.out.splitlines()]


def _shell(user: str, home: str, script: str, *arguments: str, stdin: bytes = b"") -> runner.CommandResult:
    argv = ["runuser", "-u", user, "--", "env", f"HOME={home}", "/bin/sh", "-euc", script, "sh", *arguments]
    return runner.run(argv, stdin=stdin)


def _do(*argv: str) -> None:
    done = runner.run(argv)
    if not done.ok:
        raise HostError(f"{' '.join(argv)} failed", logs=done.tail())


def sudoers_text(app: str, deploy: str, options: str = _SUDO_OPTIONS) -> str:
    """The text of the app's sudoers file."""
    return (
        f"# Written by deployer: all that {deploy} may do as root for {app}.\n"
        + (f"Defaults!{PROGRAM} {options}\n" if options else "")
        + f"{deploy} ALL=(root) NOPASSWD: {PROGRAM} session {app}\n"
    )


def ensure_sudo_rule(app: str, deploy: str, private: Path) -> list[str]:
    """Make sure that the rule exists and that sudo reads it. Returns what was written. ``private`` is a directory of
    root's. Raises HostError."""
    path = Path(f"/etc/sudoers.d/deployer-{app}")
    texts = [sudoers_text(app, deploy), sudoers_text(app, deploy, "")]
    there = path.exists() and files.read_text(path) in texts
    changed = [] if there else _install_sudoers(path, texts, private / "sudoers")
    if not may_sudo(deploy, PROGRAM, "session", app):
        raise HostError(
            f"sudo does not read {path}, so {deploy} could not deploy",
            next=do("add the line @includedir /etc/sudoers.d to /etc/sudoers (visudo)"),
        )
    return changed


def _install_sudoers(path: Path, texts: Sequence[str], trial: Path) -> list[str]:
    """Install the first of the texts that this host's sudo accepts: older ones lack some options."""
    for text in texts:
        files.write_file(trial, text.encode(), 0o440)
        done = runner.run(["visudo", "-c", "-q", "-f", str(trial)])
        trial.unlink()
        if done.ok:
            path.parent.mkdir(mode=0o750, exist_ok=True)
            files.write_file(path, text.encode(), 0o440)
            return [str(path)]
    raise HostError("visudo refuses the sudoers file; it was not installed", logs=done.tail())


def may_sudo(user: str, *command: str) -> bool:
    """Whether sudo lets ``user`` run a command as root."""
    argv = ["sudo", "-n", "-l", "-U", user, *command]
    return runner.run(argv).ok or _runs_with_terminal(argv)  # with requiretty, sudo answers only in a terminal


def _runs_with_terminal(argv: Sequence[str]) -> bool:
    """Whether a command succeeds in a new terminal. Its output is dropped."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.execvpe(argv[0], list(argv), runner.ENVIRONMENT)  # noqa: S606
        finally:
            os._exit(127)
    with contextlib.suppress(OSError):  # EIO: the command has closed the terminal
        while os.read(terminal, 4096):
            pass
    os.close(terminal)
    return os.waitpid(child, 0)[1] == 0
