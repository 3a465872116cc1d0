"""``[processes.NAME]`` and ``[timers.NAME]``: what runs beside the web process, and takes no requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from deployer.config import check as values
from deployer.config.check import Invalid
from deployer.config.declare import key, seconds, whole
from deployer.config.tables.web import UnitTable
from deployer.wire.protocol import PROCESS, PROCESS_LENGTH, WEB
from deployer.wire.release.processes import COUNT, MOST_PROCESSES, RUN, STOP


# fmt: off
class ProcessConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What runs all the time and takes jobs, no requests, such as the worker of a queue. Its NAME is yours: lower-case
    letters, digits and `_`, a letter first, at most 24 of them; not `web`."""

    command: Annotated[str, key(
        "What is run, without a shell. A program without a slash is that of the virtual environment, else the host's; "
        "one such as `bin/worker` is in the code. It must end by itself at SIGTERM.",
        'a command, in one line, such as "celery -A shop worker"')]
    count: Annotated[int, whole("How many of it run on each host.", COUNT)] = 1
    stop: Annotated[float, seconds(
        "How many seconds it gets to finish what it has in hand, from the moment it is told to stop.",
        STOP, above=True)] = 30.0
    overlap: Annotated[bool, key(
        "Whether the new one starts as soon as the old one was told to stop, while that finishes what it has in hand. "
        "`false`: when the old one has ended, for what must never run twice.",
        "true or false")] = True
    once: Annotated[bool, key(
        "Whether it runs on one host of the fleet only: the first of `hosts` that names it in its `processes`, else "
        "the first that has no `processes`.",
        "true or false")] = False
    check: Annotated[str | None, key(
        "A command that must succeed before the switch, with the new code; run as `release.migrate` is.",
        'a command such as "python manage.py check"')] = None
    unit: Annotated[UnitTable, key(
        "As `web.unit`, for this process.",
        "a table whose values are strings, whole numbers, true, false, or lists of them")] = {}

    def __post_init__(self) -> None:
        values.program("command", self.command)
        if self.check is not None:
            values.command("check", self.check)
        values.unit_table("unit", self.unit)


class TimerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that runs at certain times. Its NAME is as those of processes, and not that of one."""

    command: Annotated[str, key(
        "What is run, without a shell, as for a process.",
        'a command, in one line, such as "python manage.py clearsessions"')]
    calendar: Annotated[str, key(
        "When, as systemd writes it: systemd.time(7), under \"Calendar events\". The time is the host's own, unless a "
        "time zone is named at its end.",
        values.CALENDAR_EXPECTED)]
    persistent: Annotated[bool, key(
        "Whether a run that was missed while the host was off is made up for, once, when it is up again.",
        "true or false")] = True
    timeout: Annotated[Annotated[float, Meta(ge=RUN[0], le=RUN[1])] | None, key(
        "After how many seconds a run is ended. Left out: never.",
        "a number of seconds from 1 to 604800")] = None
    once: Annotated[bool, key(
        "Whether it runs on one host of the fleet only, as for a process.", "true or false")] = True
    unit: Annotated[UnitTable, key(
        "As `web.unit`, for what the timer runs.",
        "a table whose values are strings, whole numbers, true, false, or lists of them")] = {}

    def __post_init__(self) -> None:
        values.program("command", self.command)
        values.calendar("calendar", self.calendar)
        values.unit_table("unit", self.unit)
# fmt: on


def check_names(processes: Iterable[str], timers: Iterable[str]) -> None:
    """Refuse names that no unit can have, the one that is not free, and one that is used twice. Raises Invalid."""
    taken: dict[str, str] = {}
    for table, names in (("processes", list(processes)), ("timers", list(timers))):
        if len(names) > MOST_PROCESSES:
            raise Invalid(table, f"are {len(names)}, and may be {MOST_PROCESSES}")
        for name in names:
            if not PROCESS.fullmatch(name) or len(name) > PROCESS_LENGTH:
                few = f"at most {PROCESS_LENGTH} lower-case letters, digits and _, a letter first"
                raise Invalid(table, f"is not a name that it can have: {few}", name)
            if name == WEB:
                raise Invalid(table, f"is the name of what answers requests; its table is [{WEB}]", name)
            if name in taken:
                raise Invalid(table, f"is the name of a process already: [{taken[name]}.{name}]", name)
            taken[name] = table
