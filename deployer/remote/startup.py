"""Why a host that lets us in does not start the host program: found out by one more command there, and told."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field

from deployer.errors import ConfigError, DeployerError, Unreachable
from deployer.ssh.channel import LongLineError
from deployer.ssh.link import Link
from deployer.ssh.transport import printable
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import PROGRAM

__all__ = ["CAUSES", "MOST_NOISE", "Attempted", "endless_noise", "not_started", "silent"]

MOST_NOISE = 8 * 1024 * 1024
"""Bytes that a login may print before the host program speaks."""
_PATIENCE = 15.0
"""Seconds that the host has for the command that looks around."""
_MARK = b"deployer-looks-around"

_CANNOT = "{login} could not start the host program for {app}"
_BY_HAND = run("{by_hand} true", "must print nothing and end with 0")
_SETUP = "fab setup -H root@{bare}"

OTHER_COMMAND = Cause(
    "other-command",
    "the login ends, and no command of ours has run: a forced command, a shell such as nologin, an expired password",
    "{login} lets us in, and does not run our command (exit status {status}){said}",
    do("look at its shell (getent passwd {user}), at command= in its authorized_keys, at ForceCommand in sshd_config, "
       "and whether its password has expired (chage -l {user}), as root on the host")
    + run(_SETUP, "puts the deploy user's account right")
    + _BY_HAND,
)  # fmt: skip
LOGIN_HANGS = Cause(
    "login-hangs",
    "a command that only prints a word has not printed it within 15 s, and has not ended",
    "{login} lets us in, and no command of ours begins within {limit:g} s{said}",
    do("something in the login of {user} waits or never ends: look at its ~/.bashrc, ~/.profile, ~/.config/fish, at "
       "/etc/ssh/sshrc and /etc/profile.d; or the host hangs") + _BY_HAND,
)  # fmt: skip
LOGIN_NOISE = Cause(
    "login-noise",
    "a login prints more than 8 MiB before our command speaks",
    "what {login} prints at its login does not end{said}",
    do("take it out of its ~/.bashrc (or ~/.config/fish, /etc/ssh/sshrc), or let it print in a terminal only: "
       "[ -t 1 ] || return") + _BY_HAND,
)  # fmt: skip
HOST_HANGS = Cause(
    "program-silent",
    "the host program has not answered, though other commands run on the host",
    "{host} has let us in, but its program has not answered within {limit:g} s",
    do("the host is slow or hangs: look at its disk and its memory")
    + run("{by_hand} 'uptime; df -h; free -m'")
    + run("{by_hand} true", "must print nothing and end with 0"),
)
NO_SUDO = Cause(
    "no-sudo",
    "the host has no sudo program",
    _CANNOT + ": the host has no sudo",
    run("apt-get install sudo", "as root on the host, with its own package manager") + run(_SETUP),
)
NO_PYTHON = Cause(
    "no-python",
    "the host has no /usr/bin/python3",
    _CANNOT + ": the host has no /usr/bin/python3",
    run("apt-get install python3", "as root on the host, with its own package manager") + run(_SETUP),
)
NOT_INSTALLED = Cause(
    "not-set-up",
    "the host program is not on the host",
    _CANNOT + ": the host was never set up",
    run(_SETUP, "once for each host and app"),
)
NOT_THIS_APP = Cause(
    "not-this-app",
    "the host program is there, and the host knows no such app",
    _CANNOT + ": the host is not set up for this app",
    run(_SETUP, "once for each host and app"),
)
NOT_THIS_USER = Cause(
    "not-this-user",
    "the host is set up for the app, for another deploy user, and sudo does not let this one",
    _CANNOT + ": the host is set up for {deploy_user}, and sudo lets {user} do nothing",
    do("log in as {deploy_user}: -H {deploy_user}@{bare}, or hosts in deploy.toml")
    + run(_SETUP, "after deploy_user = \"{user}\" in deploy.toml: lets {user} deploy instead"),
)  # fmt: skip
NEEDS_TERMINAL = Cause(
    "needs-terminal",
    "sudo lets the deploy user, but in a terminal only (requiretty)",
    _CANNOT + ": sudo wants a terminal (Defaults requiretty)",
    run(_SETUP, "lets {user} do without one")
    + do("or by hand, as root on the host, in visudo, behind all other Defaults: Defaults:{user} !requiretty"),
)
SUDO_REFUSES = Cause(
    "sudo-refuses",
    "the host is set up for this user, and sudo refuses all the same",
    _CANNOT + ": sudo refuses{said}",
    run(_SETUP, "writes the sudoers file again, and puts the account right") + run("{by_hand} sudo -n -l"),
)
FULL = Cause(
    "host-full",
    "the program cannot start, and a file system that it needs has no room",
    _CANNOT + ": the disk is full at {full}",
    do("make room on the host") + run("{by_hand} df -h"),
)
DAMAGED = Cause(
    "program-damaged",
    "all is there and allowed, and the program ends without a word",
    _CANNOT + ": it ends at once (exit status {status}){said}",
    run(_SETUP, "installs it again") + run("{by_hand} sudo -n {program} session {app} </dev/null"),
)
CAUSES = (
    OTHER_COMMAND, LOGIN_HANGS, LOGIN_NOISE, HOST_HANGS, NO_SUDO, NO_PYTHON, NOT_INSTALLED, NOT_THIS_APP,
    NOT_THIS_USER, NEEDS_TERMINAL, SUDO_REFUSES, FULL, DAMAGED,
)  # fmt: skip

_LOOK = r"""
printf '\n%s\n' "$1"
[ -x /usr/bin/python3 ] && echo python=1
command -v sudo >/dev/null 2>&1 && echo sudo=1
[ -e "$2" ] && echo program=1
[ -e "/etc/deployer/$3.json" ] && echo app=1
sed -n 's/.*"deploy_user": *"\([a-z0-9_.-]*\)".*/user=\1/p' "/etc/deployer/$3.json" 2>/dev/null
[ "$(id -u)" = 0 ] && echo allowed=1
sudo -n -l "$2" session "$3" >/dev/null 2>&1 && echo allowed=1
for at in / /tmp /var /run; do
  [ "$(df -Pk "$at" 2>/dev/null | awk 'NR == 2 { print $4 }')" = 0 ] && echo "full=$at"
