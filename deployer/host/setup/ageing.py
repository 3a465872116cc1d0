"""Accounts that do not age: a password's or an account's end would end every deploy, or every start of the app.

PAM looks at these dates at each login and each sudo, whether or not anybody logs in by password.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from deployer.host.errors import HostError
from deployer.host.system import runner
from deployer.wire.advice import do
from deployer.wire.causes import Cause

NEVER = ("-K", "PASS_MAX_DAYS=-1", "-K", "PASS_MIN_DAYS=0", "-K", "PASS_WARN_AGE=7", "-f", "-1", "-e", "")
"""For useradd(8): whatever /etc/login.defs and /etc/default/useradd say of accounts in general."""
_FOREVER = 10_000
"""Days that mean no end: 99999 is what useradd sets where nothing is configured."""
_NO_PASSWORD = ("!", "!!", "!*")
"""What locks an account that has no password anyway. ``*`` does not lock it, and nobody can type it either."""


@dataclass(frozen=True)
class Shadow:
    """An account's line of shadow(5): days since 1970, None where a field is empty.

    ``changed`` is 0 when the password must be changed at the next login.
    """

    password: str
    changed: int | None
    longest: int | None
    inactive: int | None
    expires: int | None

    def problem(self, today: int) -> str:
        """Why the account cannot log in, or will not for ever; empty when it does not age."""
        if self.expires is not None:
            when = date(self.expires)
            return f"its account expired on {when}" if today >= self.expires else f"its account expires on {when}"
        if self.changed == 0:
            return "its password must be changed at the next login"
        if self.longest is None or self.changed is None or self.longest >= _FOREVER:
            return ""
        end = self.changed + self.longest
        return f"its password expired on {date(end)}" if today > end else f"its password expires on {date(end)}"

    def is_over(self, today: int) -> bool:
        """Whether it cannot log in any more."""
        if self.expires is not None and today >= self.expires:
            return True
        ends = self.changed is not None and self.longest is not None and today > self.changed + self.longest
        return self.changed == 0 or (ends and (self.longest or 0) < _FOREVER)

    @property
    def locked(self) -> bool:
        """Whether an sshd that does not use PAM lets nobody in, not even by key."""
        return self.password.startswith("!")

    @property
    def by_password(self) -> bool:
        """Whether somebody logs in with a password: how long that is good for is then somebody's policy."""
        return bool(self.password) and self.password[0] not in "!*"


def today() -> int:
    return int(time.time() // 86400)


def date(day: int) -> str:
    """``2026-11-28``."""
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86400))


def shadow(user: str) -> Shadow | None:
    """What this host's shadow says of a user; None for one whose account is kept elsewhere (LDAP)."""
    line = runner.run(["getent", "shadow", user]).out.partition("\n")[0]
    fields = line.split(":")
    if len(fields) < 8 or fields[0] != user:
        return None
    changed, _, longest, _, inactive, expires = (_days(text) for text in fields[2:8])
    return Shadow(password=fields[1], changed=changed, longest=longest, inactive=inactive, expires=expires)


def _days(text: str) -> int | None:
    """A field that is empty, or -1, says nothing."""
    return int(text) if text.isdigit() else None


ACCOUNT_EXPIRED = Cause(
    "account-expired",
    "the deploy user is a person's account, with a password, and it has expired",
    "{user} cannot log in: {problem}",
    do("as root on the host: chage -M -1 -I -1 -E -1 -d {today} {user}") + do("or choose another deploy_user"),
)


def mend(user: str) -> list[str]:
    """Have the account of a user not age, unless it is a person's, with a password; what was changed, in words.

    Raises HostError for a person's account that cannot log in as it is.
    """
    found = shadow(user)
    problem = found.problem(today()) if found else ""
    if found is None or not problem:
        return []
    if found.by_password:
        if found.is_over(today()):
            raise HostError(
                **ACCOUNT_EXPIRED.told(user=user, problem=problem, today=date(today())),
            )
        return []
    argv = ["chage", "-m", "0", "-M", "-1", "-I", "-1", "-E", "-1", "-d", date(today()), user]
    done = runner.run(argv)
    if not done.ok:
        raise HostError(f"{' '.join(argv)} failed", logs=done.tail())
    return [f"{user} does not expire any more ({problem})"]


def unlock(user: str) -> list[str]:
    """Give a user who has no password one that nobody can type, but that does not lock the account."""
    found = shadow(user)
    if found is None or found.password not in _NO_PASSWORD:
        return []
    done = runner.run(["usermod", "--password", "*", user])
    if not done.ok:
        raise HostError(f"usermod --password '*' {user} failed", logs=done.tail())
    return [f"{user} is not locked any more"]
