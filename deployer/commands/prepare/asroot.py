"""A program of root's own on a host, as ``fab setup`` and ``fab destroy`` run it: sent, started, followed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from deployer import events
from deployer.errors import BadAnswer, ConfigError, Exit, Unreachable
from deployer.remote import decode
from deployer.remote.program import BOOTSTRAP, TOO_OLD, host_program
from deployer.remote.session import Outcome
from deployer.remote.site import Site, untouched
from deployer.ssh.channel import Channel
from deployer.ssh.link import Link, connect
from deployer.ssh.options import Question
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import dumps

__all__ = ["DESTROY", "SETUP", "RootTask", "run_as_root"]

_SILENCE = 2000.0
"""Seconds without output from the host before giving up: installing packages may take 15 minutes each time."""
_SUDO = ["sudo", "-k", "-S", "-p", "", "--"]
"""Always asks for the password, and reads it from standard input."""
_SUDO_REFUSED = 1
_TRIES = 3
_NOT_FOUND = 127
"""A shell's exit status for a command that is not there."""


@dataclass(frozen=True)
class RootTask:
    """The ``command`` that was typed, what it cannot do when it does not begin, and what is left when it breaks off."""

    command: str
    does: str
    untouched: str
    cut: str


SETUP = RootTask(
    "fab setup",
    "set up",
    "nothing that serves was touched",
    "what serves was not touched; how far the set-up came is not known",
)
DESTROY = RootTask("fab destroy", "remove the app from", "nothing was touched", "how far the removal came is not known")


def run_as_root(site: Site, task: RootTask, ask: Callable[[Link], dict[str, Any]]) -> Outcome:
    """Log in, start the program with the request that ``ask`` makes, report what it says; how it ended.

    An admin's sudo password is asked for where it is needed. Raises DeployerError.
    """
    started = time.monotonic()
    site.report(events.Connecting(host=site.host))
    with untouched(site.host):
        link = connect(site.target, site.ssh)
    with link:
        site.report(events.Connected(host=site.host, seconds=time.monotonic() - started, detail=f"as {link.user}"))
        request = ask(link)
        channel = _start(link, request)
        outcome = _follow(site, task, channel)
        if outcome is None and (password := _sudo_password(site, link, channel)):
            channel = _start(link, request, password)
            outcome = _follow(site, task, channel)
        if outcome is None:
            raise _not_started(site, task, link, channel)
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
    packed = program.packed()
    python = ["/usr/bin/python3", "-IXutf8", "-c", BOOTSTRAP, str(len(packed)), program.digest]
    sudo = ["sudo", "-n", "--"] if password is None else _SUDO
    channel = link.open(python if link.is_root else [*sudo, *python])
    try:
        if password is not None:
            channel.write(f"{password}\n".encode("utf-8", "surrogateescape"))
        channel.write(packed)
        channel.write(dumps(request))
        channel.close_stdin()
    except BrokenPipeError:
        pass  # what it said before it ended is read below
    return channel


def _follow(site: Site, task: RootTask, channel: Channel) -> Outcome | None:
    """None when the program did not begin."""
    for message in _messages(site, task, channel):
        event = events.parse(message, site.host)
        if event is not None:
            site.report(event)
        if isinstance(event, events.Finished):
            return Outcome(host=site.host, exit=Exit(event.exit), release="", serving="")
    return None


def _not_started(site: Site, task: RootTask, link: Link, channel: Channel) -> ConfigError:
    """The error when the program ended without a result: nearly always it could not become root."""
    status = channel.exit_status(30)
    said = channel.stderr.decode("utf-8", "replace").strip().splitlines()
    bare = site.target.name.rpartition("@")[2]
    message = f"{link.user} cannot {task.does} {bare}: its program does not run there as root (exit status {status})"
    next = run(f"{task.command} -H root@{bare}", "root, or an admin; at a terminal sudo's password is asked for")
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
        message = f"{task.command} cannot begin on {bare}: {said[-1]}"
        next = do(f"fix that on the host, as root; then {task.command} again")
    return ConfigError(message=message, state=task.untouched, next=next, host=site.host, logs=said[-15:])


def _messages(site: Site, task: RootTask, channel: Channel) -> Iterator[dict[str, Any]]:
    """The host's messages. Raises Unreachable after _SILENCE seconds without one, BadAnswer for invalid ones."""
    begun = False
    while line := _line(site, task, channel):
        try:
            message = decode.event(line, site.host, begun=begun)
        except BadAnswer as error:
            raise _not_understood(site, task, error) from None
        if message is not None and message["event"] in decode.EVENTS:
            begun = True
            yield message


def _not_understood(site: Site, task: RootTask, error: BadAnswer) -> BadAnswer:
    again = run(f"{task.command} -H {site.target.name}", "again: it is safe to repeat")
    next = run(f"ssh {site.target.name}", "who answers there?") + again
    return replace(error, state=task.cut, next=next)


def _line(site: Site, task: RootTask, channel: Channel) -> bytes:
    try:
        return channel.readline(time.monotonic() + _SILENCE)
    except BadAnswer as error:
        raise _not_understood(site, task, error) from None
    except TimeoutError:
        raise Unreachable(
            message=f"{site.host} has said nothing for {_SILENCE / 60:.0f} minutes",
            state=f"{task.untouched}; what it is at goes on",
            next=do("look at the host") + run(f"{task.command} -H root@{site.target.host}", "again"),
            host=site.host,
        ) from None
