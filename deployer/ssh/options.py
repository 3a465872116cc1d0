"""The options of a connection, and the questions asked while logging in."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from pathlib import Path
from typing import Literal, Protocol

from deployer.events import Event, Reporter
from deployer.ssh.login.limit import LoginLimit
from deployer.ssh.target import Target
from deployer.wire.lazydata import dataclass

__all__ = ["Ask", "HostKeys", "Question", "SshOptions", "Target", "ignore", "ssh_command"]

HostKeys = Literal["config", "strict", "accept-new"]


def ignore(event: Event) -> None:
    """A Reporter that discards events."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a person is asked while we log in: ``text`` names it, ``host`` is where the answer is needed.

    ``note`` is what the host wants said before. The answer is not shown while it is typed if it is ``secret``, and is
    the same for all that ask in the same words if it counts ``once`` (a passphrase does, a verification code does not).
    """

    text: str
    host: str = ""
    note: str = ""
    secret: bool = True
    once: bool = True


class Ask(Protocol):
    """Asks a person. May be called from several threads. ``wrong`` is the answer that turned out to be wrong; None as
    the answer means that there is none."""

    def __call__(self, question: Question, wrong: str | None = None, /) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class SshOptions:
    """How to connect, beside what ssh_config says.

    ``host_keys``: "config" does what StrictHostKeyChecking says (unknown keys are refused unless it is
    ``accept-new`` or ``no``), "strict" refuses unknown keys, "accept-new" records them. A changed or revoked
    key is refused whatever this says. ``connect_timeout`` (seconds) bounds each step of connecting; None is
    ssh_config's ConnectTimeout, or 15. ``password_prompt`` is None where no one can be asked. ``terminal`` is entered
    for as long as another program (a ProxyCommand) may ask something at the terminal by itself.
    ``report`` gets a Warn for each recorded host key.
    ``login_limit`` bounds how many of those that share it log in to one sshd at the same time.
    """

    config_file: Path | None = None
    host_keys: HostKeys = "config"
    connect_timeout: float | None = None
    identities: tuple[Path, ...] = ()
    password: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    sudo_password: str | None = field(default=None, repr=False)
    password_prompt: Ask | None = None
    terminal: Callable[[], AbstractContextManager[object]] = nullcontext
    report: Reporter = ignore
    login_limit: LoginLimit = field(default_factory=LoginLimit, repr=False, compare=False)


def ssh_command(target: Target, options: SshOptions) -> str:
    """The ``ssh`` command a person can type to reach the same host in the same way."""
    argv = ["ssh"]
    if options.config_file:
        argv += ["-F", str(options.config_file)]
    for identity in options.identities:
        argv += ["-i", str(identity)]
    if target.port:
        argv += ["-p", str(target.port)]
    return shlex.join([*argv, f"{target.user}@{target.host}" if target.user else target.host])
