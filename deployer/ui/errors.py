"""Errors raised outside of a reporter, with the same look as those reported by a host."""

from __future__ import annotations

import sys
from typing import TextIO

from deployer.errors import DeployerError
from deployer.events import Failed, failure
from deployer.ui import is_live

__all__ = ["print_error"]


def print_error(error: DeployerError, *, json: bool, stream: TextIO | None = None) -> None:
    """Show an error: one ``failed`` event on stdout with ``json``, else for people on ``stream`` (stderr)."""
    event = failure(error.host, error)
    if json:
        from deployer.ui.plain.jsonlines import JsonLines

        JsonLines(sys.stdout)(event)
    elif is_live(stream or sys.stderr):
        from deployer.ui import paint
        from deployer.ui.live.reporter import console_on

        named = event.message.startswith(f"{event.host} ")
        paint.failure(console_on(stream or sys.stderr), event, host="" if named else event.host)
    else:
        _print_plain(event, stream or sys.stderr)


def _print_plain(event: Failed, stream: TextIO) -> None:
    from deployer.ui.plain.lines import failure_lines
    from deployer.ui.stream import can_unicode, safe
    from deployer.ui.text import clean

    prefix = f"[{clean(event.host)}] " if event.host else ""
    mark = "✗" if can_unicode(stream) else "FAILED"
    safe(stream).write("".join(f"{prefix}{line}\n" for line in failure_lines(event, mark=mark)))
