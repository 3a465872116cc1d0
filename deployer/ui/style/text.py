"""Text for people: what came from elsewhere made harmless, and numbers made readable. Pure functions."""

from __future__ import annotations

from deployer.events import Waiting
from deployer.remote.answers import Job
from deployer.wire.lazyre import pattern
from deployer.wire.sizes import size

__all__ = ["age", "ahead", "clean", "clean_lines", "commit", "counted", "middle", "queue", "seconds", "size"]

_SEQUENCE = pattern(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles, clipboard
)
_HARMFUL = pattern(r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def clean(text: str) -> str:
    """One line that cannot touch the terminal: escape sequences removed, other controls spelt out."""
    text = _SEQUENCE.sub("", text.rstrip("\r\n")).expandtabs(4)
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def clean_lines(text: str) -> list[str]:
    """The lines of a text of several lines, each clean."""
    return [clean(line) for line in text.strip("\n").split("\n")] if text.strip() else []


def seconds(value: float) -> str:
    """``0.3 s``, ``12 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if value < 9.95:
        return f"{max(value, 0.0):.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def age(at: float, now: float) -> str:
    """How long ago ``at`` was: ``just now``, ``3 min ago``, ``5 days ago``; empty when unknown."""
    if at <= 0:
        return ""
    return "just now" if now - at < 10 else f"{_span(now - at)} ago"


def ahead(at: float, now: float) -> str:
    """How soon ``at`` is: ``now``, ``in 3 min``, ``in 5 days``; empty when there is no such time."""
    if at <= 0:
        return ""
    return "now" if at - now < 1 else f"in {_span(at - now)}"


def _span(seconds: float) -> str:
    """In one unit, rounded down."""
    for limit, unit, word in ((60, 1, "s"), (3600, 60, "min"), (2 * 86400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {word}"
    return f"{int(seconds // 86400)} days"


def middle(text: str, width: int) -> str:
    """A name in so many columns, shortened in its middle: how it begins and how it ends tells hosts apart."""
    if len(text) <= width or width < 3:
        return text[:width]
    left = width // 2
    return f"{text[:left]}…{text[len(text) - (width - left - 1) :]}"


def counted(count: int, noun: str) -> str:
    """``1 host``, ``3 hosts``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def commit(digest: str) -> str:
    """A commit's first seven digits."""
    return clean(digest)[:7]


def queue(event: Waiting) -> str:
    """What a waiting command waits for: ``2 more before us; a deploy by ada@laptop runs since 12:03:04, at build``."""
    job = Job(by=event.by, kind=event.kind, since=event.since, phase=event.phase)
    runs = str(job) if event.since else "nothing runs"
    return f"{event.ahead} more before us; {runs}" if event.ahead else runs
