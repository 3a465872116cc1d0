"""The hosts of one command, and what is done on all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from deployer import events
from deployer.config import Config
from deployer.errors import DeployerError
from deployer.errors.bug import Bug
from deployer.events import Reporter
from deployer.fleet.recorder import Recorder
from deployer.remote.decision import Decide
from deployer.remote.session import Over
from deployer.remote.site import Site
from deployer.wire.lazydata import dataclass

__all__ = ["Fleet", "HostResult", "each"]

T = TypeVar("T")

PARALLEL = 20
"""Hosts that are connected to and prepared at the same time, unless told otherwise."""
_LOOK = 0.5
"""Seconds after which Python can handle a Ctrl-C that came just before it began to wait."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The sites of one command: at least one, each host once, in the order in which they were named.

    Each site has the configuration of its own host; ``config`` is what deploy.toml says for all. ``parallel`` bounds
    how many hosts are connected to and prepared at the same time. ``json``: machines read what is reported.
    """

    sites: tuple[Site, ...]
    config: Config
    report: Reporter
    parallel: int = PARALLEL
    decide: Decide | None = None
    json: bool = False
    advise: Callable[[str], str] = str

    @property
    def hosts(self) -> tuple[str, ...]:
        """As the user named them."""
        return tuple(site.host for site in self.sites)


@dataclass(frozen=True, kw_only=True)
class HostResult(Generic[T]):
    """How work on one host of a fleet ended: with ``value``, or with ``error``.

    ``failed`` is the last failure that was reported of the host, ``said`` its summary when it ended well, ``seconds``
    how long the work took.
    """

    site: Site
    value: T | None = None
    error: BaseException | None = None
    failed: events.Failed | None = None
    said: str = ""
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
    record = Recorder(site.host, site.report)
    value: T | None = None
    error: BaseException | None = None
    try:
        value = work(replace(site, report=record))
    except Over as over:
        error = over  # the host has told why
    except BaseException as caught:
        failure = caught if isinstance(caught, DeployerError) else Bug.of(caught, host=site.host)
        error = failure
        record.end(failure)
    took = time.monotonic() - started
    return HostResult(site=site, value=value, error=error, failed=record.failed, said=record.said, seconds=took)
