"""The answer of ``fab plan``, on standard output."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TextIO

from rich.console import Console
from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.plan import Plan, PlannedProcess, PlannedTimer
from deployer.ui.answers.table import begin, light_table, refer, say_unreachable, write_answer
from deployer.ui.plain.jsonlines import write_object
from deployer.ui.stream import safe
from deployer.ui.style import paint
from deployer.ui.style.fit import put
from deployer.ui.style.names import Names
from deployer.ui.style.text import ahead, clean, commit, counted
from deployer.wire.environment import PLAIN
from deployer.wire.protocol import WEB

__all__ = ["show_plan", "show_would"]

NAMED = 8
"""Hosts of a group that are named; more are counted."""


def show_plan(
    plans: Sequence[Plan],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """What a deploy would have run on each host, those that would run the same together; with ``json`` one object."""
    if json:
        return write_answer([*map(asdict, plans)], unreachable, stream)
    now = time.time() if now is None else now
    hosts = [*(plan.host for plan in plans), *(end.host for end in unreachable)]
    names, many = Names(hosts), len(hosts) > 1
    console = begin(app or (plans[0].app if plans else ""), hosts, stream)
    if plans:
        paint.say(console, "  ", *_release(plans))
    for plan in plans:
        where = f"{names(plan.host)}: " if many else ""
        if plan.locked:
            paint.say(console, ("  ! ", "bold yellow"), f"{where}{clean(plan.locked)}")
        if plan.scaled:
            told = f"{clean(', '.join(plan.scaled))}: set by fab scale, whatever deploy.toml says"
            paint.say(console, ("  ! ", "yellow"), f"{where}{told}")
        if plan.busy:
            paint.say(console, ("  … ", "bold yellow"), f"{where}{clean(plan.busy)}")
    for group in _groups(plans):
        if many:
            few = names.few([plan.host for plan in group], NAMED)
            paint.say(console, "\n  ", (few, "bold cyan"), (f"  {counted(len(group), 'host')}", "dim"))
        _group(console, group, now)
    for note in dict.fromkeys(note for plan in plans for note in plan.notes):
        paint.say(console, ("  ! ", "bold yellow"), clean(note))
    say_unreachable(console, unreachable, names)
    return None


def show_would(
    texts: Mapping[str, str],
    unreachable: Sequence[HostEnd] = (),
    *,
    json: bool = False,
    stream: TextIO | None = None,
) -> None:
    """What would be done on each host, a sentence each; with ``json`` an object a line."""
    out = safe(stream or sys.stdout)
    if json:
        for host, text in texts.items():
            write_object(out, {"host": host, "would": text})
        for end in unreachable:
            write_object(out, asdict(end))
        return
    names = Names([*texts, *(end.host for end in unreachable)])
    for host, text in texts.items():
        out.write(f"{names(host)}: {clean(text)}\n")
    for end in unreachable:
        out.write(f"{refer(end, names)}\n")


def _release(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    """``v9 serves; a deploy makes v10 of main a1b2c3d``."""
    first = plans[0]
    counts = Counter(plan.current or "" for plan in plans).most_common()
    serving = [
        f"{clean(current) or 'nothing'} serves" + (f" on {counted(count, 'host')}" if len(counts) > 1 else "")
        for current, count in counts
    ]
    source = " ".join(part for part in (clean(first.ref), commit(first.commit)) if part)
    local = (" + local changes", "yellow") if first.dirty else ("", "")
    made = ("; a deploy makes ", ""), (clean(first.release), "bold"), (f" of {source}" if source else "", "")
    return [(", ".join(serving), ""), *made, local]


def _groups(plans: Sequence[Plan]) -> list[list[Plan]]:
    """Hosts that would run the same, and for which that is the same change."""
    groups: dict[tuple[object, ...], list[Plan]] = {}
    for plan in plans:
        timers = tuple(replace(timer, next=0.0, problem="") for timer in plan.timers)
        groups.setdefault((plan.processes, timers, plan.gone), []).append(plan)
    return list(groups.values())


def _group(console: Console, group: Sequence[Plan], now: float) -> None:
    """What one of these hosts runs. A timer's next run is the first on any of them: their clocks may be set apart."""
    plan = group[0]
    if plan.processes:
        _processes(console, plan.processes)
    if plan.timers:
        moments = [[one.timers[at].next for one in group] for at in range(len(plan.timers))]
        first = [min((moment for moment in of_timer if moment), default=0.0) for of_timer in moments]
        _timers(console, [replace(one, next=next) for one, next in zip(plan.timers, first, strict=True)], now)
    problems = dict.fromkeys((timer.process, timer.problem) for one in group for timer in one.timers if timer.problem)
    for process, problem in problems:
        paint.say(console, ("  ✗ ", "bold red"), f"timers.{clean(process)}.calendar: {clean(problem)}")
    for one in group:
        if one.missing:
            where = f" on {clean(one.host)}" if len(group) > 1 else ""
            paint.say(
                console, ("  ✗ ", "bold red"), f"required, and not set{where}: {', '.join(map(clean, one.missing))}"
            )
    for name, source in {pair: None for one in group for pair in one.hidden.items()}:
        shown = "[env]" if source == PLAIN else clean(source)
        paint.say(console, ("  ! ", "yellow"), f"{clean(name)}: the one set on the host wins over that of {shown}")
    if plan.gone:
        paint.say(console, ("  – ", "yellow"), f"{', '.join(map(clean, plan.gone))}: would not run any more")


def _processes(console: Console, processes: Sequence[PlannedProcess]) -> None:
    table = light_table("~process", ">how many", "~what runs", "")
    for one in processes:
        many = counted(one.count, "worker") if one.process == WEB and one.count > 1 else str(one.count)
        table.add_row(clean(one.process), many, clean(one.runs), Text(one.change, style="yellow"))
    put(console, table)


def _timers(console: Console, timers: Sequence[PlannedTimer], now: float) -> None:
    table = light_table("~timer", "~calendar", "next run", "~what runs", "")
    for one in timers:
        next = Text("?", style="bold red") if one.problem else Text(ahead(one.next, now) or "never")
        table.add_row(clean(one.process), clean(one.calendar), next, clean(one.runs), Text(one.change, style="yellow"))
    put(console, table)
