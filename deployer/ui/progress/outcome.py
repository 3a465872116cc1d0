"""How a command ended: which hosts come first, whether they agree, which lines explain a failure. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from deployer import events as ev
from deployer.ui.progress.command import CommandProgress
from deployer.ui.progress.digest import excerpt, gist
from deployer.ui.progress.host import HostProgress
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, clean_lines, seconds
from deployer.wire.lazydata import dataclass

__all__ = ["FleetOutcome", "detail", "last_lines", "outcome_of", "served"]

RESULTS = ("failed", "lost", "unreachable", "busy", "rolled back", "discarded", "untouched", "done")
"""In the order in which they are shown."""
CULPRITS = ("failed", "lost", "unreachable", "busy")
"""Those that are the reason why a command failed."""
UNSEEN = ("lost", "unreachable")
HEADING = 50
"""Columns for the names of hosts in the heading of a panel."""
PANELS = 5
"""Different failures whose lines are shown: the first ones explain the others."""


@dataclass(frozen=True, kw_only=True)
class FleetOutcome:
    """The end of a command, ready to be printed. ``agreed``: every host is done, says the same, and
    serves the same."""

    end: ev.FleetFinished
    rows: tuple[ev.HostEnd, ...]
    agreed: bool
    panels: tuple[ev.Logs, ...] = ()
    left_out: tuple[str, ...] = field(default=())
    """Failed hosts whose lines are not shown."""
    migrated: str = ""
    """The host that ran the migration."""

    @property
    def usual(self) -> str:
        """What most hosts serve."""
        return usual([row.serving for row in self.rows])

    @property
    def verdict(self) -> str:
        """The summary; empty where one host has nothing to say at its end."""
        return self.end.summary or ("failed" if self.end.exit else "done" if self.rows else "")

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


def outcome_of(
    end: ev.FleetFinished, progress: CommandProgress, names: Names, *, verbose: bool = False
) -> FleetOutcome:
    """What to print at the end. ``progress`` has what the hosts reported; ``verbose``: their output was printed."""
    rows = ordered([_with_reason(row, progress.host(row.host)) for row in end.hosts])
    groups = _explanations(rows, progress, verbose=verbose)
    return FleetOutcome(
        end=end,
        rows=rows,
        agreed=not end.exit
        and all(row.result == "done" for row in rows)
        and len({(row.serving, row.detail) for row in rows}) == 1,
        panels=tuple(
            ev.Logs(unit=f"{_together(hosts, names)}: {logs.unit}", lines=logs.lines)
            for found, hosts in groups[:PANELS]
            for logs in found
        ),
        left_out=tuple(host for _, hosts in groups[PANELS:] for host in hosts),
        migrated=next((row.host for row in rows if _migrated(progress.host(row.host))), ""),
    )


def _explanations(
    rows: Sequence[ev.HostEnd], progress: CommandProgress, *, verbose: bool
) -> list[tuple[list[ev.Logs], list[str]]]:
    """What explains the failures, each with the hosts that failed in that way."""
    groups: dict[tuple[ev.Logs, ...], tuple[list[ev.Logs], list[str]]] = {}
    for row in rows:
        found = _explanation(row, progress.host(row.host), verbose=verbose) if row.result in CULPRITS else []
        if found:
            key = tuple(ev.Logs(unit=logs.unit, lines=gist(logs.lines)) for logs in found)
            groups.setdefault(key, (found, []))[1].append(row.host)
    return list(groups.values())


def last_lines(
    logs: ev.Logs | None, said: Sequence[str], *, shown: Sequence[str] = (), whole: bool = False
) -> ev.Logs | None:
    """The lines that came with a failure (``said``), or else its process's ``logs``: in short, unless ``whole``.

    None where there is nothing, or where it is the end of what was ``shown`` before.
    """
    lines = tuple(said) or (logs.lines if logs else ())
    if not lines or tuple(shown[-len(lines) :]) == lines:
        return None
    title, short = excerpt(logs.unit if logs else "", lines, whole=whole)
    return ev.Logs(unit=title, lines=tuple(short))


def _together(hosts: Sequence[str], names: Names) -> str:
    """Hosts in a heading: by name when they fit, else how many."""
    text = names.fitting(hosts, HEADING)
    return text if len(text) <= HEADING or len(hosts) == 1 else f"{len(hosts)} hosts"


def _migrated(host: HostProgress) -> bool:
    return any(phase.name == "migrate" and phase.state == "done" for phase in host.phases)


def _with_reason(row: ev.HostEnd, host: HostProgress) -> ev.HostEnd:
    """With the reason that the host reported, when the end has none."""
    if row.detail or row.result not in CULPRITS or not host.failures:
        return row
    failed = host.failures[-1]
    return replace(row, detail=failed.message, logs=row.logs or tuple(failed.logs))


def _explanation(row: ev.HostEnd, host: HostProgress, *, verbose: bool) -> list[ev.Logs]:
    """The output of what failed, and the last lines of its process."""
    output = [] if verbose else list(host.failed_output())
    last = last_lines(host.logs, row.logs, shown=[line for logs in output for line in logs.lines], whole=verbose)
    return [*output, last] if last else output
