"""All failure causes that have specific advice, and the reference page that lists them.

``python -m deployer.cli.causes docs/reference/failures.md`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.errors import local
from deployer.host.build import pythons
from deployer.host.deployment import handover
from deployer.host.diagnosis import causes
from deployer.host.inspect import causes as doctor
from deployer.host.proxy import ports
from deployer.host.proxy.proof import causes as visits
from deployer.host.recovery import survey
from deployer.host.setup import conflicts, machine
from deployer.host.setup.software import apt, interpreter, postgresql, redis
from deployer.host.setup.users import ageing, login
from deployer.project import filters
from deployer.project.detect import application
from deployer.project.locks import lockfile
from deployer.remote import startup
from deployer.ssh import causes as ssh
from deployer.wire.cause import Cause

__all__ = ["ALL", "markdown"]

SECTIONS: tuple[tuple[str, str, Sequence[Cause]], ...] = (
    ("On this machine (2)", "Nothing was touched.", local.CAUSES),
    (
        "What would be uploaded is not correct (2)",
        "Nothing was touched.",
        (*lockfile.CAUSES, *application.CAUSES, *filters.CAUSES),
    ),
    ("The host cannot be reached or logged in to (3)", "Nothing was touched.", ssh.CAUSES),
    (
        "The login works, but the host program does not start (2 or 3)",
        "Nothing was touched. One more command has inspected the host before the error is shown.",
        startup.CAUSES,
    ),
    (
        "`fab setup` finds names that are in use, or a user who cannot deploy (2)",
        "Nothing was touched.",
        (*conflicts.CAUSES, ports.PORT_TAKEN, ageing.ACCOUNT_EXPIRED),
    ),
    (
        "`fab setup` cannot install what the app needs (2)",
        "The steps before are done, and nothing that serves was touched: the set-up goes on where it stopped.",
        (*apt.CAUSES, *interpreter.CAUSES, *postgresql.CAUSES, *redis.CAUSES),
    ),
    (
        "The host lacks what the release needs (5)",
        "The old release serves.",
        (*pythons.CAUSES, handover.TWO_GENERATIONS),
    ),
    (
        "The new release fails (5 or 6)",
        "The old release serves. These causes are recognised in the output of the process: by exception types, error "
        "numbers, names and paths, never by sentences. If none matches, the advice is to look at the log.",
        causes.CAUSES,
    ),
    (
        "`fab doctor`: an interrupted deploy, and what it left (7)",
        "Nothing was touched; `fab doctor --fix` does what the last column says, as does the next deploy.",
        tuple(survey.CAUSES.values()),
    ),
    (
        "`fab doctor`: what serves (7)",
        "Nothing was touched, but that damaged content is marked, so that no later release is built on it.",
        doctor.SERVING,
    ),
    ("`fab doctor`: what setup prepared (7)", "Nothing was touched.", (*doctor.PREPARED, *login.CAUSES)),
    (
        "`fab doctor`: what a visitor meets (7)",
        "The host asks for the app's names at its own addresses, as a visitor would. `fab setup` tells the same of the "
        "site that it has written.",
        visits.CAUSES,
    ),
    ("`fab doctor`: services and the machine (7)", "Nothing was touched.", (*doctor.SERVICES, *machine.CAUSES)),
)
ALL: tuple[Cause, ...] = tuple(cause for _, _, causes in SECTIONS for cause in causes)

_HEAD = """\
# Failures and what to do

Each failure cause with specific advice: how it is observed, its message, and what to do next. Words in braces are
filled in. The number is the [exit code](exit-codes.md); the rest is in
[how to read a failure](../how-to/read-failures.md). This page is generated from the code:
`python -m deployer.cli.causes docs/reference/failures.md`.
"""


def markdown() -> str:
    """The page."""
    return "\n".join([_HEAD, *(line for section in SECTIONS for line in _section(*section))])


def _section(title: str, text: str, causes: Sequence[Cause]) -> Iterator[str]:
    yield from (f"## {title}", "", text, "", "| cause | observed | message | next |", "| --- | --- | --- | --- |")
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
