"""The reason of a failure in few lines: the last exception first, then the app's own frames. Pure.

What a process said is a hundred lines by four workers, each with the frames of a server and a framework. A digest has
every exception once, with how often it came, and folds what is not the app's own code to the names of packages. What is
no traceback is shown as it is, the last of it. The whole is one ``fab logs`` away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from deployer.ui.text import counted

__all__ = ["alike", "digest", "excerpt", "gist"]

MOST = 24
"""Lines of a digest."""
CHAINS = 2
"""Different exceptions that are shown."""
DEEP = 3
"""Exceptions of one chain that are shown: the last ones."""
OWN_FRAMES = 6
OTHERS = 4
"""Lines beside a traceback: such as why a server gives up."""
LONGEST = 600
"""Characters of a line."""
MESSAGE = 6
"""Lines of one exception's message."""

_START = "Traceback (most recent call last):"
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_JOINTS = {_CAUSE: "caused by", _CONTEXT: "while handling"}
_FRAME = re.compile(r'\s+File "(?P<path>[^"]*)", line (?P<line>\d+)(?:, in (?P<name>.*))?\Z')
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?::.*)?\Z")
_ENTRY = re.compile(
    r"\W{0,2}(?:\d{4}-\d\d-\d\d\b|\d\d:\d\d:\d\d\b|(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b)"
    r"|Process \S+:|\S+:\d+: \w*Warning:"
)
"""Begins what is no part of an exception's message any more."""
_CHATTER = re.compile(r"\b(?:DEBUG|INFO)\b")
_OWN = re.compile(r"/srv/[^/\s\"']+/(?:trees/[0-9a-f]{16,}|(?:releases/v\d+|current)/code)/")
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|lib/python\d[\d.]*)/(?P<rest>.+)\Z")
_FROZEN = re.compile(r"<(?:frozen )?(?P<rest>[\w.]+)")
_TIMES = re.compile(r"   \(×\d+\)\Z")
_PASSING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:\s?[+-]\d\d:?\d\d|Z)?|0x[0-9a-fA-F]+|\[\d+\]|\bpid:?\s*\d+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    path: str
    line: str
    name: str
    source: str = ""

    @property
    def own(self) -> bool:
        """It is the app's code."""
        return bool(_OWN.match(self.path))

    @property
    def package(self) -> str:
        """Whose code it is: ``gunicorn``, ``importlib``."""
        found = _LIBRARY.match(self.path) or _FROZEN.match(self.path)
        rest = found["rest"] if found else self.path.rpartition("/")[2]
        return re.split(r"[/.]", rest)[0] or rest or "?"

    def __str__(self) -> str:
        found = _LIBRARY.match(self.path)
        path = _OWN.sub("", self.path) if self.own else found["rest"] if found else self.path
        return (
            f"{path}:{self.line}" + (f", in {self.name}" if self.name else "") + f": {self.source}" * bool(self.source)
        )


@dataclass(slots=True, kw_only=True)
class _Raised:
    """One traceback. ``joint`` says how the one before it led to it; ``torn`` that its beginning is not there."""

    frames: list[_Frame] = field(default_factory=list)
    message: list[str] = field(default_factory=list)
    joint: str = ""
    torn: bool = False

    def key(self) -> tuple[object, ...]:
        return (tuple(self.frames), tuple(map(alike, self.message)), self.joint)


_Chain = list[_Raised]
"""Exceptions that led to one another, the last one last."""


def digest(lines: Sequence[str], most: int = MOST) -> list[str]:
    """At most ``most`` lines; the last exception is always among them."""
    chains, others = _parsed(lines)
    if not chains:
        return _folded(others)[-most:]
    counts = Counter(map(_key, chains))
    distinct = list({_key(chain): chain for chain in reversed(chains)}.values())
    ranked = sorted(distinct, key=lambda chain: (_is_passing(chain), not chain[-1].message, not _has_own(chain)))
    shown = list(_told(ranked[0], counts[_key(ranked[0])]))
    if _is_passing(ranked[0]):
        shown = [f"a reader went away: {line}" for line in _title(ranked[0][-1], counts[_key(ranked[0])])]
    tail: list[str] = []
    for chain in dict.fromkeys(map(_key, [*ranked[1:CHAINS], distinct[0]])):
        one = next(one for one in distinct if _key(one) == chain)
        if one is not ranked[0] and one[-1].message:
            with_frames = one[-1].message != ranked[0][-1].message and _has_own(one) >= _has_own(ranked[0])
            tail += _told(one, counts[chain]) if with_frames else _title(one[-1], counts[chain])
    tail += _folded([line for line in others if not _CHATTER.search(line)])[-OTHERS:]
    room = max(most - len(shown), most // 3)
    return _cut(shown, most - min(len(tail), room)) + tail[-room:]


def _is_passing(chain: _Chain) -> bool:
    """Whether it only tells of a client that went away before its answer: no process ends for that."""
    return bool(chain[-1].message) and chain[-1].message[0].startswith("BrokenPipeError")


def _has_own(chain: _Chain) -> bool:
    return any(frame.own for one in chain for frame in one.frames)


def excerpt(title: str, lines: Sequence[str], *, whole: bool = False) -> tuple[str, list[str]]:
    """What is shown of a process's last lines, and its heading, which says so when something was left out."""
    title = title or "last log lines"
    short = list(lines) if whole else digest(lines)
    return (
        (title, short) if len(short) >= len([line for line in lines if line.strip()]) else (f"{title}, in short", short)
    )


def alike(line: str) -> str:
    """A line without what differs between two processes that fail in the same way: times, process ids, addresses."""
    return _PASSING.sub("#", line)


def gist(lines: Sequence[str]) -> tuple[str, ...]:
    """What a digest has in common with those of other hosts that fail in the same way: its exceptions, not how often
    they came, nor what a server logs beside them."""
    bare = [_TIMES.sub("", line) for line in lines]
    raised = [line for line in bare if not _ENTRY.match(line)]
    return tuple(map(alike, raised or bare))


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], "…"]


