"""Whether the deploy user can log in and start the host program, as far as sshd, PAM and sudo are concerned."""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.setup import conflicts
from deployer.host.setup.users import ageing
from deployer.host.system import runner
from deployer.wire.advice import do
from deployer.wire.protocol import PROGRAM

_SSHD = ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd")
Rules = Mapping[str, Sequence[str]]


def rules(user: str) -> dict[str, list[str]]:
    """sshd's settings for a user (sshd_config(5), with ``Match`` blocks): the words of each keyword, in lower case.
    Empty when sshd does not answer."""
    program = next((path for path in _SSHD if os.access(path, os.X_OK)), "")
    if not program:
        return {}
    client = (os.environ.get("SSH_CONNECTION", "").split() or ["127.0.0.1"])[0]
    done = runner.run([program, "-T", "-C", f"user={user},host={client},addr={client}"])
    found: dict[str, list[str]] = {}
    for line in done.out.splitlines() if done.ok else ():
        keyword, *words = line.split()
        found.setdefault(keyword.lower(), []).extend(words)
    return found


def refusals(user: str, groups: Sequence[str], told: Rules) -> list[tuple[str, str]]:
    """Why sshd would not let a user run a command by key, each with its repair. Pure."""
    found = []

    def refuse(keyword: str, why: str, next: str) -> None:
        found.append((f"sshd_config: {keyword} {' '.join(told.get(keyword.lower(), ()))}: {why}", next))

    if told.get("allowusers") and not _names_user(told["allowusers"], user):
        refuse("AllowUsers", f"{user} is not among them", f"add {user} to AllowUsers")
    if _names_user(told.get("denyusers", ()), user):
        refuse("DenyUsers", f"{user} is among them", f"take {user} out of DenyUsers")
    if told.get("allowgroups") and not any(_fits(told["allowgroups"], group) for group in groups):
        refuse("AllowGroups", f"{user} is in none of them", f"usermod -aG {told['allowgroups'][0]} {user}")
    if any(_fits(told.get("denygroups", ()), group) for group in groups):
        refuse("DenyGroups", f"{user} is in one of them", f"take {user} out of that group")
    if told.get("pubkeyauthentication", ["yes"]) == ["no"]:
        refuse("PubkeyAuthentication", "no key is accepted", f"allow it, at least in a block: Match User {user}")
    methods = told.get("authenticationmethods", ["any"])
    if not {"any", "publickey"} & set(methods):
        why = "a key alone is not enough, and deploys ask nobody anything"
        refuse("AuthenticationMethods", why, f"in a block Match User {user}: AuthenticationMethods publickey")
    if told.get("forcecommand", ["none"]) != ["none"]:
        refuse("ForceCommand", "it runs instead of the host program", f"exempt {user} from it (Match)")
    if told.get("chrootdirectory", ["none"]) != ["none"]:
        refuse("ChrootDirectory", "the host program is not in it", f"exempt {user} from it (Match)")
    return found


def _names_user(patterns: Sequence[str], user: str) -> bool:
    """Whether a list of USER or USER@HOST patterns names the user, at least from some host."""
    return _fits([pattern.partition("@")[0] for pattern in patterns], user)


def _fits(patterns: Sequence[str], name: str) -> bool:
    if any(fnmatch.fnmatchcase(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns if not pattern.startswith("!"))


def key_file(user: pwd.struct_passwd, told: Rules) -> Path:
    """The file from which sshd reads the keys of a user. Raises HostError when it reads none."""
    patterns = told.get("authorizedkeysfile") or [".ssh/authorized_keys"]
    if patterns == ["none"]:
        raise HostError(
            "sshd_config: AuthorizedKeysFile none: sshd reads keys from no file, so that setup can add none",
            next=do("give the key to where sshd gets them from (AuthorizedKeysCommand), or allow .ssh/authorized_keys"),
        )
    paths = [_expanded(pattern, user) for pattern in patterns]
    usual = Path(user.pw_dir) / ".ssh/authorized_keys"
    return usual if usual in paths else paths[0]


def _expanded(pattern: str, user: pwd.struct_passwd) -> Path:
    """Expand ``%h``, ``%u``, ``%U`` and ``%%`` (sshd_config(5)). A relative path is below the home directory."""
    values = {"h": user.pw_dir, "u": user.pw_name, "U": str(user.pw_uid), "%": "%"}
    text, rest = "", pattern
    while rest:
        head, percent, rest = rest.partition("%")
        text += head
        if percent and rest:
            text, rest = text + values.get(rest[0], f"%{rest[0]}"), rest[1:]
    return Path(user.pw_dir) / text


def groups_of(user: pwd.struct_passwd) -> list[str]:
    """The names of all groups of a user; groups without a name are left out."""
    found = []
    for number in os.getgrouplist(user.pw_name, user.pw_gid):
        try:
            found.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return found


def problems(name: str) -> list[tuple[str, str]]:
    """Why a user cannot log in by key, as far as this host shows, each with its repair."""
    user = conflicts.find_user(name)
    if user is None:
        return [(f"the user {name} is gone", "fab setup -H root@HOST   (makes it again)")]
    found = _shell(user)
    if Path("/etc/nologin").exists():
        found.append(("/etc/nologin keeps everybody but root out", "as root on the host: rm /etc/nologin"))
    told = rules(name)
    found += refusals(name, groups_of(user), told)
    shadow = ageing.shadow(name)
    if shadow is not None and shadow.locked and told.get("usepam", ["yes"]) == ["no"]:
        why = f"the account of {name} is locked, and sshd does not use PAM: it lets nobody in, not even by key"
        found.append((why, f"as root on the host: usermod --password '*' {name}"))
    if told.get("strictmodes", ["yes"]) == ["yes"]:
        found += loose(user, told)
    return found


def _shell(user: pwd.struct_passwd) -> list[tuple[str, str]]:
    shell = user.pw_shell or "/bin/sh"
    if Path(shell).name in ("nologin", "false"):
        return [(f"the shell of {user.pw_name} is {shell}", f"as root on the host: usermod -s /bin/sh {user.pw_name}")]
    if not os.access(shell, os.X_OK):
        why = f"the shell of {user.pw_name}, {shell}, is not on this host: sshd lets nobody in without"
        return [(why, f"as root on the host: usermod -s /bin/sh {user.pw_name}")]
    return []


def loose(user: pwd.struct_passwd, told: Rules) -> list[tuple[str, str]]:
    """Files and directories on the path to the keys that others can write: sshd refuses them (``StrictModes``)."""
    try:
        file = key_file(user, told)
    except HostError as error:
        return [(error.message, str(error.next))]
    home = Path(user.pw_dir)
    found = []
    for path in [file, *file.parents]:
        try:
            status = os.lstat(str(path))
        except OSError:
            found.append((f"{path} is missing", "fab setup -H root@HOST   (makes it)"))
            continue
        if status.st_uid not in (0, user.pw_uid):
            mend = f"as root on the host: chown {user.pw_name}: {path}"
            found.append((f"{path} belongs to another user: sshd reads no keys below it", mend))
        elif status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode):
            mend = f"as root on the host: chmod go-w {path}"
            found.append((f"{path} can be written by others: sshd reads no keys below it", mend))
        if path == home:
            break
    return found


def start_program(user: str, app: str) -> runner.CommandResult:
    """Start the host program as a deploy does after its login: through sudo, without a terminal, with empty input."""
    return runner.run(["runuser", "-u", user, "--", "sudo", "-n", PROGRAM, "session", app], stdin=b"")
