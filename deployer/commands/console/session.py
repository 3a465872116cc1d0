"""A command on every host of a fleet: its input, its output, its time limit, how it ended."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from deployer import events
from deployer.commands.console.standardinput import StandardInput, has_input
from deployer.commands.console.terminal import LocalTerminal
from deployer.commands.release.deploy import release_number
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote.answers import Run
from deployer.remote.console import Command, Console
from deployer.remote.site import Site, open_remote
from deployer.rollout import duration
from deployer.ui.style.text import seconds
from deployer.wire.advice import do
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import PROCESS, PROCESS_LENGTH
from deployer.wire.release.command import LIMIT, LIMITS, MANAGE, PLACE, RUN, SHELL, TIMED_OUT

__all__ = ["Place", "Wanted", "execute", "is_interactive", "is_terminal", "place_of"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and for how long a command runs: a release (0: the one that serves), a process (empty: none), seconds."""

    release: int = 0
    process: str = ""
    timeout: int = LIMIT


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be run, and where."""

    argv: Sequence[str]
    place: Place
    kind: str = RUN

    @property
    def typed(self) -> str:
        """The command, for people."""
        words = {RUN: [], SHELL: ["shell"], MANAGE: ["manage.py"]}[self.kind]
        return shlex.join([*words, *self.argv])[:200]


def place_of(release: str, process: str, timeout: str) -> Place:
    """The options as they were typed. Raises ConfigError."""
    if process and (not PROCESS.match(process) or len(process) > PROCESS_LENGTH):
        raise ConfigError(message=f"not a process: {process!r}", next=do("name one of deploy.toml: --process worker"))
    return Place(
        release=release_number(release) if release else 0,
        process=process,
        timeout=_seconds(timeout) if timeout else LIMIT,
    )


def _seconds(text: str) -> int:
    found = duration(text)
    if found is None or found != int(found) or not LIMITS[0] <= found <= LIMITS[1]:
        wanted = f"whole seconds are wanted, and at most {LIMITS[1] // 86400} days"
        raise ConfigError(message=f"--timeout {text}: {wanted}", next=do("say --timeout 90s, --timeout 30m or 12h"))
    return int(found)


def execute(fleet: Fleet, wanted: Wanted) -> int:
    """Run a command on all hosts; the highest of their exit statuses. What it prints is reported as it comes.

    A host on which it could not be run counts with deployer's own exit code. On a terminal, and on one host, it has a
    terminal; else Ctrl-C ends it on all hosts, and gives 130. What is piped in goes to each.
    """
    if is_interactive(fleet):
        return _interactive(fleet, wanted)
    with ExitStack() as stack:
        given = stack.enter_context(StandardInput(fleet.hosts)) if has_input() else None
        raw = len(fleet.sites) == 1 and not fleet.json and not is_terminal(1)

        def work(site: Site) -> int:
            return _run(site, wanted, given, raw=raw, tell=len(fleet.sites) > 1)

        try:
            ends = each(fleet, work, all_at_once=True)
        except KeyboardInterrupt:
            return int(Exit.INTERRUPTED)
        return conclude(fleet, ends, exit_of=int, worst=max)


def _run(site: Site, wanted: Wanted, given: StandardInput | None, *, raw: bool, tell: bool) -> int:
    try:
        with open_remote(site) as (remote, _):
            command = _command(wanted, takes_input=given is not None, raw=raw)

            def begun(console: Console) -> None:
                if given is not None:
                    given.feed(site.host, console)

            ended = Console(remote, command, begun).run(_place(site))
    finally:
        if given is not None:
            given.leave(site.host)
    if raw and ended.masked:
        site.report(events.Warn(host=site.host, text=_masked(ended.masked)))
    return _told(site, wanted, ended, tell=tell)


def _interactive(fleet: Fleet, wanted: Wanted) -> int:
    """On one host, with its terminal and ours. What is not printed by the command is shown when the terminal is as it
    was."""
    later: list[events.Event] = []
    screen = _Screen(fleet.report)

    def work(site: Site) -> int:
        with open_remote(site) as (remote, _), LocalTerminal() as terminal:
            remote.report = lambda event: screen(event) if isinstance(event, events.Data) else later.append(event)
            command = replace(_command(wanted, takes_input=True), terminal=terminal.described)
            ended = Console(remote, command, terminal.serve).run(_place(site))
        return _told(site, wanted, ended, tell=False)

    try:
        ends = each(fleet, work)
    except KeyboardInterrupt:  # Enter ~ .
        later.append(events.Note(host=fleet.hosts[0], text="left; the host ends the command"))
        return int(Exit.INTERRUPTED)
    finally:
        screen.end_line()
        for event in later:
            fleet.report(event)
    return conclude(fleet, ends, exit_of=int, worst=max)


class _Screen:
    """Reports what a command prints, and knows whether the cursor stands behind something."""

    def __init__(self, report: events.Reporter) -> None:
        self._report = report
        self._last = b"\n"

    def __call__(self, event: events.Data) -> None:
        self._last = event.data[-1:] or self._last
        self._report(event)

    def end_line(self) -> None:
        """What is printed next begins a line."""
        if self._last not in b"\r\n":
            self._report(events.Data(data=b"\n"))


def _command(wanted: Wanted, *, takes_input: bool, raw: bool = False) -> Command:
    place = wanted.place
    return Command(
        argv=wanted.argv,
        kind=wanted.kind,
        release=place.release,
        process=place.process,
        timeout=place.timeout,
        takes_input=takes_input,
        raw=raw,
    )


def _told(site: Site, wanted: Wanted, ended: Run, *, tell: bool) -> int:
    """The exit status, after what is to be said of it."""
    if ended.timed_out:
        message = f"{wanted.typed} did not end within {seconds(wanted.place.timeout)}, and was stopped"
        longer = do("give it longer: --timeout 12h")
        site.report(
            events.Failed(host=site.host, exit=TIMED_OUT, message=message, state="what it did stays", next=longer)
        )
    elif ended.status and tell:
        message = f"{wanted.typed} ended with exit status {ended.status}"
        site.report(events.Failed(host=site.host, exit=ended.status, message=message))
    return ended.status


def _masked(count: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    text = f"the output is not byte for byte what the command printed: a secret was in it, {times}, and is ****"
    return f"{text} now; what must be whole, compress on the host: fab run -- sh -c 'COMMAND | gzip'"


def _place(site: Site) -> str:
    """The host's name in a prompt."""
    name = site.target.host
    return name if PLACE.fullmatch(name) else "host"


def is_interactive(fleet: Fleet) -> bool:
    """Whether a person sits at the terminal that the command would have: one host, both ends, in the foreground."""
    if fleet.json or len(fleet.sites) > 1 or not (is_terminal(0) and is_terminal(1)):
        return False
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def is_terminal(descriptor: int) -> bool:
    """A closed one is none."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