done
echo over=1
"""


@dataclass(frozen=True, kw_only=True)
class Attempted:
    """How it went: the exit status of what was to be the program, and what came instead of events."""

    status: int = -1
    noise: bytes = b""
    stderr: bytes = b""

    @property
    def lines(self) -> tuple[str, ...]:
        """All that was said, as lines for people."""
        text = f"{self.noise.decode('utf-8', 'replace')}\n{self.stderr.decode('utf-8', 'replace')}"
        return tuple(shown for line in text.splitlines() if (shown := printable(line)))[-10:]

    @property
    def said(self) -> str:
        """The last of it, to go on a sentence with."""
        return f"; it said: {self.lines[-1]}" if self.lines else ""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the command that looks around told. ``began``: it ran; ``ended``: its login did not hang."""

    began: bool = False
    ended: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    noise: bytes = b""


def not_started(link: Link, app: str, attempted: Attempted) -> DeployerError:
    """The program ended before its first event. Asks the host why. Raises Unreachable when the connection is lost."""
    seen = _look(link, app)
    if not seen.began:
        cause = OTHER_COMMAND if seen.ended else LOGIN_HANGS
        return _error(cause, link, app, attempted, Unreachable)
    return _error(_cause(link, app, seen.facts), link, app, attempted, ConfigError, facts=seen.facts)


def silent(link: Link, app: str, attempted: Attempted, limit: float) -> DeployerError:
    """The program has said nothing for ``limit`` seconds: it hangs, or never began."""
    seen = _look(link, app)
    if seen.began:
        return _error(HOST_HANGS, link, app, attempted, Unreachable, limit=limit)
    return _error(LOGIN_HANGS, link, app, attempted, Unreachable)


def endless_noise(link: Link, app: str, noise: bytes) -> DeployerError:
    """The login has printed more than MOST_NOISE."""
    return _error(LOGIN_NOISE, link, app, Attempted(noise=noise[:4096].partition(b"\n")[0]), Unreachable)


def _cause(link: Link, app: str, facts: Mapping[str, str]) -> Cause:
    if "sudo" not in facts and not link.is_root:
        return NO_SUDO
    if "python" not in facts:
        return NO_PYTHON
    if "program" not in facts:
        return NOT_INSTALLED
    if "allowed" in facts:
        return FULL if "full" in facts else DAMAGED
    if "app" not in facts:
        return NOT_THIS_APP
    if facts.get("user", link.user) != link.user:
        return NOT_THIS_USER
    return NEEDS_TERMINAL if "allowed" in _look(link, app, terminal=True).facts else SUDO_REFUSES


def _error(
    cause: Cause,
    link: Link,
    app: str,
    attempted: Attempted,
    kind: type[DeployerError],
    *,
    limit: float = _PATIENCE,
    facts: Mapping[str, str] | None = None,
) -> DeployerError:
    bare = link.host.rpartition("@")[2]
    facts = facts or {}
    told = cause.told(
        host=link.host,
        login=f"{link.user}@{bare}",
        by_hand=link.by_hand,
        user=link.user,
        bare=bare,
        app=app,
        program=PROGRAM,
        status=attempted.status,
        said=attempted.said,
        limit=limit,
        deploy_user=facts.get("user", ""),
        full=facts.get("full", ""),
    )
    return kind(**told, state="nothing was touched", host=link.host, logs=attempted.lines)


def _look(link: Link, app: str, *, terminal: bool = False) -> _Seen:
    """Run the command that looks around. Raises Unreachable when the connection is lost."""
    argv: Sequence[str] = ["sh", "-c", _LOOK, "sh", _MARK.decode(), PROGRAM, app]
    deadline = time.monotonic() + _PATIENCE
    noise, facts, began = b"", dict[str, str](), False
    with link.open(argv, terminal=terminal) as channel:
        if not terminal:
            channel.close_stdin()
        try:
            noise = channel.skip(_MARK, deadline, MOST_NOISE)
            began = bool(channel.readline(deadline))
            while "over" not in facts and (line := channel.readline(deadline)):
                name, found, value = line.strip().decode("utf-8", "replace").partition("=")
                if found:
                    facts.setdefault(name, value)
        except (TimeoutError, LongLineError):
            return _Seen(began=began, facts=facts, noise=noise)
    return _Seen(began=began, ended=not began, facts=facts, noise=noise)
