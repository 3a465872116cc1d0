"""The look of things on a terminal: values in, ``rich`` text out. Text goes in as text, never as markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from deployer import events as ev
from deployer.ui.progress.outcome import last_lines
from deployer.ui.style.fit import flowing
from deployer.ui.style.text import clean, clean_lines, middle, seconds
from deployer.wire.advice import Next

__all__ = ["MARKS", "advise", "cut", "failure", "header", "panel", "raw", "say", "spinner", "verdict"]

MARKS = {
    "done": ("✓", "green"),
    "skipped": ("–", "dim"),
    "failed": ("✗", "bold red"),
    "left": ("…", "yellow"),
}
WIDEST = 100


def spinner(now: float) -> str:
    """The mark of what runs, as it turns; ``now`` in seconds."""
    return "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[int(now * 12) % 10]


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
    if last := last_lines(logs, event.logs, shown=shown, whole=whole):
        panel(console, last.unit, last.lines)
    advise(console, event.state, event.next)


def advise(console: Console, state: str, next: Next) -> None:
    """The state that everything is in, and what to type next."""
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


def verdict(console: Console, text: str, *, failed: bool, took: float) -> None:
    """How the command ended, in one line; nothing for an empty text."""
    if not text:
        return
    mark, style = MARKS["failed" if failed else "done"]
    after = f"  {seconds(took)}" if took else ""
    say(console, (f"{mark} ", style), (clean(text), "bold"), (after, "dim"))


def cut(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text
