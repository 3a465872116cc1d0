"""The look of a fleet on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer import events as ev
from deployer.ui import paint
from deployer.ui.fit import put
from deployer.ui.names import Names
from deployer.ui.progress.command import Roster, Stage, running, stage_of, tally
from deployer.ui.progress.host import Section
from deployer.ui.progress.outcome import Outcome, detail, served
from deployer.ui.text import clean, middle, seconds, size

__all__ = ["counts", "header", "here", "hosts", "others", "outcome"]

STYLES = {
    "failed": ("✗", "bold red"),
    "ended": ("↺", "yellow"),
    "left": paint.MARKS["left"],
    "todo": ("·", "dim"),
    "ready": ("✓", "cyan"),
    "done": ("✓", "green"),
}
RESULTS = {
    "done": STYLES["done"],
    "untouched": STYLES["todo"],
    "discarded": STYLES["ended"],
    "rolled back": STYLES["ended"],
    "lost": ("?", "bold red"),
}
WIDEST = 120
NARROWEST_DETAIL = 12
BAR = 10


def header(title: str, roster: Roster, now: float | None, width: int) -> Text:
    """What runs, on how many hosts, which release it makes, and for how long (``now`` is None: not said)."""
    text = paint.header(title, f"{len(roster.sections)} hosts", width)
    text.append(f"  {clean(roster.release)}" if roster.release else "", style="bold")
    text.append(f"  {seconds(roster.elapsed(now))}" if now is not None else "", style="dim")
    return paint.cut(text, width)


def counts(roster: Roster, width: int) -> Text:
    """``12 ready for the switch · 6 build · 1 failed``."""
    text = Text("  ")
    for stage, count in roster.counts():
        style = STYLES["failed"][1] if stage.kind == "failed" else "" if stage.kind == "running" else "dim"
        text.append(" · " if len(text) > 2 else "", style="dim").append(f"{count} {clean(stage.name)}", style=style)
        share = roster.share() if stage.name == "upload" else None
        text.append("" if share is None else f" {int(share * 100)} %")
    return paint.cut(text, width)


def here(roster: Roster, now: float, width: int) -> list[Text]:
    """What is done on this machine for all hosts, if anything."""
    row = running(roster.board.section("")) if "" in roster.board.sections else None
    if row is None:
        return []
    return [paint.cut(Text(f"  here: {clean(row.name)} {clean(row.detail)}  {seconds(row.elapsed(now))}"), width)]


def hosts(sections: Sequence[Section], names: Names, now: float, width: int) -> list[Text]:
    """A line for each: name, stage, what it is busy with, and for how long."""
    width = min(width, WIDEST)
    stages = [stage_of(section) for section in sections]
    name = min(max((len(names(section.host)) for section in sections), default=0), max(width * 2 // 5, 8))
    stage = min(max((len(clean(stage.name)) for stage in stages), default=0), 22)
    took = [_took(section, stage, now) for section, stage in zip(sections, stages, strict=True)]
    widths = (width, name, stage, max(map(len, took), default=0))
    return [_host(*host, names, now, widths) for host in zip(sections, stages, took, strict=True)]


def _host(
    section: Section, stage: Stage, took: str, names: Names, now: float, widths: tuple[int, int, int, int]
) -> Text:
    width, name_width, stage_width, time_width = widths
    spin = paint.SPINNER[int(now * 12) % len(paint.SPINNER)]
    mark, style = STYLES.get(stage.kind, (spin, "cyan"))
    called = middle(names(section.host), name_width)
    name = Text(called, style="" if stage.kind in ("todo", "ready", "done") else "bold")
    name.truncate(name_width, pad=True)
    what = Text(clean(stage.name), style="" if stage.kind == "running" else style)
    what.truncate(stage_width, overflow="ellipsis", pad=True)
    text = Text.assemble("  ", (mark, style), " ", name, "  ", what, "  ", _busy_with(section, stage))
    text.truncate(max(width - time_width - 1, 10), overflow="ellipsis", pad=True)
    text.append(f" {took:>{time_width}}", style="dim")
    return paint.cut(text, width)


def _took(section: Section, stage: Stage, now: float) -> str:
    if stage.kind == "todo":
        return ""
    if section.finished:
        return seconds(section.finished.seconds) if section.finished.seconds else ""
    if stage.kind == "ready":
        return seconds(now - stage.since)
    return seconds(section.rows[-1].elapsed(now)) if section.rows else ""


def _busy_with(section: Section, stage: Stage) -> Text:
    """What there is to say of it: how far an upload is, the last line of a build, why it failed."""
    if stage.kind in ("failed", "ended"):
        said = section.failures[-1].message if section.failures else section.rows[-1].detail if section.rows else ""
        return Text(clean(said.strip().partition("\n")[0]), style="red" if stage.kind == "failed" else "dim")
    if stage.kind == "done" and section.finished:
        return Text(clean(section.finished.summary), style="dim")
    row = running(section)
    if stage.kind == "ready" or not section.rows:
        return Text()
    if row is None:
        return Text(clean(section.rows[-1].detail), style="dim")
    if row.total:
        text = Text(f"{int(100 * row.done / row.total):>3} %  ").append_text(paint.bar(row.done / row.total, BAR))
        return text.append(f"  {size(row.speed())}/s" if row.speed() else "", style="dim")
    return Text(clean(row.output[-1] if row.output else row.detail), style="dim")


def others(sections: Sequence[Section], width: int) -> Text:
    """``… and 31 more, ready for the switch``."""
    stages = tally(stage_of(section) for section in sections)
    if len(stages) == 1:
        text = f"  … and {len(sections)} more, {stages[0][0].name}"
    else:
        text = f"  … and {len(sections)} more: " + ", ".join(f"{count} {stage.name}" for stage, count in stages)
    return paint.cut(Text(clean(text), style="dim"), width)


def outcome(console: Console, outcome: Outcome, names: Names) -> None:
    """One line when all agree; else every host's outcome, what explains the failures, and what to type now."""
    end = outcome.end
    if outcome.agreed:
        migrated = f"migrated on {names(outcome.migrated)}" if outcome.migrated else ""
        hosts = names.fitting([row.host for row in outcome.rows], console.width - 2)
        for line in (hosts, migrated, outcome.pace(names)):
            if line:
                console.print(paint.cut(Text(f"  {line}", style="dim"), console.width))
    elif outcome.rows:
        put(console, _table(outcome, names), names=0)
    for panel in outcome.panels:
        paint.panel(console, panel.title, panel.lines)
    if outcome.left_out:
        paint.say(console, (f"the lines of {names.few(outcome.left_out)} are not shown here", "yellow"))
    paint.verdict(console, end.summary or ("failed" if end.exit else "done"), failed=bool(end.exit), took=end.seconds)
    paint.advise(console, end.state, end.next)


def _table(outcome: Outcome, names: Names) -> Table:
    serves, timed = any(row.serving for row in outcome.rows), any(row.seconds for row in outcome.rows)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("host", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    if serves:
        table.add_column("serves", no_wrap=True)
    if timed:
        table.add_column("time", no_wrap=True, justify="right")
    table.add_column("detail", overflow="fold", min_width=NARROWEST_DETAIL)
    for row in outcome.rows:
        table.add_row(*_cells(row, outcome.usual, names, serves=serves, timed=timed))
    return table


def _cells(row: ev.HostEnd, usual: str, names: Names, *, serves: bool, timed: bool) -> Iterator[Text]:
    mark, style = RESULTS.get(row.result, STYLES["failed"])
    yield Text(names(row.host))
    yield Text(f"{mark} {clean(row.result)}", style=style)
    if serves:
        yield Text(served(row), style="" if row.serving == usual else "bold red")
    if timed:
        yield Text(seconds(row.seconds) if row.seconds else "", style="dim")
    guilty = style == STYLES["failed"][1]
    yield Text(
        detail(row), style="" if guilty else "dim", no_wrap=not guilty, overflow="fold" if guilty else "ellipsis"
    )
