"""How a command ended on each host, and the answers of those that gave one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from deployer import events
from deployer.errors import Busy, DeployerError, Exit, Unreachable
from deployer.events import HostEnd
from deployer.fleet.hosts import Fleet, HostResult, each
from deployer.remote.session import Over
from deployer.remote.site import Site
from deployer.wire.advice import Next
from deployer.wire.lazydata import dataclass

__all__ = ["Answers", "NoAnswer", "ask_each", "conclude", "most_severe"]

T = TypeVar("T")


class NoAnswer(Exception):
    """A host whose answer is needed has given none, which was reported; ``exit`` is the exit code."""

    def __init__(self, exit: int) -> None:
        super().__init__(exit)
        self.exit = exit


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
    if bad:
        summary = f"{len(found) - len(bad)} of {len(found)} hosts are done; not: {', '.join(bad)}"
    else:
        same = found[0].detail if len({end.detail for end in found}) == 1 else ""
        summary = f"done on {len(found)} hosts" + (f": {same}" if same else "")
    fleet.report(
        events.FleetFinished(
            exit=exit,
            hosts=found,
            seconds=max(end.seconds for end in found),
            summary=summary,
            state="; ".join(dict.fromkeys(failed.state for failed in failures if failed.state)),
            next=Next(dict.fromkeys(step for failed in failures for step in failed.next)),
        )
    )
    return exit


@dataclass(frozen=True, kw_only=True)
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
        detail=detail or (f"ended with {exit}" if exit else ended.said),
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
