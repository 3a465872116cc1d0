"""All causes that are told with advice of their own, and the page of the reference that lists them.

``python -m deployer.cli.causes docs/reference/failures.md`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.errors import local
from deployer.host.build import pythons
from deployer.host.deployment import handover
from deployer.host.setup import ageing, conflicts
from deployer.host.system import diagnosis
from deployer.project import detect, filters, lockfile
from deployer.remote import startup
from deployer.ssh import causes as ssh
from deployer.wire.causes import Cause

__all__ = ["ALL", "markdown"]

SECTIONS: tuple[tuple[str, str, Sequence[Cause]], ...] = (
    ("On this machine (2)", "Nothing was touched.", local.CAUSES),
    (
        "What would ship is not what it should be (2)",
        "Nothing was touched.",
        (*lockfile.CAUSES, *detect.CAUSES, *filters.CAUSES),
    ),
    ("The host is not reached, or lets nobody in (3)", "Nothing was touched.", ssh.CAUSES),
    (
        "The host lets us in, and the program does not start (2 or 3)",
        "Nothing was touched. Before this is told, one more command looks around on the host.",
        startup.CAUSES,
    ),
    (
        "`fab setup` finds names that are somebody else's, or a user who cannot deploy (2)",
        "Nothing was touched.",
        (*conflicts.CAUSES, ageing.ACCOUNT_EXPIRED),
    ),
    (
        "The host has not what the release needs (5)",
        "The old release serves.",
        (*pythons.CAUSES, handover.TWO_GENERATIONS),
    ),
    (
        "The new release fails (5 or 6)",
        "The old release serves. These are told by what the process printed: exception types, error numbers, names and "
        "paths, never sentences. Where none fits, the advice is to look at the log.",
        diagnosis.CAUSES,
    ),
)
ALL: tuple[Cause, ...] = tuple(cause for _, _, causes in SECTIONS for cause in causes)

_HEAD = """\
# Failures and what to do

Each cause that is told with advice of its own: by what it is observed, what is said of it, and what to do next. Words
in braces are filled in. The number is the [exit code](exit-codes.md); the rest is in
[how to read a failure](../how-to/read-failures.md). This page is made from the code:
`python -m deployer.cli.causes docs/reference/failures.md`.
"""


def markdown() -> str:
    """The page."""
    return "\n".join([_HEAD, *(line for section in SECTIONS for line in _section(*section))])


def _section(title: str, text: str, causes: Sequence[Cause]) -> Iterator[str]:
    yield from (f"## {title}", "", text, "", "| cause | observed | it says | next |", "| --- | --- | --- | --- |")
    for cause in causes:
        steps = "<br>".join(_step(step.command, step.text) for step in cause.next)
        yield f"| `{cause.name}` | {_cell(cause.when)} | {_cell(cause.message)} | {steps} |"
    yield ""


def _step(command: str, text: str) -> str:
    shown = f"`{command}`" if command else ""
    return f"{shown}: {_cell(text)}" if command and text else shown or _cell(text)


def _cell(text: str) -> str:
    """Text in a table, without the marks that would be markup there, and with the braces of a template as they come."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("{{", "{").replace("}}", "}")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown())
