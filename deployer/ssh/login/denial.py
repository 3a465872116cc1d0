"""Why a login failed: the cause, by what was observed, and what to do next."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from deployer.errors import DeployerError, Unreachable
from deployer.ssh import causes
from deployer.ssh.login.keys import LoginAttempt
from deployer.ssh.options import SshOptions, ssh_command
from deployer.ssh.settings import SshSettings
from deployer.ssh.target import Target
from deployer.ssh.transport import printable
from deployer.wire.cause import Cause


def hung_up(
    target: Target, options: SshOptions, settings: SshSettings, attempt: LoginAttempt, goodbye: str, said: str
) -> Unreachable:
    """sshd says so when there were too many keys; an account that may not log in ends the connection without."""
    if goodbye and attempt.rejected:
        return _unreachable(causes.TOO_MANY_KEYS, target, options, settings, attempt, printable(goodbye))
    return _unreachable(causes.CLOSED, target, options, settings, attempt, f"; it said: {said}" if said else "")


def denied(target: Target, options: SshOptions, settings: SshSettings, attempt: LoginAttempt) -> DeployerError:
    cause = _cause(settings, attempt)
    return _unreachable(cause, target, options, settings, attempt)


def _cause(settings: SshSettings, attempt: LoginAttempt) -> Cause:
    """What was observed: which keys there are, and what the host made of them."""
    if attempt.accepted:
        return causes.SECOND_FACTOR
    if attempt.locked:
        return causes.LOCKED_KEY
    if attempt.methods and "publickey" not in attempt.methods:
        return causes.PASSWORD_ONLY
    there = any(identity.is_there for identity in settings.identities)
    return causes.KEY_REFUSED if attempt.rejected or there else causes.NO_KEY


def _unreachable(
    cause: Cause, target: Target, options: SshOptions, settings: SshSettings, attempt: LoginAttempt, said: str = ""
) -> Unreachable:
    key = attempt.locked[0] if attempt.locked else ""
    tried = [*attempt.rejected, *filter(None, [attempt.in_hand])]
    none = "no key could be offered" if attempt.unusable else "no key was found to offer"
    told = cause.told(
        host=target.name,
        user=settings.user,
        tried=f"tried: {', '.join(tried)}" if tried else none,
        count=len(tried),
        details="".join(f"; {one}" for one in (*attempt.unusable, *_hidden(settings))),
        key=attempt.accepted or shlex.quote(str(key)),
        methods=" or ".join(attempt.methods),
        said=said,
        root=", PermitRootLogin" if settings.user == "root" else "",
        allow=_allow(target, options, settings),
        by_hand=ssh_command(target, options),
    )
    return Unreachable(**told, state="nothing was touched", host=target.name)


def _hidden(settings: SshSettings) -> list[str]:
    directories = dict.fromkeys(one.path.parent for one in settings.identities if one.is_hidden)
    return [f"{directory} cannot be looked into: its permissions" for directory in directories]


def _allow(target: Target, options: SshOptions, settings: SshSettings) -> str:
    """The command that has the host accept a key of this machine."""
    there = [identity.path for identity in settings.identities if identity.is_there]
    public = shlex.quote(f"{there[0] if there else Path('~/.ssh/id_ed25519')}.pub")
    if settings.user != "root":
        return f"fab setup -H root@HOST --key {public}"
    bare = ssh_command(target, replace(options, identities=()))
    return bare.replace("ssh ", f"ssh-copy-id -i {public} ", 1)
