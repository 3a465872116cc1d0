"""The answer of ``fab doctor``, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import Diagnosis, Finding
from deployer.ui.answers.table import begin, say_unreachable, write_answer
from deployer.ui.plain.jsonlines import as_object
from deployer.ui.style import paint
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, counted
from deployer.wire.advice import Next

__all__ = ["show_doctor"]

INDENT = 4
NAMED = 8
"""Hosts without findings that are named; more are counted."""


def show_doctor(
    found: Sequence[Diagnosis],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
) -> None:
    """What differs on the hosts from what should be there, and what repairs it; with ``json`` one object on one line.

    Several hosts without findings are one line for each release that they serve.
    """
    if json:
        return write_answer([*map(as_object, found)], unreachable, stream)
    hosts = [*(one.host for one in found), *(end.host for end in unreachable)]
    names, many = Names(hosts), len(hosts) > 1
    console = begin(app or (found[0].app if found else ""), hosts, stream)
    if many:
        _healthy(console, found, names)
    for one in found:
        if many and (one.findings or one.busy or one.notes):
            console.print(paint.header(one.app, names(one.host), console.width))
        _host(console, one, alone=not many)
    say_unreachable(console, unreachable, names)
    _summary(console, found, len(hosts))
    return None


def _healthy(console: Console, found: Sequence[Diagnosis], names: Names) -> None:
    healthy: dict[str, list[str]] = {}
    for one in found:
        if not one.findings and not one.busy:
            healthy.setdefault(_serves(one), []).append(one.host)
    for serves, hosts in healthy.items():
        text = f" on {counted(len(hosts), 'host')}: {serves}  "
        few = names.few(hosts, NAMED)
        paint.say(console, ("  ✓ ", "green"), ("no problems found", "bold"), text, (few, "dim"))


def _host(console: Console, found: Diagnosis, *, alone: bool) -> None:
    if found.busy:
        paint.say(console, ("  … ", "bold yellow"), f"{clean(str(found.busy))}; its changes are no findings")
    for finding in found.findings:
        _finding(console, finding)
    for url in found.seen if alone else ():
        paint.say(console, ("  ✓ ", "green"), "visitors reach it: ", clean(url))
    for note in found.notes:
        paint.say(console, ("  ! ", "yellow"), clean(note))


def _finding(console: Console, finding: Finding) -> None:
    text = Text.assemble(("✗ ", "bold red"), (clean(finding.kind), "bold"), "  ", (clean(finding.what), "cyan"))
    paint.say(console, " " * (INDENT - 2), text, hang=INDENT)
    if finding.text:
        paint.say(console, " " * INDENT, clean(finding.text), hang=INDENT)
    if finding.repair:
        text = Text.assemble(("repair: ", "bold"), (clean(finding.repair), "cyan"))
        paint.say(console, " " * INDENT, text, hang=INDENT)


def _summary(console: Console, found: Sequence[Diagnosis], hosts: int) -> None:
    """How many findings there are, and what to type for them; one host is said to be healthy, too."""
    unhealthy = [one for one in found if one.findings]
    if unhealthy:
        count = counted(sum(len(one.findings) for one in unhealthy), "finding")
        where = f"; {_serves(unhealthy[0])}" if hosts == 1 else f" on {len(unhealthy)} of {counted(hosts, 'host')}"
        paint.say(console, ("✗ ", "bold red"), (count, "bold"), where)
        paint.advise(console, "", Next(dict.fromkeys(step for one in unhealthy for step in Next.of(one.next))))
    elif hosts == 1 and found:
        paint.say(console, ("  ✓ ", "green"), ("no problems found", "bold"), f"; {_serves(found[0])}")


def _serves(found: Diagnosis) -> str:
    return f"{clean(found.current)} serves" if found.current else "nothing is deployed yet"
