"""The answer of ``fab doctor``, on standard output."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from deployer.report import Diagnosis, Finding
from deployer.ui import paint
from deployer.ui.jsonlines import write_object
from deployer.ui.stream import safe
from deployer.ui.tables import console_for
from deployer.ui.text import clean

__all__ = ["doctor_view"]

INDENT = 4


def doctor_view(found: Diagnosis, *, json: bool = False, stream: TextIO | None = None) -> None:
    """What is not as it should be on one host, and what puts it right; with ``json`` one object on one line."""
    if json:
        return write_object(safe(stream or sys.stdout), asdict(found))
    console = console_for(stream)
    console.print(paint.header(found.app, found.host, console.width))
    serves = f"{clean(found.current)} serves" if found.current else "nothing serves"
    if found.busy:
        paint.say(console, ("  … ", "bold yellow"), f"{clean(found.busy)}; what it is at is no finding")
    for finding in found.findings:
        _finding(console, finding)
    if not found.findings:
        return paint.say(console, ("  ✓ ", "green"), ("all is well", "bold"), f": {serves}")
    count = "1 finding" if len(found.findings) == 1 else f"{len(found.findings)} findings"
    paint.say(console, ("✗ ", "bold red"), (count, "bold"), f"; {serves}")
    if found.next:
        paint.say(console, ("next:", "bold"))
        paint.say(console, "  ", (clean(found.next), "cyan"))
    return None


def _finding(console: Console, finding: Finding) -> None:
    text = Text.assemble(("✗ ", "bold red"), (clean(finding.kind), "bold"), "  ", (clean(finding.what), "cyan"))
    console.print(Padding.indent(text, INDENT - 2))
    if finding.text:
        console.print(Padding.indent(Text(clean(finding.text)), INDENT))
    if finding.repair:
        text = Text.assemble(("repair: ", "bold"), (clean(finding.repair), "cyan"))
        console.print(Padding.indent(text, INDENT))
