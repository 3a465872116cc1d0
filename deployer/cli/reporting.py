"""Where the events of a command go: to people or machines, as its progress or beside its answer."""

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
    from deployer.ssh.login.prompt import Prompt
    from deployer.ui.reporters import Awaits, Display
    from deployer.wire.advice import Next

    Aside = Callable[[], AbstractContextManager[object]]
    """Entered while a person is asked something at the terminal."""

__all__ = ["ConnectionTracker", "advising", "answering", "asking", "once_each", "showing", "until_over"]


def advising(report: Reporter, adapt: Callable[[Next], Next]) -> Reporter:
    """Passes events on, with their advice made to fit what was typed."""
    from dataclasses import replace

    from deployer.events import Failed, FleetFinished

    def adapted(event: Event) -> None:
        report(replace(event, next=adapt(event.next)) if isinstance(event, (Failed, FleetFinished)) else event)

    return adapted


class ConnectionTracker:
    """Passes events on; ``connected`` once any host is logged in to: before that nothing can have begun."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.connected = False

    def __call__(self, event: Event) -> None:
        from deployer.events import Connected

        self.connected = self.connected or isinstance(event, Connected)
        self._report(event)


@contextmanager
def until_over(report: Reporter) -> Iterator[Reporter]:
    """Drops events once the block has ended: after a Ctrl-C threads may still follow their hosts."""
    lock = threading.Lock()
    over = False

    def forward(event: Event) -> None:
        with lock:
            if not over:
                report(event)

    try:
        yield forward
    finally:
        with lock:
            over = True


@contextmanager
def asking(aside: Aside) -> Iterator[Prompt | None]:
    """Asks a person for passwords, in ``aside``. A question without an answer at the end is cancelled."""
    from deployer.ssh.login.prompt import prompt

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
    """For commands that change something: people follow on standard error, and are asked there at Ctrl-C."""
    from deployer.ui import reporter

    with reporter(json=json, title=title, hosts=hosts, verbose=verbose) as report:
        if json or not (is_at_terminal() and sys.stderr.isatty()):
            yield report, None, report.aside
        else:
            from deployer.ui.question import on_interrupt

            yield report, on_interrupt(report, fleet=len(hosts) > 1), report.aside


def once_each(failures: Sequence[Failed]) -> list[Failed]:
    """Failures with the same text, but for the hosts' names, become one for all those hosts."""
    import re
    from dataclasses import replace

    together: dict[Failed, list[str]] = {}
    for failed in failures:
        user, _, bare = failed.host.rpartition("@")
        name = re.compile(rf"(?<![\w.-])(?:{re.escape(user)}@)?{re.escape(bare)}(?![\w.-])")

        def unnamed(text: str, name: re.Pattern[str] = name) -> str:
            return name.sub("HOST", text)

        same = replace(failed, host="", at=0.0, message=unnamed(failed.message), next=failed.next.change(unnamed))
        together.setdefault(same, []).append(failed.host)
    firsts = {failed.host: failed for failed in reversed(failures)}
    return [firsts[on[0]] if len(on) == 1 else replace(same, host=", ".join(on)) for same, on in together.items()]


@contextmanager
def answering(json: bool, hosts: list[str], *, streams: bool = False) -> Iterator[tuple[Reporter, None, Aside]]:
    """For questions: the answer goes to standard output, what went wrong to standard error, and on a terminal a line
    there says which hosts have not answered yet.

    What a command on a host prints is an answer, too. ``streams`` says that hosts answer for as long as they like.
    """
    from deployer.ui import awaiting, reporter

    many = len(hosts) > 1
    with (
        reporter(json=json, hosts=hosts, stream=sys.stderr, prefixed=many) as errors,
        reporter(json=json, hosts=hosts, stream=sys.stdout, prefixed=many) as answers,
        awaiting(hosts, streams=streams) as awaited,
    ):
        sort = _Sorting(errors, answers, awaited, json=json, many=many, collects=many and not json and not streams)
        try:
            yield sort, None, sort.aside
        finally:
            awaited.close()
            for failed in once_each(sort.failures):
                errors(failed)


class _Sorting:
    """Sends each event to the answers or to the errors. With ``collects`` failures are kept for the end."""

    def __init__(
        self, errors: Display, answers: Display, awaited: Awaits, *, json: bool, many: bool, collects: bool
    ) -> None:
        from deployer.ui import write_bytes

        self._errors, self._answers, self._awaited, self._bytes = errors, answers, awaited, write_bytes
        self._json, self._many, self._collects = json, many, collects
        self.failures: list[Failed] = []

    def __call__(self, event: Event) -> None:
        from deployer.events import Connected, Connecting, Data, Failed, Finished, Logs, Output, PhaseDone, PhaseStarted

        self._awaited(event)
        if isinstance(event, (Connecting, Connected, Finished)):
            return
        if isinstance(event, (PhaseStarted, PhaseDone)) and not self._json:
            return
        if isinstance(event, Failed) and self._collects:
            self.failures.append(event)
            return
        if isinstance(event, Data):
            with self._awaited.aside():
                self._bytes(event.data)
            return
        aside = isinstance(event, Output) and event.stream == "err" and not self._json
        answers = isinstance(event, (Logs, Output)) and not aside
        if isinstance(event, Output) and not self._json and not self._many:
            event = Logs(host=event.host, at=event.at, unit=event.phase, lines=(event.line,))
        with self._awaited.aside():
            (self._answers if answers else self._errors)(event)

    @contextmanager
    def aside(self) -> Iterator[None]:
        with self._awaited.aside(), self._errors.aside():
            yield
