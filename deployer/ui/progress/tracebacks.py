"""Tracebacks of Python in the lines that a process printed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["ENTRY", "OWN", "Chain", "CodeFrame", "Raised", "alike", "parse"]

MESSAGE = 6
"""Lines of one exception's message."""

_START = "Traceback (most recent call last):"
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_JOINTS = {_CAUSE: "caused by", _CONTEXT: "while handling"}
_FRAME = pattern(r'\s+File "(?P<path>[^"]*)", line (?P<line>\d+)(?:, in (?P<name>.*))?\Z')
_RAISED = pattern(r"[A-Za-z_][\w.]*(?::.*)?\Z")
_LIBRARY = pattern(r".*/(?:site-packages|dist-packages|lib/python\d[\d.]*)/(?P<rest>.+)\Z")
_FROZEN = pattern(r"<(?:frozen )?(?P<rest>[\w.]+)")
OWN = pattern(r"/srv/[^/\s\"']+/(?:trees/[0-9a-f]{16,}|(?:releases/v\d+|current)/code)/")
ENTRY = pattern(
    r"\W{0,2}(?:\d{4}-\d\d-\d\d\b|\d\d:\d\d:\d\d\b|(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b)"
    r"|Process \S+:|\S+:\d+: \w*Warning:"
)
"""A line like this is not part of an exception's message."""
_PASSING = pattern(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:\s?[+-]\d\d:?\d\d|Z)?|0x[0-9a-fA-F]+|\[\d+\]|\bpid:?\s*\d+"
)


@dataclass(frozen=True, kw_only=True)
class CodeFrame:
    path: str
    line: str
    name: str
    source: str = ""

    @property
    def own(self) -> bool:
        """Whether it is the app's code."""
        return bool(OWN.match(self.path))

    @property
    def package(self) -> str:
        """Whose code it is: ``gunicorn``, ``importlib``."""
        found = _LIBRARY.match(self.path) or _FROZEN.match(self.path)
        rest = found["rest"] if found else self.path.rpartition("/")[2]
        return re.split(r"[/.]", rest)[0] or rest or "?"

    def __str__(self) -> str:
        found = _LIBRARY.match(self.path)
        path = OWN.sub("", self.path) if self.own else found["rest"] if found else self.path
        return (
            f"{path}:{self.line}" + (f", in {self.name}" if self.name else "") + f": {self.source}" * bool(self.source)
        )


@dataclass(kw_only=True)
class Raised:
    """One traceback. ``joint`` says how the one before it led to it; ``torn`` that its beginning is not there."""

    frames: list[CodeFrame] = field(default_factory=list)
    message: list[str] = field(default_factory=list)
    joint: str = ""
    torn: bool = False

    def key(self) -> tuple[object, ...]:
        return (tuple(self.frames), tuple(map(alike, self.message)), self.joint)


Chain = list[Raised]
"""Exceptions that led to one another, the last one last."""


def parse(lines: Sequence[str]) -> tuple[list[Chain], list[str]]:
    """The tracebacks in ``lines``, and the lines that belong to none."""
    parser = _Parser()
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        parser.take(line, following)
    whole = [[one for one in chain if one.message or one.frames] for chain in parser.chains]
    return _without_torn([chain for chain in whole if chain]), parser.others


class _Parser:
    """Takes line by line. ``raised`` is the traceback that the next line may belong to."""

    def __init__(self) -> None:
        self.chains: list[Chain] = []
        self.others: list[str] = []
        self.raised: Raised | None = None
        self.joint = ""

    def take(self, line: str, following: str) -> None:
        if line.rstrip().endswith(_START) and not line.lstrip().startswith(("+", "|")):
            head = line[: line.rindex(_START)].strip()
            self.others += [head] if head else []
            self._begin()
        elif (joint := _JOINTS.get(line.strip())) and self.raised is not None:
            self.joint, self.raised = joint, None
        elif self.raised is not None and _took(self.raised, line, following):
            return
        elif _FRAME.match(line):  # the lines begin in the middle of a traceback
            self.others = [one for one in self.others if not one.startswith("    ")]
            self.joint = ""
            begun = self._begin()
            begun.torn = True
            _took(begun, line, following)
        else:
            self.raised = None
            self.others += [line] if line.strip() else []

    def _begin(self) -> Raised:
        """A new traceback: of a new chain, or (after a joint) of the last one."""
        if not (self.joint and self.chains):
            self.chains.append([])
        self.raised = Raised(joint=self.joint)
        self.chains[-1].append(self.raised)
        self.joint = ""
        return self.raised


def _without_torn(chains: list[Chain]) -> list[Chain]:
    """Less the first, when it is the end of a traceback that is there in whole, too: its beginning was cut off."""
    first, *more = chains or [[]]
    ends = [chain[-1] for chain in more if first and chain[-1].message == first[-1].message]
    torn = (
        bool(first) and first[-1].torn and any(end.frames[-len(first[-1].frames) :] == first[-1].frames for end in ends)
    )
    return more if torn and len(first) == 1 else chains


def _took(raised: Raised, line: str, following: str) -> bool:
    """Whether the line belongs to the traceback."""
    if raised.message:
        return _goes_on(raised, line, following)
    if found := _FRAME.match(line):
        raised.frames.append(CodeFrame(path=found["path"], line=found["line"], name=found["name"] or ""))
    elif line[:1].isspace() or not line:
        _add_source(raised, line.strip())
    elif raised.frames or _RAISED.match(line):
        raised.message.append(line)
    else:
        return False
    return True


def _goes_on(raised: Raised, line: str, following: str) -> bool:
    """More lines of a message: those that are indented, or followed by one that is. Those beyond a few are left out."""
    if ENTRY.match(line) or _FRAME.match(line):
        return False
    _, _, text = raised.message[0].partition(": ")
    if text and line.startswith(text):
        return True  # gunicorn prints the exception's text once more
    if line.strip() and not line[:1].isspace() and not (following[:1].isspace() and following.strip()):
        return False
    if len(raised.message) < MESSAGE and line.strip():
        raised.message.append(line)
    return True


def _add_source(raised: Raised, text: str) -> None:
    if raised.frames and text.strip("^~ ") and not raised.frames[-1].source:
        last = raised.frames[-1]
        raised.frames[-1] = CodeFrame(path=last.path, line=last.line, name=last.name, source=text)


def alike(line: str) -> str:
    """A line without what differs between two processes that fail in the same way: times, process ids, addresses."""
    return _PASSING.sub("#", line)
