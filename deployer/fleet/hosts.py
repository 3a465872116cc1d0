"""The hosts of one command, and what is done on all of them at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from deployer import events
from deployer.config import Config
from deployer.errors import Busy, DeployerError, Exit, Unreachable
from deployer.errors.bug import Bug
from deployer.events import HostEnd, Reporter
from deployer.remote.decision import Decide
from deployer.remote.session import Over
from deployer.remote.site import Site
from deployer.wire.advice import Next

__all__ = ["Answers", "Fleet", "HostResult", "ask_each", "conclude", "each", "most_severe"]

T = TypeVar("T")

PARALLEL = 20
"""Hosts that are connected to and prepared at the same time, unless told otherwise."""
_LOOK = 0.5
"""Seconds after which Python can handle a Ctrl-C that came just before it began to wait."""
_SEVERITY = (
    Exit.OK,
    Exit.BUSY,
    Exit.UNREACHABLE,
    Exit.USAGE,
    Exit.REFUSED,
    Exit.ROLLED_BACK,
    Exit.MIXED,
    Exit.BUG,
    Exit.INTERRUPTED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The sites of one command: at least one, each host once, in the order in which they were named.

    Each site has the configuration of its own host; ``config`` is what deploy.toml says for all. ``parallel`` bounds
    how many hosts are connected to and prepared at the same time.
    """

    sites: tuple[Site, ...]
    config: Config
    report: Reporter
    parallel: int = PARALLEL
    decide: Decide | None = None
    advise: Callable[[str], str] = str

    @property
    def hosts(self) -> tuple[str, ...]:
        """As the user named them."""
        return tuple(site.host for site in self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult(Generic[T]):
    """How work on one host of a fleet ended: with ``value``, or with ``error``.

    ``failed`` is the last failure that was reported of the host, ``seconds`` how long the work took.
    """

    site: Site
    value: T | None = None
    error: BaseException | None = None
    failed: events.Failed | None = None
    seconds: float = 0.0

    @property
    def answered(self) -> bool:
        """There is a value."""
        return self.error is None

    def result(self) -> T:
        """The value, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def each(fleet: Fleet, work: Callable[[Site], T], *, all_at_once: bool = False) -> tuple[HostResult[T], ...]:
    """``work`` on every host of the fleet, ``fleet.parallel`` at a time; how it ended on each, in the fleet's order.

    What goes wrong on one host is reported, is that host's end, and stops no other. ``all_at_once`` is for work that
    goes on until it is interrupted. A Ctrl-C is raised at once, whatever the hosts are at. On a fleet of one ``work``
    runs in this thread, and an error is left to whoever asks for the result.
    """
    if len(fleet.sites) == 1:
        return (_alone(fleet.sites[0], work),)
    todo: SimpleQueue[tuple[int, Site]] = SimpleQueue()
    done: SimpleQueue[tuple[int, HostResult[T]]] = SimpleQueue()
    for numbered in enumerate(fleet.sites):
        todo.put(numbered)

    def serve() -> None:
        while True:
            try:
                number, site = todo.get_nowait()
            except Empty:
                return
            done.put((number, _one_of_many(site, work)))

    count = len(fleet.sites) if all_at_once else min(max(fleet.parallel, 1), len(fleet.sites))
    try:
        for _ in range(count):
            threading.Thread(target=serve, daemon=True, name="host").start()
        return _all(done, len(fleet.sites))
    except BaseException:
        _empty(todo)
        raise


def _empty(todo: SimpleQueue[Any]) -> None:
    """No thread begins with another host."""
    while not todo.empty():
        try:
            todo.get_nowait()
        except Empty:
            return


def _all(done: SimpleQueue[tuple[int, HostResult[T]]], count: int) -> tuple[HostResult[T], ...]:
    """The ends of all hosts. The threads are not waited for: at a Ctrl-C some may hang on theirs."""
    ends: dict[int, HostResult[T]] = {}
    while len(ends) < count:
        try:
            number, ended = done.get(timeout=_LOOK)
        except Empty:
            continue
        ends[number] = ended
    return tuple(ends[number] for number in range(count))


def _alone(site: Site, work: Callable[[Site], T]) -> HostResult[T]:
    try:
        return HostResult(site=site, value=work(site))
    except (DeployerError, Over) as error:
        return HostResult(site=site, error=error)


def _one_of_many(site: Site, work: Callable[[Site], T]) -> HostResult[T]:
    started = time.monotonic()
    ear = _FailureRecorder(site.report)
    value: T | None = None
    error: BaseException | None = None
    try:
        value = work(replace(site, report=ear))
    except Over as over:
        error = over  # the host has told why
    except BaseException as caught:
        failure = caught if isinstance(caught, DeployerError) else Bug.of(caught, host=site.host)
        error = failure
        with contextlib.suppress(Exception):  # the display may be what is wrong
            ear(events.failure(site.host, failure))
            ear(events.Finished(host=site.host, exit=int(failure.exit), summary=failure.message))
    return HostResult(site=site, value=value, error=error, failed=ear.failed, seconds=time.monotonic() - started)


class _FailureRecorder:
    """Passes on what is reported of a host, and remembers its last failure."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.failed: events.Failed | None = None

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Failed):
            self.failed = event
        self._report(event)


