"""``fab setup``: install the host program and have it prepare the host for the app."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deployer import events, plan
from deployer.errors import ConfigError, Exit, Unreachable
from deployer.fleet import Fleet, conclude, each
from deployer.host.protocol import dumps
from deployer.program import BOOTSTRAP, TOO_OLD, host_program
from deployer.remote import Outcome
from deployer.site import Site, untouched
from deployer.ssh import Channel, Link, connect

__all__ = ["public_keys", "setup"]

_SILENCE = 2000.0
"""Seconds that a host may have nothing to say: it installs packages, for 15 minutes each time at the most."""
_NOT_FOUND = 127
"""A shell's exit status for a command that is not there."""


def setup(fleet: Fleet, *, keys: Sequence[str] = (), allow_units: Sequence[str] = ()) -> int:
    """Prepare the hosts, as root or as an admin with passwordless sudo. Idempotent: says what it changed.

    Returns the exit code. What goes wrong on one host keeps no other from being prepared.
    """
    for name in keys:  # bad ones are found before anything is connected
        _public_key(Path(name).expanduser())
    return conclude(
        fleet, each(fleet, lambda site: _setup(site, keys, allow_units)), exit_of=lambda outcome: outcome.exit
    )


def _setup(site: Site, keys: Sequence[str], allow_units: Sequence[str]) -> Outcome:
    started = time.monotonic()
    site.report(events.Connecting(host=site.host))
    with untouched(site.host):
        link = connect(site.target, site.ssh)
    with link:
        site.report(events.Connected(host=site.host, seconds=time.monotonic() - started, detail=f"as {link.user}"))
        public = public_keys(keys, [identity.path for identity in link.settings.identities])
        request = plan.setup_request(site.config, public, tuple(allow_units))
        return _follow(site, _start(link, request), link)


def _start(link: Link, request: dict[str, Any]) -> Channel:
    program = host_program()
    python = ["/usr/bin/python3", "-I", "-c", BOOTSTRAP, str(len(program.content)), program.digest]
    channel = link.open(python if link.is_root else ["sudo", "-n", "--", *python])
    try:
        channel.write(program.content)
        channel.write(dumps(request))
        channel.close_stdin()
    except BrokenPipeError:
        pass  # what it said before it ended is read below
    return channel


def _follow(site: Site, channel: Channel, link: Link) -> Outcome:
    for message in _messages(site, channel):
        event = events.parse(message, site.host)
        if event is not None:
            site.report(event)
        if isinstance(event, events.Finished):
            return Outcome(host=site.host, exit=Exit(event.exit), release="", serving="")
    raise _not_started(site, link, channel)


def _not_started(site: Site, link: Link, channel: Channel) -> ConfigError:
    """The program ended without a last word: nearly always because it could not become root."""
    status = channel.exit_status(30)
    said = channel.stderr.decode("utf-8", "replace").strip().splitlines()
    bare = site.target.name.rpartition("@")[2]
    message = f"{link.user} cannot set up {bare}: its program does not run there as root (exit status {status})"
    next = f"fab setup -H root@{bare}   (root, or an admin whom sudo asks for no password)"
    if status == TOO_OLD and said:
        message, next, said = (
            said[-1],
            "install a newer Python as /usr/bin/python3 on the host, or upgrade its system",
            [],
        )
    elif status == _NOT_FOUND:
        lacks = "python3" if link.is_root else "sudo or python3"
        message, next = f"{bare} lacks {lacks}", f"as root on the host: apt-get install {lacks.replace(' or', '')}"
    return ConfigError(
        message=message, state="nothing that serves was touched", next=next, host=site.host, logs=said[-15:]
    )


def _messages(site: Site, channel: Channel) -> Iterator[dict[str, Any]]:
    """Raises Unreachable when the next one has not come within _SILENCE."""
    while line := _line(site, channel):
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            yield message


def _line(site: Site, channel: Channel) -> bytes:
    try:
        return channel.readline(time.monotonic() + _SILENCE)
    except TimeoutError:
        raise Unreachable(
            message=f"{site.host} has said nothing for {_SILENCE / 60:.0f} minutes",
            state="nothing that serves was touched; what it is at goes on",
            next=f"look at the host; then fab setup -H root@{site.target.host}   (again)",
            host=site.host,
        ) from None


def public_keys(given: Sequence[str], identities: Sequence[Path]) -> tuple[str, ...]:
    """The public keys that may deploy: the files given, else those beside the keys that ssh would offer this host
    (``-i``, ssh_config, the usual names in ``~/.ssh``), else the agent's.

    Raises ConfigError when there is none, or when a file holds a private key.
    """
    paths = [Path(name).expanduser() for name in given]
    paths = paths or [path for identity in identities if (path := Path(f"{identity}.pub")).is_file()]
    keys = [_public_key(path) for path in paths] or _agent_keys()
    if not keys:
        raise ConfigError(
            message="no public key to give to the deploy user: none lies beside the keys that ssh would use",
            state="nothing was touched",
            next="ssh-keygen -t ed25519, or fab setup --key FILE.pub",
        )
    return tuple(dict.fromkeys(keys))


def _agent_keys() -> list[str]:
    try:
        done = subprocess.run(["ssh-add", "-L"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _public_key(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            message=f"the public key {path} cannot be read: {error}", state="nothing was touched"
        ) from None
    if "PRIVATE KEY" in text or "\n" in text or len(text.split()) < 2:
        raise ConfigError(message=f"{path} is not a public key of one line", state="nothing was touched")
    return text
