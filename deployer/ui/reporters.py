"""Which reporter shows the events of a command: the live view, plain lines, or JSON for machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, TextIO

from deployer.errors import DeployerError
from deployer.events import Event, Failed, failure

if TYPE_CHECKING:
    from deployer.ui.question import Pause

__all__ = ["Awaits", "Display", "awaiting", "is_live", "print_error", "reporter"]


class Display(Protocol):
    """A reporter that can give the terminal away for a while: to a question (``pause``), or to anything else that
    writes there (``aside``). Events that come meanwhile are shown afterwards.
    """

    def __call__(self, event: Event) -> None: ...

    def pause(self) -> AbstractContextManager[Pause]: ...

    def aside(self) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


@contextmanager
def reporter(
    *,
    json: bool,
    stream: TextIO | None = None,
    verbose: bool = False,
    title: str = "",
    hosts: Sequence[str] = (),
    prefixed: bool = False,
) -> Iterator[Display]:
    """The reporter that suits the reader: JSON lines on stdout; a live view or plain lines on ``stream``.

    ``stream`` is stderr unless given (with ``prefixed`` stdout). ``title`` says what runs (``deploy shop``). With
    ``prefixed`` the lines of ``Logs`` and ``Output`` are the answer: they go to ``stream`` as they come, each with its
    host. However the block ends, the terminal is restored and what was held back is printed.
    """
    if json:
        from deployer.ui.plain.jsonlines import JsonLines

        chosen: Display = JsonLines(sys.stdout)
    elif prefixed:
        from deployer.ui.plain.prefixed import PrefixedReporter

        chosen = PrefixedReporter(stream or sys.stdout, hosts=hosts)
    else:
        chosen = _choose(stream or sys.stderr, verbose=verbose, title=title, hosts=hosts)
    try:
        yield chosen
    finally:
        chosen.close()


@contextmanager
def awaiting(hosts: Sequence[str], *, streams: bool = False) -> Iterator[Awaits]:
    """Shows on standard error, if that is a terminal, which of ``hosts`` have not answered yet."""
    if not is_live(sys.stderr):
        yield _NoTerminal()
        return
    from deployer.ui.live.reporter import console_on
    from deployer.ui.live.waiting import WaitingLine

    line = WaitingLine(console_on(sys.stderr), hosts, streams=streams)
    try:
        yield line
    finally:
        line.close()


class Awaits(Protocol):
    """Takes events, to know which hosts are still awaited; ``aside`` while something else writes to the terminal."""

    def __call__(self, event: Event) -> None: ...

    def aside(self) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


class _NoTerminal:
    def __call__(self, event: Event) -> None:
        """There is no terminal."""

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """Nothing was drawn."""


def _choose(stream: TextIO, *, verbose: bool, title: str, hosts: Sequence[str]) -> Display:
    if is_live(stream):
        from deployer.ui.live.reporter import LiveReporter, console_on

        return LiveReporter(console_on(stream), title=title, hosts=hosts, verbose=verbose)
    from deployer.ui.plain.reporter import PlainReporter

    return PlainReporter(stream, title=title, hosts=hosts, verbose=verbose)


def is_live(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that can move its cursor and draw the marks."""
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    from deployer.ui.stream import can_unicode

    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return stream.isatty() and encoding == "utf8" and can_unicode(stream)


def print_error(error: DeployerError, *, json: bool, stream: TextIO | None = None) -> None:
    """Show an error: one ``failed`` event on stdout with ``json``, else for people on ``stream`` (stderr)."""
    event = failure(error.host, error)
    if json:
        from deployer.ui.plain.jsonlines import JsonLines

        JsonLines(sys.stdout)(event)
    elif is_live(stream or sys.stderr):
        from deployer.ui.live.reporter import console_on
        from deployer.ui.style import paint

        named = event.message.startswith(f"{event.host} ")
        paint.failure(console_on(stream or sys.stderr), event, host="" if named else event.host)
    else:
        _print_plain(event, stream or sys.stderr)


def _print_plain(event: Failed, stream: TextIO) -> None:
    from deployer.ui.plain.lines import failure_lines
    from deployer.ui.stream import can_unicode, safe
    from deployer.ui.style.text import clean

    prefix = f"[{clean(event.host)}] " if event.host else ""
    mark = "✗" if can_unicode(stream) else "FAILED"
    safe(stream).write("".join(f"{prefix}{line}\n" for line in failure_lines(event, mark=mark)))