def most_severe(codes: Sequence[int]) -> int:
    """The exit code of a fleet whose hosts ended with ``codes``: what most wants a person's eye."""
    return max(codes, key=lambda code: _SEVERITY.index(Exit(code)))


def conclude(
    fleet: Fleet,
    ends: Sequence[HostResult[T]],
    *,
    exit_of: Callable[[T], int] = lambda _: 0,
    worst: Callable[[Sequence[int]], int] = most_severe,
) -> int:
    """The exit code of a command that is no release. A value of None says that there was nothing to do on a host.

    On several hosts it is reported how it ended on each. The error of a single host is raised.
    """
    if len(fleet.sites) == 1:
        value = ends[0].result()
        return 0 if value is None else exit_of(value)
    found = tuple(_end_of(ended, exit_of) for ended in ends)
    exit = worst([end.exit for end in found])
    bad = [end.host for end in found if end.exit]
    failures = [ended.failed for ended, end in zip(ends, found, strict=True) if ended.failed and end.exit]
    done = f"{len(found) - len(bad)} of {len(found)} hosts are done; not: {', '.join(bad)}"
    fleet.report(
        events.FleetFinished(
            exit=exit,
            hosts=found,
            seconds=max(end.seconds for end in found),
            summary=done if bad else f"done on {len(found)} hosts",
            state="; ".join(dict.fromkeys(failed.state for failed in failures if failed.state)),
            next=Next(dict.fromkeys(step for failed in failures for step in failed.next)),
        )
    )
    return exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Generic[T]):
    """The answers to a question: by host, in the fleet's order; ``missing`` are the hosts that gave none, and why."""

    values: Mapping[str, T]
    missing: tuple[HostEnd, ...]
    exit: int


def ask_each(
    fleet: Fleet, question: Callable[[Site], T], *, exit_of: Callable[[T], int] = lambda _: 0, told: bool = False
) -> Answers[T]:
    """Ask every host; what some answer is worth having though others do not. The error of a single host is raised.

    That a host has answered is reported, unless it is ``told`` by what it does.
    """

    def ask(site: Site) -> T:
        value = question(site)
        if not told:
            site.report(events.Finished(host=site.host, exit=0))
        return value

    ends = each(fleet, ask)
    if len(ends) == 1:
        ends[0].result()
    values = {ended.site.host: ended.value for ended in ends if ended.value is not None}
    missing = tuple(_end_of(ended, exit_of) for ended in ends if ended.value is None)
    exit = most_severe([*(exit_of(value) for value in values.values()), *(end.exit for end in missing)])
    return Answers(values=values, missing=missing, exit=exit)


def _end_of(ended: HostResult[T], exit_of: Callable[[T], int]) -> HostEnd:
    exit = _exit_of(ended, exit_of)
    outcome: Any = ended.error.outcome if isinstance(ended.error, Over) else ended.value
    detail = ended.failed.message if ended.failed and exit else ""
    return HostEnd(
        host=ended.site.host,
        result=_result(ended, exit),
        exit=exit,
        release=str(getattr(outcome, "release", "") or ""),
        serving=str(getattr(outcome, "serving", "") or ""),
        seconds=ended.seconds,
        detail=detail or (f"ended with {exit}" if exit else ""),
        logs=ended.failed.logs if ended.failed and exit else (),
    )


def _exit_of(ended: HostResult[T], exit_of: Callable[[T], int]) -> int:
    if isinstance(ended.error, Over):
        return int(ended.error.outcome.exit)
    if isinstance(ended.error, DeployerError):
        return int(ended.error.exit)
    return 0 if ended.value is None else int(exit_of(ended.value))


def _result(ended: HostResult[T], exit: int) -> str:
    if isinstance(ended.error, Unreachable):
        return "unreachable"
    if isinstance(ended.error, Busy) or (isinstance(ended.error, Over) and exit == Exit.BUSY):
        return "busy"
    if exit:
        return "failed"
    return "untouched" if ended.value is None else "done"
