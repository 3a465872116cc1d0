"""Accounts that do not expire: after the end of a password or an account no deploy, and no start of the app, works.

PAM checks these dates at each login and each sudo, also when nobody logs in by password.
"""

from __future__ import annotations

import time

from deployer.host.errors import HostError
from deployer.host.system import runner
from deployer.wire.advice import do
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass

NEVER = ("-K", "PASS_MAX_DAYS=-1", "-K", "PASS_MIN_DAYS=0", "-K", "PASS_WARN_AGE=7", "-f", "-1", "-e", "")
"""Options of useradd(8) that override /etc/login.defs and /etc/default/useradd."""
_FOREVER = 10_000
"""From this many days on, no end is meant: useradd's default is 99999."""
_NO_PASSWORD = ("!", "!!", "!*")
"""Passwords that lock an account without a password. ``*`` matches no password either, but does not lock."""


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
        """Why the account cannot log in now or some day; empty when it does not expire."""
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
        """Whether it cannot log in now."""
        if self.expires is not None and today >= self.expires:
            return True
        ends = self.changed is not None and self.longest is not None and today > self.changed + self.longest
        return self.changed == 0 or (ends and (self.longest or 0) < _FOREVER)

    @property
    def locked(self) -> bool:
        """Whether an sshd without PAM refuses the account, even by key."""
        return self.password.startswith("!")

    @property
    def by_password(self) -> bool:
        """Whether the account has a password: its expiry is then somebody's policy."""
        return bool(self.password) and self.password[0] not in "!*"


def today() -> int:
    return int(time.time() // 86400)


def date(day: int) -> str:
    """``2026-11-28``."""
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86400))


def shadow(user: str) -> Shadow | None:
    """The user's line of this host's shadow file; None for an account kept elsewhere (LDAP)."""
    line = runner.run(["getent", "shadow", user]).out.partition("\n")[0]
    fields = line.split(":")
    if len(fields) < 8 or fields[0] != user:
        return None
    changed, _, longest, _, inactive, expires = (_days(text) for text in fields[2:8])
    return Shadow(password=fields[1], changed=changed, longest=longest, inactive=inactive, expires=expires)


def _days(text: str) -> int | None:
    """None for a field that is empty or -1."""
    return int(text) if text.isdigit() else None


ACCOUNT_EXPIRED = Cause(
    "account-expired",
    "the deploy user is a person's account, with a password, and it has expired",
    "{user} cannot log in: {problem}",
    do("as root on the host: chage -M -1 -I -1 -E -1 -d {today} {user}") + do("or choose another deploy_user"),
)


def prevent_expiry(user: str) -> list[str]:
    """Make an account without a password never expire. Returns what was changed.

    An account with a password is a person's, and left alone; raises HostError when it cannot log in.
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
    """Unlock an account without a password, without giving it one."""
    found = shadow(user)
    if found is None or found.password not in _NO_PASSWORD:
        return []
    done = runner.run(["usermod", "--password", "*", user])
    if not done.ok:
        raise HostError(f"usermod --password '*' {user} failed", logs=done.tail())
    return [f"{user} is not locked any more"]
