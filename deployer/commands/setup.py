"""``fab setup``: install the host program and have it prepare the host for the app."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer import events
from deployer.commands.deploy import collect_source
from deployer.errors import BadAnswer, ConfigError, Exit, Unreachable
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.project.locks.lockfile import Lock, lock_of
from deployer.release.setup import setup_request
from deployer.remote import decode
from deployer.remote.program import BOOTSTRAP, TOO_OLD, host_program
from deployer.remote.session import Outcome
from deployer.remote.site import Site, untouched
from deployer.ssh.channel import Channel
from deployer.ssh.link import Link, connect
from deployer.ssh.options import Question
from deployer.wire.advice import do, run
from deployer.wire.protocol import dumps
from deployer.wire.reader import MOST_TEXT
from deployer.wire.release.processes import DIRECTIVE
from deployer.wire.setup.request import PUBLIC_KEY

__all__ = ["public_key", "public_keys", "setup"]

_SILENCE = 2000.0
"""Seconds without output from the host before giving up: installing packages may take 15 minutes each time."""
_SUDO = ["sudo", "-k", "-S", "-p", "", "--"]
"""Always asks for the password, and reads it from standard input."""
_SUDO_REFUSED = 1
_TRIES = 3
_NOT_FOUND = 127
"""A shell's exit status for a command that is not there."""


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

    def request(site: Site, public: tuple[str, ...]) -> dict[str, Any]:
        return setup_request(site.config, public, tuple(allow_units), lock=lock, upgrade=upgrade)

    outcomes = each(fleet, lambda site: _setup(site, keys, request))
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


def _setup(site: Site, keys: Sequence[str], ask: Callable[[Site, tuple[str, ...]], dict[str, Any]]) -> Outcome:
    started = time.monotonic()
    site.report(events.Connecting(host=site.host))
    with untouched(site.host):
        link = connect(site.target, site.ssh)
    with link:
        site.report(events.Connected(host=site.host, seconds=time.monotonic() - started, detail=f"as {link.user}"))
        public = public_keys(keys, [identity.path for identity in link.settings.identities])
        request = ask(site, public)
        channel = _start(link, request)
        outcome = _follow(site, channel)
        if outcome is None and (password := _sudo_password(site, link, channel)):
            channel = _start(link, request, password)
            outcome = _follow(site, channel)
        if outcome is None:
            raise _not_started(site, link, channel)
        return outcome


def _sudo_password(site: Site, link: Link, refused: Channel) -> str | None:
    """The password that sudo wants of an admin, given beforehand or asked for, and tried; None when there is none."""
    if link.is_root or refused.exit_status(30) != _SUDO_REFUSED or link.run(["sudo", "-n", "/bin/true"]).exit == 0:
        return None
    question = Question(text=f"sudo password of {link.user}", host=site.host, once=False)
    ask, password = site.ssh.password_prompt, site.ssh.sudo_password
    for _ in range(_TRIES):
        if password is None and ask is not None:
            password = ask(question)
        if password is None:
            return None
        if link.run([*_SUDO, "/bin/true"], f"{password}\n".encode("utf-8", "surrogateescape")).exit == 0:
            return password
        question = replace(question, text=f"sudo password of {link.user} (that was not it)")
        password = None
    return None


def _start(link: Link, request: dict[str, Any], password: str | None = None) -> Channel:
    """Start the program as root; ``password`` is sudo's, which reads one line and leaves the rest to the program."""
    program = host_program()
    python = ["/usr/bin/python3", "-IXutf8", "-c", BOOTSTRAP, str(len(program.content)), program.digest]
    sudo = ["sudo", "-n", "--"] if password is None else _SUDO
    channel = link.open(python if link.is_root else [*sudo, *python])
    try:
        if password is not None:
            channel.write(f"{password}\n".encode("utf-8", "surrogateescape"))
        channel.write(program.content)
        channel.write(dumps(request))
        channel.close_stdin()
    except BrokenPipeError:
        pass  # what it said before it ended is read below
    return channel


def _follow(site: Site, channel: Channel) -> Outcome | None:
    """None when the program did not begin."""
    for message in _messages(site, channel):
        event = events.parse(message, site.host)
        if event is not None:
            site.report(event)
        if isinstance(event, events.Finished):
            return Outcome(host=site.host, exit=Exit(event.exit), release="", serving="")
    return None


def _not_started(site: Site, link: Link, channel: Channel) -> ConfigError:
    """The error when the program ended without a result: nearly always it could not become root."""
    status = channel.exit_status(30)
    said = channel.stderr.decode("utf-8", "replace").strip().splitlines()
    bare = site.target.name.rpartition("@")[2]
    message = f"{link.user} cannot set up {bare}: its program does not run there as root (exit status {status})"
    next = run(f"fab setup -H root@{bare}", "root, or an admin; at a terminal sudo's password is asked for")
    if status == TOO_OLD and said:
        message, next, said = (
            said[-1],
            do("install a newer Python as /usr/bin/python3 on the host, or upgrade its system"),
            [],
        )
    elif status == _NOT_FOUND:
        lacks = "python3" if link.is_root else "sudo or python3"
        message, next = f"{bare} lacks {lacks}", do(f"as root on the host: apt-get install {lacks.replace(' or', '')}")
    elif link.is_root and said:  # it is root already: what was said is the reason
        message = f"{bare} cannot be set up: {said[-1]}"
        next = do("fix that on the host, as root; then fab setup again")
    return ConfigError(
        message=message, state="nothing that serves was touched", next=next, host=site.host, logs=said[-15:]
    )


def _messages(site: Site, channel: Channel) -> Iterator[dict[str, Any]]:
    """The host's messages. Raises Unreachable after _SILENCE seconds without one, BadAnswer for invalid ones."""
    begun = False
    while line := _line(site, channel):
        try:
            message = decode.event(line, site.host, begun=begun)
        except BadAnswer as error:
            raise _not_understood(site, error) from None
        if message is not None and message["event"] in decode.EVENTS:
            begun = True
            yield message


def _not_understood(site: Site, error: BadAnswer) -> BadAnswer:
    state = "what serves was not touched; how far the set-up came is not known"
    again = run(f"fab setup -H {site.target.name}", "again: it is safe to repeat")
    next = run(f"ssh {site.target.name}", "who answers there?") + again
    return replace(error, state=state, next=next)


def _line(site: Site, channel: Channel) -> bytes:
    try:
        return channel.readline(time.monotonic() + _SILENCE)
    except BadAnswer as error:
        raise _not_understood(site, error) from None
    except TimeoutError:
        raise Unreachable(
            message=f"{site.host} has said nothing for {_SILENCE / 60:.0f} minutes",
            state="nothing that serves was touched; what it is at goes on",
            next=do("look at the host") + run(f"fab setup -H root@{site.target.host}", "again"),
            host=site.host,
        ) from None


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
