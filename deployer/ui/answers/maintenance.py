"""The answer of ``fab maintenance``, a sentence for each host, on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from deployer.events import HostEnd
from deployer.remote.answers import MaintenanceBegun, MaintenanceEnded
from deployer.ui.answers.table import refer
from deployer.ui.plain.jsonlines import as_object, write_object
from deployer.ui.stream import safe
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, seconds

__all__ = ["show_maintenance"]

Answer = MaintenanceBegun | MaintenanceEnded


def show_maintenance(
    answers: Mapping[str, Answer],
    unreachable: Sequence[HostEnd] = (),
    *,
    on: bool,
    next: Callable[[str], str] = str,
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """What came of it on each host; with ``json`` an object a line."""
    out = safe(stream or sys.stdout)
    if json:
        for host, answer in answers.items():
            write_object(out, {"host": host, "on": on, **as_object(answer)})
        for end in unreachable:
            write_object(out, asdict(end))
        return
    names = Names([*answers, *(end.host for end in unreachable)])
    for host, answer in answers.items():
        told = begun(answer) if isinstance(answer, MaintenanceBegun) else ended(answer, now or time.time())
        out.write(f"{names(host)}: {told}\n")
    for end in unreachable:
        out.write(f"{refer(end, names)}\n")
    if on and answers:
        out.write(f"{next('fab maintenance off')} ends it\n")


def begun(answer: MaintenanceBegun) -> str:
    """The sentence for a host on which it is on."""
    what = "maintenance stays on, on these terms" if answer.changed else "maintenance is on"
    who = f"visitors get the page in place of {answer.release}" if answer.web else "no web process here, so no visitor"
    left = ", ".join(map(clean, answer.finishing))
    return f"{what}: {who}" + (f"; still at their end: {left}" if left else "")


def ended(answer: MaintenanceEnded, now: float) -> str:
    """The sentence for a host on which it is off."""
    serves = f"visitors reach {answer.release}" if answer.release else "nothing is deployed"
    if not answer.was_on:
        return f"maintenance was not on: {serves}"
    lasted = f" after {seconds(max(now - answer.since, 0.0))}" if answer.since else ""
    return f"maintenance is off{lasted}: {serves}" + ("; processes and timers run again" if answer.started else "")
