"""``fab setup``: install the host program and have it prepare the host for the app."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deployer import events
from deployer.commands.prepare.asroot import SETUP, run_as_root
from deployer.commands.release.deploy import collect_source
from deployer.commands.release.outside import told_at_end
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.project.locks.lockfile import Lock, lock_of
from deployer.release.setup import setup_request
from deployer.remote.session import Outcome
from deployer.remote.site import Site
from deployer.ssh.link import Link
from deployer.wire.advice import do, run
from deployer.wire.reader import MOST_TEXT
from deployer.wire.release.processes import DIRECTIVE
from deployer.wire.setup.request import PUBLIC_KEY

__all__ = ["public_key", "public_keys", "setup"]


def setup(fleet: Fleet, *, keys: Sequence[str] = (), allow_units: Sequence[str] = (), upgrade: bool = False) -> int:
    """Prepare the hosts, as root or as an admin, whose sudo password is asked for. Idempotent: says what it changed.

    Returns the exit code. What goes wrong on one host keeps no other from being prepared.
    """
    for name in keys:  # bad ones are found before anything is connected
        public_key(Path(name).expanduser())
    for name in allow_units:
        if not DIRECTIVE.fullmatch(name):
            raise ConfigError(message=f"--allow-unit {name}: not the name of a systemd directive, such as MemoryMax")
    refuse_several(fleet)
    lock = _lock(fleet)

    def prepare(site: Site) -> Outcome:
        def request(link: Link) -> dict[str, Any]:
            public = public_keys(keys, [identity.path for identity in link.settings.identities])
            return setup_request(site.config, public, tuple(allow_units), lock=lock, upgrade=upgrade)

        return run_as_root(site, SETUP, request)

    fleet = told_at_end(fleet, always=True)
    outcomes = each(fleet, prepare)
    return conclude(fleet, outcomes, exit_of=lambda outcome: outcome.exit)


def refuse_several(fleet: Fleet) -> None:
    """Raises ConfigError where several hosts would each have a database of their own."""
    if len(fleet.sites) > 1 and (services := fleet.config.host.services):
        raise ConfigError(
            message=f"[host.{services[0]}] is for a single host, and these are {len(fleet.sites)}: each would have data"
            " of its own",
            state="nothing was touched",
            next=do("set up one host with -H; or take the table out of deploy.toml, and set the URL of a service that "
                    "all hosts reach in [env]"),
        )  # fmt: skip


def _lock(fleet: Fleet) -> Lock | None:
    """The lock of the working tree, which says what Python a host needs; None where it does not ship yet."""
    try:
        return lock_of(fleet.config, collect_source(fleet, None, dirty=True), required=False)
    except ConfigError as error:
        told = f"which Python the project needs is not known, so none is installed for it: {error.message}"
        for site in fleet.sites:
            site.report(events.Warn(host=site.host, text=told))
        return None


def public_keys(given: Sequence[str], identities: Sequence[Path]) -> tuple[str, ...]:
    """The public keys that may deploy: the files given, else those beside the keys that ssh would offer this host
    (``-i``, ssh_config, the usual names in ``~/.ssh``), else the agent's.

    Raises ConfigError when there is none, or when a file holds a private key.
    """
    paths = [Path(name).expanduser() for name in given]
    paths = paths or [path for identity in identities if (path := Path(f"{identity}.pub")).is_file()]
    keys = [public_key(path) for path in paths] or _agent_keys()
    if not keys:
        raise ConfigError(
            message="no public key to give to the deploy user: none lies beside the keys that ssh would use",
            state="nothing was touched",
            next=run("ssh-keygen -t ed25519") + do("or fab setup --key FILE.pub"),
        )
    return tuple(dict.fromkeys(keys))


def _agent_keys() -> list[str]:
    try:
        done = subprocess.run(["ssh-add", "-L"], capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    keys = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []
    return [key for key in keys if PUBLIC_KEY.fullmatch(key)]


def public_key(path: Path) -> str:
    """The key in a file. Raises ConfigError when it holds none, or a private one."""
    try:
        text = path.read_bytes().decode("utf-8", "replace").strip()  # a comment may be of any encoding
    except OSError as error:
        raise ConfigError(message=f"the public key {path} cannot be read: {error.strerror}") from None
    if not PUBLIC_KEY.fullmatch(text) or len(text) > MOST_TEXT:
        raise ConfigError(message=f"{path} is not a public key of one line", state="nothing was touched")
    return text
