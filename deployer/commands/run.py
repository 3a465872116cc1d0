"""``fab run``: one command on every host, in the release that serves there."""

from __future__ import annotations

import array
import fcntl
import os
import shlex
import stat
import termios
from collections.abc import Sequence
from dataclasses import replace

from deployer import events
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote.site import Site, open_remote
from deployer.wire.advice import do, run
from deployer.wire.release.processes import argv_problem

__all__ = ["execute", "has_input", "refuse_none"]

_WANTED = "EOFError"
"""What Python programs end with that read where there is nothing to read."""


def execute(fleet: Fleet, argv: Sequence[str]) -> int:
    """Run a command on all hosts; the highest of their exit statuses, which are reported as they come.

    A host on which it could not be run counts with deployer's own exit code. Ctrl-C ends it on all of them, and gives
    130. Raises ConfigError when there is no command, or when there is input, which it would not get.
    """
    refuse_none(argv)
    _refuse_input()
    try:
        ends = each(fleet, lambda site: _execute(site, argv, tell=len(fleet.sites) > 1), all_at_once=True)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    if has_input():
        host = fleet.hosts[0] if len(fleet.hosts) == 1 else ""
        text = "input has come meanwhile, and the command did not get it: fab run gives none"
        fleet.report(events.Warn(host=host, text=text))
    return conclude(fleet, ends, exit_of=int, worst=max)


def refuse_none(argv: Sequence[str]) -> None:
    """Raises ConfigError when there is no command, or the host would refuse it."""
    if not argv or not argv[0]:
        raise ConfigError(message="no command was given", next=run("fab run -- python manage.py check"))
    if problem := argv_problem(argv):
        raise ConfigError(message=problem, next=do("put what is long into a file of the release"))


def _refuse_input() -> None:
    """Silently dropped, it would look as if the command had read it."""
    if has_input():
        raise ConfigError(
            message="there is data on standard input, and fab run gives a command no input",
            next=do("put what is meant for the command into a file of the release, or into an argument (python -c '…')")
            + do("or add < /dev/null when nothing is"),
        )


def _execute(site: Site, argv: Sequence[str], *, tell: bool) -> int:
    wanting = _Wanting(site.report)
    with open_remote(replace(site, report=wanting)) as (remote, _):
        status = remote.execute(argv)
    if status and wanting.input:
        text = f"{_WANTED}: the command asked for input, and fab run gives none; hand it what it asks for as arguments"
        site.report(events.Warn(host=site.host, text=text))
    if status and tell:
        message = f"{shlex.join(argv)[:200]} ended with exit status {status}"
        site.report(events.Failed(host=site.host, exit=status, message=message))
    return status


class _Wanting:
    """Passes events on, and remembers whether the command has missed its input."""

    def __init__(self, report: events.Reporter) -> None:
        self._report = report
        self.input = False

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Output) and event.line.startswith(_WANTED):
            self.input = True
        self._report(event)


def has_input(descriptor: int = 0) -> bool:
    """Whether there is data that a command could read now: the rest of a file, bytes in a pipe or a socket.

    Never waits. A terminal, /dev/null, a closed descriptor, and a pipe that nobody writes to (cron, CI) have none.
    """
    try:
        mode = os.fstat(descriptor)
        if stat.S_ISREG(mode.st_mode):
            return mode.st_size > os.lseek(descriptor, 0, os.SEEK_CUR)
        if stat.S_ISFIFO(mode.st_mode) or stat.S_ISSOCK(mode.st_mode):
            return _waiting(descriptor) > 0
    except OSError:
        return False
    return False


def _waiting(descriptor: int) -> int:
    """Bytes that are there to be read."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]
