"""The reason of a failure in few lines: the last exception first, then the app's own frames. Pure.

Four workers that fail print a hundred lines, most of them frames of a server and a framework. A digest has each
exception once, with how often it came, and replaces frames that are not the app's by the names of their packages. Of
other lines it has the last ones, unchanged. ``fab logs`` has everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from deployer.ui.progress.tracebacks import ENTRY, OWN, Chain, CodeFrame, Raised, alike, parse
from deployer.ui.style.text import counted
from deployer.wire.lazyre import pattern

__all__ = ["alike", "digest", "excerpt", "gist"]

MOST = 24
"""Lines of a digest."""
CHAINS = 2
"""Different exceptions that are shown."""
DEEP = 3
"""Exceptions of one chain that are shown: the last ones."""
OWN_FRAMES = 6
OTHERS = 4
"""Lines beside a traceback, for example why a server gives up."""
LONGEST = 600
"""Characters of a line."""

_CHATTER = pattern(r"\b(?:DEBUG|INFO)\b")
_TIMES = pattern(r"   \(×\d+\)\Z")


def digest(lines: Sequence[str], most: int = MOST) -> list[str]:
    """At most ``most`` lines; the last exception is always among them."""
    chains, others = parse(lines)
    if not chains:
        return _folded(others)[-most:]
    counts = Counter(map(_key, chains))
    distinct = list({_key(chain): chain for chain in reversed(chains)}.values())
    ranked = sorted(distinct, key=lambda chain: (_is_passing(chain), not chain[-1].message, not _has_own(chain)))
    shown = list(_lines_of(ranked[0], counts[_key(ranked[0])]))
    if _is_passing(ranked[0]):
        shown = [f"a reader went away: {line}" for line in _title(ranked[0][-1], counts[_key(ranked[0])])]
    tail: list[str] = []
    for chain in dict.fromkeys(map(_key, [*ranked[1:CHAINS], distinct[0]])):
        one = next(one for one in distinct if _key(one) == chain)
        if one is not ranked[0] and one[-1].message:
            with_frames = one[-1].message != ranked[0][-1].message and _has_own(one) >= _has_own(ranked[0])
            tail += _lines_of(one, counts[chain]) if with_frames else _title(one[-1], counts[chain])
    tail += _folded([line for line in others if not _CHATTER.search(line)])[-OTHERS:]
    room = max(most - len(shown), most // 3)
    return _cut(shown, most - min(len(tail), room)) + tail[-room:]


def _is_passing(chain: Chain) -> bool:
    """Whether it only tells of a client that went away before its answer: no process ends for that."""
    return bool(chain[-1].message) and chain[-1].message[0].startswith("BrokenPipeError")


def _has_own(chain: Chain) -> bool:
    return any(frame.own for one in chain for frame in one.frames)


def excerpt(title: str, lines: Sequence[str], *, whole: bool = False) -> tuple[str, list[str]]:
    """What is shown of a process's last lines, and its heading, which says so when something was left out."""
    title = title or "last log lines"
    short = list(lines) if whole else digest(lines)
    return (
        (title, short) if len(short) >= len([line for line in lines if line.strip()]) else (f"{title}, in short", short)
    )


def gist(lines: Sequence[str]) -> tuple[str, ...]:
    """What a digest has in common with those of other hosts that fail in the same way: its exceptions, not how often
    they came, nor what a server logs beside them."""
    bare = [_TIMES.sub("", line) for line in lines]
    raised = [line for line in bare if not ENTRY.match(line)]
    return tuple(map(alike, raised or bare))


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], "…"]


def _key(chain: Chain) -> tuple[object, ...]:
    return tuple(one.key() for one in chain)


def _lines_of(chain: Chain, times: int) -> Iterator[str]:
    """The last exception and its frames, then what led to it."""
    joint = ""
    for at, one in enumerate(reversed(chain[-DEEP:])):
        title = _title(one, times if at == 0 else 1)
        yield f"{joint} {title[0]}".strip()
        yield from title[1:]
        yield from (f"  {_short(line)}" for line in _frames(one.frames))
        joint = one.joint
    if len(chain) > DEEP:
        yield f"and {counted(len(chain) - DEEP, 'exception')} before that"


def _title(raised: Raised, times: int) -> list[str]:
    first, *more = raised.message or ["an exception whose last line is not here"]
    return [_short(first) + (f"   (×{times})" if times > 1 else ""), *map(_short, more)]


def _frames(frames: Sequence[CodeFrame]) -> Iterator[str]:
    """The app's own; of others how many, and whose. Where none is the app's, the last ones."""
    if not any(frame.own for frame in frames):
        yield from _whose(frames[:-2])
        yield from map(str, frames[-2:])
        return
    places = [at for at, frame in enumerate(frames) if frame.own]
    first = places[-OWN_FRAMES] if len(places) > OWN_FRAMES else 0
    for own, run in groupby(frames[first:], key=lambda frame: frame.own):
        of_one = list(run)
        yield from map(str, of_one) if own else _whose(of_one)


def _whose(frames: Sequence[CodeFrame]) -> Iterator[str]:
    """``gunicorn, importlib: 12 frames``."""
    if frames:
        packages = list(dict.fromkeys(frame.package for frame in frames))
        few = ", ".join(packages[:3]) + (", …" if len(packages) > 3 else "")
        yield f"{few}: {counted(len(frames), 'frame')}"


def _folded(lines: Sequence[str]) -> list[str]:
    """Each line once, at its last place, with how often it came."""
    counts = Counter(map(alike, lines))
    last = {alike(line): line for line in lines}
    kept = [(key, last[key]) for key in reversed(dict.fromkeys(map(alike, reversed(lines))))]
    return [_short(line) + (f"   (×{counts[key]})" if counts[key] > 1 else "") for key, line in kept]


def _short(line: str) -> str:
    line = OWN.sub("", line.rstrip())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