def _key(chain: _Chain) -> tuple[object, ...]:
    return tuple(one.key() for one in chain)


def _parsed(lines: Sequence[str]) -> tuple[list[_Chain], list[str]]:
    """The tracebacks, and the lines that belong to none."""
    chains: list[_Chain] = []
    others: list[str] = []
    raised: _Raised | None = None
    joint = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        if line.rstrip().endswith(_START) and not line.lstrip().startswith(("+", "|")):
            head = line[: line.rindex(_START)].strip()
            others += [head] if head else []
            raised = _begun(chains, joint)
            joint = ""
        elif (known := _JOINTS.get(line.strip())) and raised is not None:
            joint, raised = known, None
        elif raised is not None and _took(raised, line, following):
            continue
        elif _FRAME.match(line):  # the lines begin in the middle of a traceback
            others = [one for one in others if not one.startswith("    ")]
            raised, joint = _begun(chains, ""), ""
            raised.torn = True
            _took(raised, line, following)
        else:
            raised = None
            others += [line] if line.strip() else []
    whole = [[one for one in chain if one.message or one.frames] for chain in chains]
    return _without_torn([chain for chain in whole if chain]), others


def _begun(chains: list[_Chain], joint: str) -> _Raised:
    """A new traceback: of a new chain, or (after ``joint``) of the last one."""
    if not (joint and chains):
        chains.append([])
    chains[-1].append(_Raised(joint=joint))
    return chains[-1][-1]


def _without_torn(chains: list[_Chain]) -> list[_Chain]:
    """Less the first, when it is the end of a traceback that is there in whole, too: its beginning was cut off."""
    first, *more = chains or [[]]
    ends = [chain[-1] for chain in more if first and chain[-1].message == first[-1].message]
    torn = (
        bool(first) and first[-1].torn and any(end.frames[-len(first[-1].frames) :] == first[-1].frames for end in ends)
    )
    return more if torn and len(first) == 1 else chains


def _took(raised: _Raised, line: str, following: str) -> bool:
    """Whether the line belongs to the traceback."""
    if raised.message:
        return _goes_on(raised, line, following)
    if found := _FRAME.match(line):
        raised.frames.append(_Frame(path=found["path"], line=found["line"], name=found["name"] or ""))
    elif line[:1].isspace() or not line:
        _add_source(raised, line.strip())
    elif raised.frames or _RAISED.match(line):
        raised.message.append(line)
    else:
        return False
    return True


def _goes_on(raised: _Raised, line: str, following: str) -> bool:
    """More lines of a message: those that are indented, or followed by one that is. Those beyond a few are left out."""
    if _ENTRY.match(line) or _FRAME.match(line):
        return False
    _, _, text = raised.message[0].partition(": ")
    if text and line.startswith(text):
        return True  # gunicorn prints the exception's text once more
    if line.strip() and not line[:1].isspace() and not (following[:1].isspace() and following.strip()):
        return False
    if len(raised.message) < MESSAGE and line.strip():
        raised.message.append(line)
    return True


def _add_source(raised: _Raised, text: str) -> None:
    if raised.frames and text.strip("^~ ") and not raised.frames[-1].source:
        last = raised.frames[-1]
        raised.frames[-1] = _Frame(path=last.path, line=last.line, name=last.name, source=text)


def _told(chain: _Chain, times: int) -> Iterator[str]:
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


def _title(raised: _Raised, times: int) -> list[str]:
    first, *more = raised.message or ["an exception whose last line is not here"]
    return [_short(first) + (f"   (×{times})" if times > 1 else ""), *map(_short, more)]


def _frames(frames: Sequence[_Frame]) -> Iterator[str]:
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


def _whose(frames: Sequence[_Frame]) -> Iterator[str]:
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
    line = _OWN.sub("", line.rstrip())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
