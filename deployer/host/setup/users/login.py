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
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.protocol import PROGRAM

_SSHD = ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd")
Rules = Mapping[str, Sequence[str]]
_AS_ROOT = "as root on the host: "


def _rule(keyword: str, why: str, repair: str) -> Cause:
    """What a keyword of sshd_config does to the deploy user."""
    when = f"`sshd -T` says so of the deploy user: {keyword}"
    return Cause(f"sshd-{keyword.lower()}", when, f"sshd_config: {keyword} {{words}}: {why}", do(repair))


ALLOW_USERS = _rule("AllowUsers", "{user} is not among them", "add {user} to AllowUsers")
DENY_USERS = _rule("DenyUsers", "{user} is among them", "take {user} out of DenyUsers")
ALLOW_GROUPS = _rule("AllowGroups", "{user} is in none of them", "usermod -aG {group} {user}")
DENY_GROUPS = _rule("DenyGroups", "{user} is in one of them", "take {user} out of that group")
NO_KEYS = _rule("PubkeyAuthentication", "no key is accepted", "allow it, at least in a block: Match User {user}")
MORE_THAN_A_KEY = _rule(
    "AuthenticationMethods",
    "a key alone is not enough, and deploys ask nobody anything",
    "in a block Match User {user}: AuthenticationMethods publickey",
)
FORCED = _rule("ForceCommand", "it runs instead of the host program", "exempt {user} from it (Match)")
CHROOT = _rule("ChrootDirectory", "the host program is not in it", "exempt {user} from it (Match)")
USER_GONE = Cause(
    "deploy-user-gone",
    "there is no account of that name",
    "the user {user} is gone",
    run("fab setup -H root@HOST", "makes it again"),
)
NOLOGIN = Cause(
    "nologin-file",
    "`/etc/nologin` exists",
    "/etc/nologin keeps everybody but root out",
    do(_AS_ROOT + "rm /etc/nologin"),
)
LOCKED = Cause(
    "account-locked",
    "the password field of the deploy user begins with `!`, and sshd has `UsePAM no`",
    "the account of {user} is locked, and sshd does not use PAM: it lets nobody in, not even by key",
    do(_AS_ROOT + "usermod --password '*' {user}"),
)
SHELL_REFUSES = Cause(
    "shell-refuses",
    "the shell of the deploy user is `nologin` or `false`",
    "the shell of {user} is {shell}",
    do(_AS_ROOT + "usermod -s /bin/sh {user}"),
)
SHELL_GONE = Cause(
    "shell-missing",
    "the shell of the deploy user cannot be run",
    "the shell of {user}, {shell}, is not on this host: sshd lets nobody in without",
    do(_AS_ROOT + "usermod -s /bin/sh {user}"),
)
NO_KEY_FILE = Cause(
    "keys-in-no-file",
    "sshd has `AuthorizedKeysFile none` for the deploy user",
    "sshd_config: AuthorizedKeysFile none: sshd reads keys from no file, so that setup can add none",
    do("give the key to where sshd gets them from (AuthorizedKeysCommand), or allow .ssh/authorized_keys"),
)
PATH_GONE = Cause(
    "keys-missing",
    "the file of the deploy user's keys, or a directory on the way to it, does not exist",
    "{path} is missing",
    run("fab setup -H root@HOST", "makes it"),
)
PATH_OF_ANOTHER = Cause(
    "keys-of-another-user",
    "one of these belongs to neither the deploy user nor root (`StrictModes`)",
    "{path} belongs to another user: sshd reads no keys below it",
    do(_AS_ROOT + "chown {user}: {path}"),
)
PATH_WRITABLE = Cause(
    "keys-writable-by-others",
    "one of these can be written by its group or by everybody (`StrictModes`)",
    "{path} can be written by others: sshd reads no keys below it",
    do(_AS_ROOT + "chmod go-w {path}"),
)
CAUSES = (
    USER_GONE, NOLOGIN, ALLOW_USERS, DENY_USERS, ALLOW_GROUPS, DENY_GROUPS, NO_KEYS, MORE_THAN_A_KEY, FORCED, CHROOT,
    LOCKED, SHELL_REFUSES, SHELL_GONE, NO_KEY_FILE, PATH_GONE, PATH_OF_ANOTHER, PATH_WRITABLE,
)  # fmt: skip


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

    def refuse(rule: Cause, keyword: str) -> None:
        words = told.get(keyword, ())
        found.append(rule.finding(words=" ".join(words), user=user, group=next(iter(words), "")))

    if told.get("allowusers") and not _names_user(told["allowusers"], user):
        refuse(ALLOW_USERS, "allowusers")
    if _names_user(told.get("denyusers", ()), user):
        refuse(DENY_USERS, "denyusers")
    if told.get("allowgroups") and not any(_fits(told["allowgroups"], group) for group in groups):
        refuse(ALLOW_GROUPS, "allowgroups")
    if any(_fits(told.get("denygroups", ()), group) for group in groups):
        refuse(DENY_GROUPS, "denygroups")
    if told.get("pubkeyauthentication", ["yes"]) == ["no"]:
        refuse(NO_KEYS, "pubkeyauthentication")
    if not {"any", "publickey"} & set(told.get("authenticationmethods", ["any"])):
        refuse(MORE_THAN_A_KEY, "authenticationmethods")
    if told.get("forcecommand", ["none"]) != ["none"]:
        refuse(FORCED, "forcecommand")
    if told.get("chrootdirectory", ["none"]) != ["none"]:
        refuse(CHROOT, "chrootdirectory")
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
        raise HostError(**NO_KEY_FILE.told())
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
        return [USER_GONE.finding(user=name)]
    found = _shell(user)
    if Path("/etc/nologin").exists():
        found.append(NOLOGIN.finding())
    told = rules(name)
    found += refusals(name, groups_of(user), told)
    shadow = ageing.shadow(name)
    if shadow is not None and shadow.locked and told.get("usepam", ["yes"]) == ["no"]:
        found.append(LOCKED.finding(user=name))
    if told.get("strictmodes", ["yes"]) == ["yes"]:
        found += loose(user, told)
    return found


def _shell(user: pwd.struct_passwd) -> list[tuple[str, str]]:
    shell = user.pw_shell or "/bin/sh"
    if Path(shell).name in ("nologin", "false"):
        return [SHELL_REFUSES.finding(user=user.pw_name, shell=shell)]
    if not os.access(shell, os.X_OK):
        return [SHELL_GONE.finding(user=user.pw_name, shell=shell)]
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
            found.append(PATH_GONE.finding(path=path))
            continue
        if status.st_uid not in (0, user.pw_uid):
            found.append(PATH_OF_ANOTHER.finding(path=path, user=user.pw_name))
        elif status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode):
            found.append(PATH_WRITABLE.finding(path=path))
        if path == home:
            break
    return found


def start_program(user: str, app: str) -> runner.CommandResult:
    """Start the host program as a deploy does after its login: through sudo, without a terminal, with empty input."""
    return runner.run(["runuser", "-u", user, "--", "sudo", "-n", PROGRAM, "session", app], stdin=b"")
