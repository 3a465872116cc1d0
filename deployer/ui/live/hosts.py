"""Several hosts on a terminal: how many are at what, a line for each, and how each ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer import events as ev
from deployer.ui.live.phases import bar
from deployer.ui.progress.command import CommandProgress
from deployer.ui.progress.host import HostProgress
from deployer.ui.progress.outcome import FleetOutcome, detail, served
from deployer.ui.progress.stage import HostStage, stage_of, tally
from deployer.ui.style import paint
from deployer.ui.style.fit import put
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, middle, seconds, size

__all__ = ["counts", "here", "lines", "others", "outcome"]

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


def counts(progress: CommandProgress, width: int) -> Text:
    """``12 ready for the switch · 6 build · 1 failed``."""
    text = Text("  ")
    for stage, count in progress.counts():
        style = STYLES["failed"][1] if stage.kind == "failed" else "" if stage.kind == "running" else "dim"
        text.append(" · " if len(text) > 2 else "", style="dim").append(f"{count} {clean(stage.name)}", style=style)
        share = progress.share() if stage.name == "upload" else None
        text.append("" if share is None else f" {int(share * 100)} %")
    return paint.cut(text, width)


def here(progress: CommandProgress, now: float, width: int) -> list[Text]:
    """What this machine does for all hosts, if anything."""
    phase = progress.by_host[""].running()
    if phase is None:
        return []
    return [paint.cut(Text(f"  here: {clean(phase.name)} {clean(phase.detail)}  {seconds(phase.elapsed(now))}"), width)]


def lines(hosts: Sequence[HostProgress], names: Names, now: float, width: int) -> list[Text]:
    """A line for each: name, stage, what it is busy with, and for how long."""
    width = min(width, WIDEST)
    stages = [stage_of(host) for host in hosts]
    name = min(max((len(names(host.name)) for host in hosts), default=0), max(width * 2 // 5, 8))
    stage = min(max((len(clean(stage.name)) for stage in stages), default=0), 22)
    took = [_took(host, stage, now) for host, stage in zip(hosts, stages, strict=True)]
    widths = (width, name, stage, max(map(len, took), default=0))
    return [_line(*host, names, now, widths) for host in zip(hosts, stages, took, strict=True)]


def _line(
    host: HostProgress, stage: HostStage, took: str, names: Names, now: float, widths: tuple[int, int, int, int]
) -> Text:
    width, name_width, stage_width, time_width = widths
    spin = paint.spinner(now)
    mark, style = STYLES.get(stage.kind, (spin, "cyan"))
    called = middle(names(host.name), name_width)
    name = Text(called, style="" if stage.kind in ("todo", "ready", "done") else "bold")
    name.truncate(name_width, pad=True)
    what = Text(clean(stage.name), style="" if stage.kind == "running" else style)
    what.truncate(stage_width, overflow="ellipsis", pad=True)
    text = Text.assemble("  ", (mark, style), " ", name, "  ", what, "  ", _busy_with(host, stage))
    text.truncate(max(width - time_width - 1, 10), overflow="ellipsis", pad=True)
    text.append(f" {took:>{time_width}}", style="dim")
    return paint.cut(text, width)


def _took(host: HostProgress, stage: HostStage, now: float) -> str:
    if stage.kind == "todo":
        return ""
    if host.finished:
        return seconds(host.finished.seconds) if host.finished.seconds else ""
    if stage.kind == "ready":
        return seconds(now - stage.since)
    return seconds(host.phases[-1].elapsed(now)) if host.phases else ""


def _busy_with(host: HostProgress, stage: HostStage) -> Text:
    """How far an upload is, the last line of a build, or why the host failed."""
    if stage.kind in ("failed", "ended"):
        said = host.failures[-1].message if host.failures else host.phases[-1].detail if host.phases else ""
        return Text(clean(said.strip().partition("\n")[0]), style="red" if stage.kind == "failed" else "dim")
    if stage.kind == "done" and host.finished:
        return Text(clean(host.finished.summary), style="dim")
    phase = host.running()
    if stage.kind == "ready" or not host.phases:
        return Text()
    if phase is None:
        return Text(clean(host.phases[-1].detail), style="dim")
    if phase.total:
        text = Text(f"{int(100 * phase.done / phase.total):>3} %  ").append_text(bar(phase.done / phase.total, BAR))
        return text.append(f"  {size(phase.speed())}/s" if phase.speed() else "", style="dim")
    return Text(clean(phase.output[-1] if phase.output else phase.detail), style="dim")


def others(hosts: Sequence[HostProgress], width: int) -> Text:
    """``… and 31 more, ready for the switch``."""
    stages = tally(map(stage_of, hosts))
    if len(stages) == 1:
        text = f"  … and {len(hosts)} more, {stages[0][0].name}"
    else:
        text = f"  … and {len(hosts)} more: " + ", ".join(f"{count} {stage.name}" for stage, count in stages)
    return paint.cut(Text(clean(text), style="dim"), width)


def outcome(console: Console, outcome: FleetOutcome, names: Names) -> None:
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
        paint.panel(console, panel.unit, panel.lines)
    if outcome.left_out:
        paint.say(console, (f"the lines of {names.few(outcome.left_out)} are not shown here", "yellow"))
    paint.verdict(console, outcome.verdict, failed=bool(end.exit), took=end.seconds)
    paint.advise(console, end.state, end.next)


def _table(outcome: FleetOutcome, names: Names) -> Table:
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
