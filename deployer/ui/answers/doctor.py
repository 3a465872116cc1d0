"""The answer of ``fab doctor``, on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import Diagnosis, Finding
from deployer.ui import paint
from deployer.ui.answers.releases import counted
from deployer.ui.answers.table import console_for
from deployer.ui.names import Names
from deployer.ui.plain.jsonlines import as_object, write_object
from deployer.ui.progress.outcome import detail
from deployer.ui.stream import safe
from deployer.ui.text import clean
from deployer.wire.advice import Next

__all__ = ["doctor_view", "fleet_doctor"]

INDENT = 4


def doctor_view(found: Diagnosis, *, json: bool = False, stream: TextIO | None = None) -> None:
    """What is not as it should be on one host, and what puts it right; with ``json`` one object on one line."""
    if json:
        return write_object(safe(stream or sys.stdout), as_object(found))
    console = console_for(stream)
    _host(console, found, found.host)
    if not found.findings:
        return paint.say(console, ("  ✓ ", "green"), ("all is well", "bold"), f": {_serves(found)}")
    count = counted(len(found.findings), "finding")
    paint.say(console, ("✗ ", "bold red"), (count, "bold"), f"; {_serves(found)}")
    paint.advise(console, "", Next.of(found.next))
    return None


def fleet_doctor(
    found: Sequence[Diagnosis],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
) -> None:
    """What is not as it should be on the hosts of a fleet; with ``json`` one object on one line.

    Hosts on which all is well are one line for each release that they serve. One host alone is shown as ever.
    """
    if len(found) == 1 and not unreachable:
        return doctor_view(found[0], json=json, stream=stream)
    if json:
        answer = {"hosts": [*map(as_object, found), *map(asdict, unreachable)]}
        return write_object(safe(stream or sys.stdout), answer)
    console = console_for(stream)
    names = Names([*(one.host for one in found), *(end.host for end in unreachable)])
    app = app or (found[0].app if found else "")
    console.print(paint.header(app, counted(len(found) + len(unreachable)), console.width))
    well: dict[str, list[str]] = {}
    for one in found:
        if not one.findings and not one.busy:
            well.setdefault(_serves(one), []).append(one.host)
    for serves, hosts in well.items():
        where = names.few(hosts, 8)
        paint.say(
            console,
            ("  ✓ ", "green"),
            ("all is well", "bold"),
            f" on {counted(len(hosts))}: {serves}  ",
            (where, "dim"),
        )
    for one in found:
        if one.findings or one.busy or one.notes:
            _host(console, one, names(one.host))
    for end in unreachable:
        paint.say(console, ("✗ ", "bold red"), f"{names(end.host)}: ", (detail(end), "red"))
    ill = [one for one in found if one.findings]
    if ill:
        count = counted(sum(len(one.findings) for one in ill), "finding")
        paint.say(
            console, ("✗ ", "bold red"), (count, "bold"), f" on {len(ill)} of {counted(len(found) + len(unreachable))}"
        )
        paint.advise(console, "", Next(dict.fromkeys(step for one in ill for step in Next.of(one.next))))
    return None


def _host(console: Console, found: Diagnosis, name: str) -> None:
    console.print(paint.header(found.app, name, console.width))
    if found.busy:
        paint.say(console, ("  … ", "bold yellow"), f"{clean(str(found.busy))}; what it is at is no finding")
    for finding in found.findings:
        _finding(console, finding)
    for note in found.notes:
        paint.say(console, ("  ! ", "yellow"), clean(note))


def _serves(found: Diagnosis) -> str:
    return f"{clean(found.current)} serves" if found.current else "nothing serves"


def _finding(console: Console, finding: Finding) -> None:
    text = Text.assemble(("✗ ", "bold red"), (clean(finding.kind), "bold"), "  ", (clean(finding.what), "cyan"))
    paint.say(console, " " * (INDENT - 2), text, hang=INDENT)
    if finding.text:
        paint.say(console, " " * INDENT, clean(finding.text), hang=INDENT)
    if finding.repair:
        text = Text.assemble(("repair: ", "bold"), (clean(finding.repair), "cyan"))
        paint.say(console, " " * INDENT, text, hang=INDENT)
