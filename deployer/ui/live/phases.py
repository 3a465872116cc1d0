"""One host on a terminal: a line for each phase, and what the phase that runs is busy with."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from deployer.ui.progress.host import HostProgress, PhaseProgress
from deployer.ui.style.paint import MARKS, WIDEST, cut, spinner
from deployer.ui.style.text import clean, seconds, size

__all__ = ["bar", "phases"]

TAIL = 3
"""Lines of output that are shown of a phase that runs."""
BAR = 20


def phases(host: HostProgress, now: float, width: int) -> Iterator[tuple[PhaseProgress, list[Text]]]:
    """Each phase with its lines: the phase itself, then what it is busy with."""
    width = min(width, WIDEST)
    names = max((len(clean(phase.name)) for phase in host.phases), default=0)
    for phase in host.phases:
        yield phase, list(_phase(phase, now, width, min(max(names, 7), 20)))


def _phase(phase: PhaseProgress, now: float, width: int, name_width: int) -> Iterator[Text]:
    mark, style = MARKS.get(phase.state) or (spinner(now), "cyan")
    running = phase.state == "running"
    took = "" if phase.state == "skipped" else seconds(phase.elapsed(now))
    text = Text.assemble("  ", (mark, style), " ")
    name = Text(clean(phase.name), style="bold" if running else "")
    name.truncate(name_width, overflow="ellipsis", pad=True)
    text.append_text(name).append("  ").append(clean(phase.detail), style="" if running else "dim")
    text.truncate(max(width - 13, 10), overflow="ellipsis", pad=True)
    text.append(f"{took:>12}", style="dim")
    yield cut(text, width)
    if running and phase.total:
        yield cut(_upload(phase, width), width)
    if running:
        tail = [phase.output[at] for at in range(-min(TAIL, len(phase.output)), 0)]
        yield from (cut(Text(f"      {clean(line)}", style="dim"), width) for line in tail)


def _upload(phase: PhaseProgress, width: int) -> Text:
    """A bar, what is done, bytes, bytes a second, and the time that remains; the bar is what gives way."""
    share = min(max(phase.done / phase.total, 0.0), 1.0)
    if phase.doing == "sending" and share == 1.0:
        return Text(f"      sent, {size(phase.total)}; the host unpacks it", style="dim")
    text = Text(f" {clean(phase.doing)}" if phase.doing else "")
    text.append(f" {int(share * 100):>3} %  {size(phase.done)} of {size(phase.total)}")
    if speed := phase.speed():
        text.append(f"  {size(speed)}/s  {seconds((phase.total - phase.done) / speed)} left", style="dim")
    return Text("      ").append_text(bar(share, min(max(width - 6 - text.cell_len, 0), BAR))).append_text(text)


def bar(share: float, length: int) -> Text:
    """So much of a line."""
    filled = round(length * min(max(share, 0.0), 1.0))
    return Text.assemble(("━" * filled, "cyan"), ("━" * (length - filled), "bright_black"))
