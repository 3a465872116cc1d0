"""The users of an app: its own, the one who deploys it, and who may look into its directory."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Sequence

from deployer.host import claims, systemd
from deployer.host.errors import HostError

_ADD_KEYS = """
umask 077
mkdir -p ~/.ssh
file=~/.ssh/authorized_keys
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
"""Run by the deploy user; the keys come on standard input. One that is there counts, whatever its comment says."""


def ensure_users(app: str, deploy: str) -> list[str]:
    """Both exist; what was made, in words. Raises HostError."""
    changed = []
    if claims.find_user(app) is None:
        _do("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", f"/var/lib/{app}",
            "--shell", "/usr/sbin/nologin", "--comment", f"{claims.COMMENT} {app}", app)  # fmt: skip
        changed.append(f"user {app}")
    if claims.find_user(deploy) is None:
        _do("useradd", "--create-home", "--shell", "/bin/bash", "--comment", "deploys by deployer", deploy)
        changed.append(f"user {deploy}")
    return changed


def ensure_members(app: str, members: Sequence[str], *, former: str) -> list[str]:
    """``members`` that exist may look into /srv/APP; ``former``, who deployed before, may no longer."""
    there = grp.getgrnam(app).gr_mem
    changed = []
    for member in members:
        if member and member not in there and claims.find_user(member):
            _do("usermod", "--append", "--groups", app, member)
            changed.append(f"{member} in group {app}")
    if former not in members and former in there:
        _do("gpasswd", "--delete", former, app)
        changed.append(f"{former} no longer in group {app}")
    return changed


def ensure_keys(user: str, keys: Sequence[str]) -> list[str]:
    """Add public keys, as the user itself: root writes nothing through a path that user could swap."""
    if not keys:
        return []
    home = pwd.getpwnam(user).pw_dir
    argv = ["runuser", "-u", user, "--", "env", f"HOME={home}", "/bin/sh", "-euc", _ADD_KEYS]
    done = systemd.run(argv, stdin="".join(f"{key}\n" for key in keys).encode())
    if not done.ok:
        raise HostError(f"the keys of {user} could not be written", logs=done.tail())
    count = int(done.out)
    return [f"{count} key{'s' if count > 1 else ''} for {user}"] if count else []


def _do(*argv: str) -> None:
    done = systemd.run(argv)
    if not done.ok:
        raise HostError(f"{' '.join(argv)} failed", logs=done.tail())
