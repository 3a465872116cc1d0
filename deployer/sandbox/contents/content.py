"""What is inside a sandbox host: its packages, how the image is finished, and each host's own files."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass

from deployer.sandbox.contents.files import File

DISTRIBUTIONS = ("bullseye", "bookworm", "trixie")

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "python3",
    "python3-venv",
    "curl",
    "iproute2",
    "ca-certificates",
    "procps",
    "nginx-light",
    # What a server has that a minimal image lacks: a login starts a systemd manager and a bus for its user.
    "libpam-systemd",
    "dbus-user-session",
    "cron",
)

# Pointless in a throwaway host, or (udev, sysctl, modules) able to touch the machine that it shares.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-sysctl.service",
    "systemd-udevd.service",
)

# nginx starts only when somebody enables it: by default it would listen on every address of the machine.
FINISH_SCRIPT = f"""set -eu
update-ca-certificates >/dev/null 2>&1
systemctl disable nginx.service >/dev/null 2>&1
systemctl enable ssh.service >/dev/null 2>&1
rm -f /etc/nginx/sites-enabled/default /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
for unit in {" ".join(MASKED_UNITS)}; do ln -sf /dev/null "/etc/systemd/system/$unit"; done
"""


def recipe_digest(distribution: str, bundle: str) -> str:
    """A short key that changes whenever the image of `distribution` would come out differently."""
    recipe = json.dumps([2, distribution, PACKAGES, FINISH_SCRIPT, hashlib.sha256(bundle.encode()).hexdigest()])
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIdentity:
    """What makes one host itself. `listen` is the address its services bind, inside the host."""

    name: str
    listen: str
    host_key: bytes
    host_key_public: bytes
    authorized_key: bytes


def host_files(identity: HostIdentity) -> tuple[File, ...]:
    """The files that turn the shared image into this one host."""
    sshd = (
        f"ListenAddress {identity.listen}\n"
        "Port 22\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "MaxStartups 100\n"
        "UseDNS no\n"
    )
    hosts = f"127.0.0.1 localhost\n{identity.listen} {identity.name}\n"
    return (
        # A fixed identity also says "not the first boot", which would enable every unit again, nginx too.
        File(path="/etc/machine-id", content=f"{uuid.uuid4().hex}\n".encode(), mode=0o444),
        File(path="/etc/hostname", content=f"{identity.name}\n".encode()),
        File(path="/etc/hosts", content=hosts.encode()),
        File(path="/etc/deployer-sandbox-address", content=f"{identity.listen}\n".encode()),
        File(path="/etc/ssh/sshd_config.d/00-sandbox.conf", content=sshd.encode()),
        # Else every login ten seconds after the last starts its user's manager anew, a third of the cost of a status.
        File(path="/etc/systemd/logind.conf.d/00-sandbox.conf", content=b"[Login]\nUserStopDelaySec=10min\n"),
        File(path="/etc/ssh/ssh_host_ed25519_key", content=identity.host_key, mode=0o600),
        File(path="/etc/ssh/ssh_host_ed25519_key.pub", content=identity.host_key_public),
        File(path="/root/.ssh/authorized_keys", content=identity.authorized_key, mode=0o600),
    )
