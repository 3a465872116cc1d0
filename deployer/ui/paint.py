"""The look of things on a terminal: values in, ``rich`` text out. Text goes in as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from deployer import events as ev
from deployer.ui.fit import flowing
from deployer.ui.progress.digest import excerpt
from deployer.ui.progress.host import Row, Section
from deployer.ui.text import clean, clean_lines, middle, seconds, size
from deployer.wire.advice import Next

__all__ = [
    "MARKS", "SPINNER", "advise", "bar", "cut", "failure", "header", "panel", "raw", "rows", "say", "summary",
    "verdict",
]  # fmt: skip

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS = {
    "done": ("✓", "green"),
    "skipped": ("–", "dim"),
    "failed": ("✗", "bold red"),
    "left": ("…", "yellow"),
}
TAIL = 3
WIDEST = 100
BAR = 20


def say(console: Console, *parts: str | Text | tuple[str, str], hang: int = 2) -> None:
    """One line for people: no markup, no highlighting, no inserted newlines; a terminal breaks it between words."""
    text = Text.assemble(*parts)
    console.print(flowing(text, console.width, hang) if console.is_terminal else text, soft_wrap=True)


def raw(console: Console, *parts: str | Text | tuple[str, str]) -> None:
    """One line as it is: a command, or what a program printed."""
    console.print(Text.assemble(*parts), soft_wrap=True)


def header(title: str, host: str, width: int) -> Text:
    """What runs, and where."""
    text = Text(clean(title), style="bold")
    if host:
        text.append(" → " if title else "")
        text.append(middle(clean(host), max(width - text.cell_len, 8)), style="bold cyan")
    return cut(text, width)


def rows(section: Section, now: float, width: int) -> Iterator[list[Text]]:
    """The lines of each row: the phase itself, then what it is busy with."""
    width = min(width, WIDEST)
    names = max((len(clean(row.name)) for row in section.rows), default=0)
    for row in section.rows:
        yield list(_row(row, now, width, min(max(names, 7), 20)))


def _row(row: Row, now: float, width: int, name_width: int) -> Iterator[Text]:
    mark, style = MARKS.get(row.state) or (SPINNER[int(now * 12) % len(SPINNER)], "cyan")
    running = row.state == "running"
    took = "" if row.state == "skipped" else seconds(row.elapsed(now))
    text = Text.assemble("  ", (mark, style), " ")
    name = Text(clean(row.name), style="bold" if running else "")
    name.truncate(name_width, overflow="ellipsis", pad=True)
    text.append_text(name).append("  ").append(clean(row.detail), style="" if running else "dim")
    text.truncate(max(width - 13, 10), overflow="ellipsis", pad=True)
    text.append(f"{took:>12}", style="dim")
    yield cut(text, width)
    if running and row.total:
        yield cut(_upload(row, width), width)
    if running:
        tail = [row.output[at] for at in range(-min(TAIL, len(row.output)), 0)]
        yield from (cut(Text(f"      {clean(line)}", style="dim"), width) for line in tail)


def _upload(row: Row, width: int) -> Text:
    """A bar, what is done, bytes, bytes a second, and the time that remains; the bar is what gives way."""
    share = min(max(row.done / row.total, 0.0), 1.0)
    if row.doing == "sending" and share == 1.0:
        return Text(f"      sent, {size(row.total)}; the host unpacks it", style="dim")
    text = Text(f" {clean(row.doing)}" if row.doing else "")
    text.append(f" {int(share * 100):>3} %  {size(row.done)} of {size(row.total)}")
    if speed := row.speed():
        text.append(f"  {size(speed)}/s  {seconds((row.total - row.done) / speed)} left", style="dim")
    return Text("      ").append_text(bar(share, min(max(width - 6 - text.cell_len, 0), BAR))).append_text(text)


def bar(share: float, length: int) -> Text:
    """So much of a line."""
    filled = round(length * min(max(share, 0.0), 1.0))
    return Text.assemble(("━" * filled, "cyan"), ("━" * (length - filled), "bright_black"))


def failure(
    console: Console,
    event: ev.Failed,
    logs: ev.Logs | None = None,
    *,
    shown: Sequence[str] = (),
    host: str = "",
    whole: bool = False,
) -> None:
    """Message, log lines (in short, unless ``whole``, or they are the end of ``shown``), state, next command."""
    where = f"{clean(host)}: " if host else ""
    message = clean_lines(event.message) or ["failed"]
    say(console, (f"✗ {where}{message[0]}", "bold red"))
    for line in message[1:]:
        say(console, (f"  {line}", "red"))
    lines = tuple(event.logs) or (logs.lines if logs else ())
    if lines and tuple(shown[-len(lines) :]) != lines:
        panel(console, *excerpt(logs.unit if logs else "", lines, whole=whole))
    advise(console, event.state, event.next)


def advise(console: Console, state: str, next: Next) -> None:
    """The state everything is in, and what to type now."""
    for line in clean_lines(state):
        say(console, ("state: ", "bold"), line)
    if next:
        say(console, ("next:", "bold"))
    for step in next:
        command, *more = clean_lines(step.command or step.text) or [""]
        why = f"   ({clean(step.text)})" if all(step) else ""
        fits = not more and len(command) + len(why) + 2 <= console.width
        if step.command:
            raw(console, "  ", (command, "cyan"), why if fits else "")
        else:
            say(console, "  ", command)
        for line in more:
            raw(console, "  ", (line, "cyan"))
        if why and not fits:
            say(console, "    ", why.strip(), hang=4)


def panel(console: Console, title: str, lines: Sequence[str]) -> None:
    """Log lines between two rules, without side borders: they can be copied as they are."""
    width = min(console.width, WIDEST)
    heading = cut(Text(f"── {clean(title) or 'last log lines'} ", style="yellow"), width)
    heading.append("─" * (width - heading.cell_len))
    raw(console, (heading.plain, "yellow"))
    for line in lines:
        raw(console, clean(line))
    raw(console, ("─" * width, "yellow"))


def summary(console: Console, section: Section, event: ev.Finished) -> None:
    """The command's end on one host, in one line."""
    verdict(console, section.ending(), failed=bool(event.exit), took=section.took)


def verdict(console: Console, text: str, *, failed: bool, took: float) -> None:
    """How it ended, in one line."""
    if not text:
        return
    mark, style = MARKS["failed" if failed else "done"]
    after = f"  {seconds(took)}" if took else ""
    say(console, (f"{mark} ", style), (clean(text), "bold"), (after, "dim"))


def cut(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text
