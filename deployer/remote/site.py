"""Where a command works, and how it gets there: the project here, one host, the connection, the session."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deployer import events
from deployer.config import Config
from deployer.errors import Interrupted
from deployer.events import Reporter
from deployer.remote.facts import Facts
from deployer.remote.program import host_program
from deployer.remote.session import Remote
from deployer.ssh.link import Link, connect
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_BY

__all__ = ["Site", "ask", "open_remote", "untouched", "who"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a command works: the project on this machine, one host, and the reporter of its events.

    ``advise`` makes a command to type next fit the command line.
    """

    root: Path
    config: Config
    target: Target
    ssh: SshOptions
    report: Reporter
    advise: Callable[[str], str] = str

    @property
    def host(self) -> str:
        return self.target.name


def _connect(site: Site) -> Link:
    site.report(events.Connecting(host=site.host))
    return connect(site.target, site.ssh)


@contextmanager
def untouched(host: str = "", doing: str = "connecting") -> Iterator[None]:
    """A Ctrl-C in the block raises Interrupted: no host has been asked to begin anything."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message=f"interrupted while {doing}", state="nothing was touched", host=host) from None


@contextmanager
def open_remote(site: Site) -> Iterator[tuple[Remote, Facts]]:
    """A session with the host, and what it says of itself."""
    started = time.monotonic()
    with ExitStack() as opened:
        with untouched(site.host):
            link = opened.enter_context(_connect(site))
            remote = Remote(link, site.config.app, site.report)
            facts = ask(site, remote, started)
        yield remote, facts


def ask(site: Site, remote: Remote, started: float) -> Facts:
    """What the host has; warns when its program is of another version. ``started``: when connecting began."""
    program = host_program()  # packed while the one on the host starts
    facts = remote.ask()
    detail = f"{facts.current} serves" if facts.current else "nothing serves yet"
    site.report(events.Connected(host=site.host, seconds=time.monotonic() - started, detail=detail))
    if facts.program != program.digest:
        text = "the host program is of another version than this deployer"
        site.report(events.Warn(host=site.host, text=f"{text}; fab setup -H root@{site.target.host} updates it"))
    return facts


def who() -> str:
    """The person at this machine, for the records of the host. What names them may hold anything (``LOGNAME``)."""
    try:
        name = f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        name = socket.gethostname()
    return "".join(character if character.isprintable() else "?" for character in name)[:MOST_BY]
