"""Who hears the events of a command: people or machines, those who follow or those who asked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from deployer.cli.fleettask import is_at_terminal

if TYPE_CHECKING:
    from deployer.events import Event, Failed, Reporter
    from deployer.remote.decision import Decide
    from deployer.ssh.prompt import Prompt
    from deployer.wire.advice import Next

    Aside = Callable[[], AbstractContextManager[object]]
    """Entered while somebody asks something at the terminal."""

__all__ = ["Noticing", "advising", "answering", "asking", "once_each", "showing", "until_over"]


def advising(report: Reporter, adapt: Callable[[Next], Next]) -> Reporter:
    from dataclasses import replace

    from deployer.events import Failed, FleetFinished

    def hear(event: Event) -> None:
        report(replace(event, next=adapt(event.next)) if isinstance(event, (Failed, FleetFinished)) else event)

    return hear


class Noticing:
    """Passes events on, and notices when a host has let us in: before that nothing can have begun."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.connected = False

    def __call__(self, event: Event) -> None:
        from deployer.events import Connected

        self.connected = self.connected or isinstance(event, Connected)
        self._report(event)


@contextmanager
def until_over(report: Reporter) -> Iterator[Reporter]:
    """Hears nothing more once the block has ended: at a Ctrl-C there may be threads that still follow their hosts."""
    lock = threading.Lock()
    over = False

    def hear(event: Event) -> None:
        with lock:
            if not over:
                report(event)

    try:
        yield hear
    finally:
        with lock:
            over = True


@contextmanager
def asking(aside: Aside) -> Iterator[Prompt | None]:
    """Asks a person for passwords, in ``aside``. A question that still stands at the end is given up."""
    from deployer.ssh.prompt import prompt

    asks = prompt(aside)
    try:
        yield asks
    finally:
        if asks is not None:
            asks.close()


@contextmanager
def showing(
    json: bool, hosts: list[str], *, title: str, verbose: bool
) -> Iterator[tuple[Reporter, Decide | None, Aside]]:
    """For commands that do something: people follow on standard error, and are asked there what Ctrl-C is to mean."""
    from deployer.ui import reporter

    with reporter(json=json, title=title, hosts=hosts, verbose=verbose) as report:
        if json or not (is_at_terminal() and sys.stderr.isatty()):
            yield report, None, report.aside
        else:
            from deployer.ui.question import on_interrupt

            yield report, on_interrupt(report, fleet=len(hosts) > 1), report.aside


def once_each(failures: Sequence[Failed]) -> list[Failed]:
    """Failures of hosts that failed in the same words, but for their names, are one."""
    import re
    from dataclasses import replace

    together: dict[Failed, list[str]] = {}
    for failed in failures:
        user, _, bare = failed.host.rpartition("@")
        name = re.compile(rf"(?<![\w.-])(?:{re.escape(user)}@)?{re.escape(bare)}(?![\w.-])")

        def unnamed(text: str, name: re.Pattern[str] = name) -> str:
            return name.sub("HOST", text)

        words = replace(failed, host="", at=0.0, message=unnamed(failed.message), next=failed.next.change(unnamed))
        together.setdefault(words, []).append(failed.host)
    firsts = {failed.host: failed for failed in reversed(failures)}
    return [firsts[on[0]] if len(on) == 1 else replace(same, host=", ".join(on)) for same, on in together.items()]


@contextmanager
def answering(json: bool, hosts: list[str], *, streams: bool = False) -> Iterator[tuple[Reporter, None, Aside]]:
    """For questions: nothing but the answer on standard output, nothing but what went wrong on standard error; and who
    is still awaited, as long as that is a terminal.

    What a command on a host prints is an answer, too, and shown as logs are: as it is. ``streams`` says that hosts
    answer for as long as they like.
    """
    from deployer.events import Connected, Connecting, Failed, Finished, Logs, Output, PhaseDone, PhaseStarted
    from deployer.ui import awaiting, reporter

    many = len(hosts) > 1
    unseen = (Connecting, Connected, Finished)
    failures: list[Failed] = []
    with (
        reporter(json=json, hosts=hosts, prefixed=many) as errors,
        reporter(json=json, hosts=hosts, stream=sys.stdout, prefixed=many) as answers,
        awaiting(hosts, streams=streams) as awaited,
    ):

        def hear(event: Event) -> None:
            awaited(event)
            if isinstance(event, unseen) or (isinstance(event, (PhaseStarted, PhaseDone)) and not json):
                return
            if isinstance(event, Failed) and many and not json and not streams:
                failures.append(event)
                return
            with awaited.aside():
                if isinstance(event, Output) and not json and not many:
                    answers(Logs(host=event.host, at=event.at, unit=event.phase, lines=(event.line,)))
                elif isinstance(event, (Logs, Output)):
                    answers(event)
                else:
                    errors(event)

        @contextmanager
        def aside() -> Iterator[None]:
            with awaited.aside(), errors.aside():
                yield

        try:
            yield hear, None, aside
        finally:
            awaited.close()
            for failed in once_each(failures):
                errors(failed)
