"""Every boundary of a command, one after the other: the same host, the same command, another moment of the fault."""

from __future__ import annotations

import errno
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from . import rules
from .faults import REFUSED_BY, DiskFails, Fault, Kill, PowerCut, Terminate
from .host import Outcome, SimulatedHost
from .likeness import likeness, likeness_without_power
from .programs import Change
from .saved import Saved

Command = Callable[[SimulatedHost], Outcome]
_LOOKS = ("show", "list-units", "list-jobs", "is-system-running", "verify", "-xlnH", "-I")


def changes_nothing(change: Change) -> bool:
    """Whether the host is the same after it: what dies just after it dies as well just before it, or, of a file that
    has not its name yet, in the middle of it."""
    if change.what == "write":
        return change.words[0].endswith(".tmp")
    return change.what == "fsync" or (change.what == "command" and any(word in _LOOKS for word in change.words[:3]))


def deaths(trace: Sequence[Change]) -> Iterator[int]:
    """All moments at which a program may die, but those that cannot be told from the one before."""
    yield 1
    yield from (change.number + 1 for change in trace[:-1] if not changes_nothing(change))


def forgettings(trace: Sequence[Change]) -> Iterator[int]:
    """All moments at which the power may go, and take along what was not synced, but those that leave the same host
    behind as the one before: what was only asked or written meanwhile makes no difference, what was synced does.

    With ``EVERY_WALK=1`` really all of them.
    """
    if os.environ.get("EVERY_WALK"):
        yield from every(trace)
        return
    yield 1
    yield from (change.number + 1 for change in trace[:-1] if change.what == "fsync" or not changes_nothing(change))


def refusals(error: int) -> Callable[[Sequence[Change]], Iterator[int]]:
    """All moments from which on a disk may refuse with that error."""
    return lambda trace: (change.number for change in trace if change.what in REFUSED_BY[error])


def commands(trace: Sequence[Change]) -> Iterator[int]:
    """All commands (systemctl and its like)."""
    return (change.number for change in trace if change.what == "command")


def every(trace: Sequence[Change]) -> Iterator[int]:
    return (change.number for change in trace)


@dataclass(frozen=True)
class Trial:
    """A fault that strikes at one moment, and which moments are to be tried."""

    name: str
    fault: Callable[[int], Fault]
    moments: Callable[[Sequence[Change]], Iterator[int]]

    def __str__(self) -> str:
        return self.name


KILLED = Trial("killed", Kill, deaths)
POWER = Trial("power cut", PowerCut, deaths)
FORGETFUL = Trial("power cut, nothing written", lambda at: PowerCut(at, forgets=True), forgettings)
ABORTED = Trial("aborted", Terminate, every)
SHUT_DOWN = Trial("shut down", lambda at: Terminate(at, shutdown=True), deaths)
FULL = Trial("disk full", lambda at: DiskFails(at, errno.ENOSPC), refusals(errno.ENOSPC))
FULL_ONCE = Trial("disk full once", lambda at: DiskFails(at, errno.ENOSPC, lasts=False), refusals(errno.ENOSPC))
READ_ONLY = Trial("disk read-only", lambda at: DiskFails(at, errno.EROFS), refusals(errno.EROFS))
BAD_SECTOR = Trial("disk error once", lambda at: DiskFails(at, errno.EIO, lasts=False), refusals(errno.EIO))


@dataclass
class Findings:
    """What was wrong, and at which moments. ``exits`` are the codes that the laptop was told, by moment."""

    wrong: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    exits: dict[int, int | None] = field(default_factory=dict)
    moments: int = 0

    def add(self, moment: int, texts: list[str], root: str) -> None:
        for text in texts:
            self.wrong[re.sub(r"at change \d+", "at some change", text.replace(root, ""))].append(moment)

    def __str__(self) -> str:
        found = sorted(self.wrong.items(), key=lambda one: -len(one[1]))
        return "\n".join(f"{len(moments)} times, first at {moments[:8]}: {text}" for text, moments in found)


def walk(
    saved: Saved,
    command: Command,
    trial: Trial,
    *,
    served: bool = True,
    prepare: Callable[[SimulatedHost], object] = lambda _: None,
) -> Findings:
    """Try the command at every moment. ``prepare`` is done first, without faults.

    Many moments leave the same host behind. What comes of one was seen when it was first left, and is not tried again.
    """
    host, found, seen = saved.host, Findings(), Seen()
    for moment in trial.moments(_clean_trace(saved, command, prepare)):
        _start_over(saved, prepare)
        wrong = list(_one(host, command, trial.fault(moment), moment, found, served, seen))
        found.add(moment, wrong, str(host.root))
        found.moments += 1
    return found


@dataclass
class Seen:
    """The hosts of which it was tried how they go on: those that were off, those that had put themselves right."""

    off: set[bytes] = field(default_factory=set)
    recovered: set[bytes] = field(default_factory=set)


def _is_new(seen: set[bytes], likeness: bytes) -> bool:
    new = not likeness or likeness not in seen
    seen.add(likeness)
    return new


def _start_over(saved: Saved, prepare: Callable[[SimulatedHost], object]) -> None:
    saved.bring_back()
    prepare(saved.host)


def _clean_trace(saved: Saved, command: Command, prepare: Callable[[SimulatedHost], object]) -> list[Change]:
    _start_over(saved, prepare)
    with saved.host.suffering():
        command(saved.host)
        return list(saved.host.programs.trace)


def _one(
    host: SimulatedHost, command: Command, fault: Fault, moment: int, found: Findings, served: bool, seen: Seen
) -> Iterator[str]:
    before, ledger = host.web.current(), host.ledger
    host.stays_off = True
    with host.suffering(fault):
        outcome = command(host)
        if host.programs.stopping:
            host.reboot()
        if isinstance(fault, DiskFails):
            host.wait(40)  # the host tries in vain
    host.stays_off = False
    found.exits[moment] = outcome.exit
    if host.is_off and outcome.exit is None and not _is_new(seen.off, likeness_without_power(host)):
        yield from rules.so_far(host)
        return
    host.recover()
    swept = not isinstance(fault, DiskFails) or fault.lasts
    yield from rules.in_the_end(host, served=served, tidy=False, swept=swept)
    yield from rules.told_right(host, outcome, before)
    if not host.ledger.startswith(ledger):
        yield "the ledger is not what it was with something added"
    if _is_new(seen.recovered, likeness(host)):
        yield from _next_deploy(host)


def _next_deploy(host: SimulatedHost) -> Iterator[str]:
    ledger = host.ledger
    again = host.deploy(text="the next one")
    if again.exit != 0:
        yield f"the next deploy: {again}"
    host.recover()
    yield from (f"after the next deploy: {text}" for text in rules.in_the_end(host))
    if not host.ledger.startswith(ledger):
        yield "after the next deploy the ledger is not what it was with something added"
