"""How a command ended on a fleet: which hosts come first, whether they agree, which lines are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deployer import events as ev
from deployer.ui.names import Names
from deployer.ui.progress.command import Roster, stage_of
from deployer.ui.progress.digest import excerpt, gist
from deployer.ui.progress.host import Board, Section
from deployer.ui.text import clean, clean_lines, seconds

__all__ = ["Outcome", "Panel", "detail", "outcome_of", "served", "unfinished", "usual"]

RESULTS = ("failed", "lost", "unreachable", "busy", "rolled back", "discarded", "untouched", "done")
"""In the order in which they are shown."""
GUILTY = ("failed", "lost", "unreachable", "busy")
"""Those that are the reason why a command failed."""
UNSEEN = ("lost", "unreachable")
HEADING = 50
"""Columns for the names of hosts in the heading of a panel."""
PANELS = 5
"""How many hosts' lines are shown, those counted once that say the same: the first failures explain the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines that explain a failure."""

    title: str
    lines: tuple[str, ...]

    def key(self) -> Panel:
        """The same of all hosts that failed in the same way."""
        return Panel(title=self.title, lines=gist(self.lines))

    def on(self, hosts: str) -> Panel:
        """The same, with the hosts that said it."""
        return Panel(title=f"{hosts}: {self.title}", lines=self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A fleet's end, ready to be printed. ``agreed``: all is well, and the same everywhere; then there is no table."""

    end: ev.FleetFinished
    rows: tuple[ev.HostEnd, ...]
    agreed: bool
    panels: tuple[Panel, ...] = ()
    left_out: tuple[str, ...] = field(default=())
    """Failed hosts whose lines are not shown."""
    migrated: str = ""
    """The host that ran the migration."""

    @property
    def usual(self) -> str:
        """What most hosts serve."""
        return usual([row.serving for row in self.rows])

    def pace(self, names: Names) -> str:
        """How long the quickest and the slowest host took."""
        timed = sorted((row for row in self.rows if row.seconds), key=lambda row: row.seconds)
        if len(timed) < 2:
            return ""
        quick, slow = timed[0], timed[-1]
        return f"each in {seconds(quick.seconds)} ({names(quick.host)}) to {seconds(slow.seconds)} ({names(slow.host)})"


def ordered(rows: Sequence[ev.HostEnd]) -> tuple[ev.HostEnd, ...]:
    """Failures first; else in the order given."""
    place = {result: at for at, result in enumerate(RESULTS)}
    return tuple(sorted(rows, key=lambda row: place.get(row.result, -1)))


def usual(values: Sequence[str]) -> str:
    """The most common of them; of several the one that comes first."""
    return max(values, key=values.count, default="")


def served(row: ev.HostEnd) -> str:
    """What the host serves, as far as is known."""
    return clean(row.serving) or ("?" if row.result in UNSEEN else "–")


def detail(row: ev.HostEnd) -> str:
    """Why, in one line."""
    return "; ".join(clean_lines(row.detail))


def outcome_of(end: ev.FleetFinished, board: Board, names: Names, *, verbose: bool = False) -> Outcome:
    """What is to be printed of a fleet's end. ``board`` knows what the hosts said; ``verbose``: it was printed."""
    rows = ordered([_completed(row, board.section(row.host)) for row in end.hosts])
    agreed = not end.exit and len({(row.result, row.serving) for row in rows}) == 1 and rows[0].result == "done"
    lines: dict[tuple[Panel, ...], tuple[tuple[Panel, ...], list[str]]] = {}
    for row in rows:
        if row.result in GUILTY and (found := tuple(_panels(row, board.section(row.host), verbose=verbose))):
            lines.setdefault(tuple(panel.key() for panel in found), (found, []))[1].append(row.host)
    told = list(lines.values())
    return Outcome(
        end=end,
        rows=rows,
        agreed=agreed,
        panels=tuple(panel.on(_together(hosts, names)) for panels, hosts in told[:PANELS] for panel in panels),
        left_out=tuple(host for _, hosts in told[PANELS:] for host in hosts),
        migrated=next((row.host for row in rows if _migrated(board.section(row.host))), ""),
    )


def _together(hosts: Sequence[str], names: Names) -> str:
    """Hosts in a heading: by name when they fit, else how many."""
    text = names.fitting(hosts, HEADING)
    return text if len(text) <= HEADING or len(hosts) == 1 else f"{len(hosts)} hosts"


def _migrated(section: Section) -> bool:
    return any(row.name == "migrate" and row.state == "done" for row in section.rows)


def _completed(row: ev.HostEnd, section: Section) -> ev.HostEnd:
    """With the reason that the host gave when the end has none."""
    if row.detail or row.result not in GUILTY or not section.failures:
        return row
    failed = section.failures[-1]
    return ev.HostEnd(
        host=row.host,
        result=row.result,
        exit=row.exit,
        release=row.release,
        serving=row.serving,
        seconds=row.seconds,
        detail=failed.message,
        logs=row.logs or tuple(failed.logs),
    )


def _panels(row: ev.HostEnd, section: Section, *, verbose: bool) -> Iterator[Panel]:
    shown: list[str] = []
    for title, output in () if verbose else section.failed_output():
        shown += output
        yield Panel(title=title, lines=tuple(output))
    logs = section.logs
    lines = tuple(row.logs) or (tuple(logs.lines) if logs else ())
    if lines and tuple(shown[-len(lines) :]) != lines:
        title, short = excerpt(logs.unit if logs else "", lines, whole=verbose)
        yield Panel(title=title, lines=tuple(short))


def unfinished(roster: Roster, now: float) -> Iterator[ev.Failed]:
    """The failures that hosts told of, when the command ended without an end of the fleet."""
    for section in roster.board.sections.values():
        section.end_running("left", now)
        if stage_of(section).kind == "failed" or not section.host:
            yield from section.failures
