"""A bug that nobody foresaw, at any call that the host program makes while it undoes or puts right."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import deployer.host
import deployer.wire
from deployer.host.deployment.undo import Undo
from deployer.host.job import main

_PROGRAM = tuple(str(Path(part.__file__).parent) for part in (deployer.host, deployer.wire))
"""What ships to a host."""
_HERE = str(Path(__file__).parent)
UNDO, RECOVERY = "undo.py:run", "main.py:_recover"
"""Where an undo or a recovery begins: from then on, calls count."""
_BEGINNINGS: dict[str, tuple[Any, str]] = {UNDO: (Undo, "run"), RECOVERY: (main, "_recover")}
_APART = {"failures.py", "protocol.py", "errors.py"}
"""What keeps the failures, and what has none."""
_PURE = {"paths.py", "app.py", "clock.py", "reader.py", "spec.py", "processes.py"}
_STEPS = {
    *(
        "deployment.py",
        "execution.py",
        "undo.py",
        "rollback.py",
        "outcome.py",
        "recovery.py",
        "survey.py",
        "debris.py",
        "outcome.py",
        "main.py",
    ),
    *("background.py", "handover.py", "install.py", "lock.py", "service.py", "lease.py"),
}
"""Whose calls are tried, where not every one is."""
TEXT = "nobody foresaw this"
_ENTERED = "entered"
_BETWEEN = ("<", _ENTERED)
"""How functions are called that are none of the program's: comprehensions and the like, and ours."""

Call = tuple[str, str]
"""Who calls, as ``module.py:function``, and whom."""


class Unforeseen(RuntimeError):
    """Neither HostError nor OSError."""


@dataclass
class Bug:
    """Raises at a call, once (``occasion`` counts from 1) or each time (0). Without a call it only takes note."""

    begins: str
    call: Call | None = None
    occasion: int = 1
    seen: Counter[Call] = field(default_factory=Counter)
    struck: int = 0
    journal: io.StringIO = field(default_factory=io.StringIO)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """What is called before it ``begins`` is not looked at: that takes as long again as to run it."""
        owner, name = _BEGINNINGS[self.begins]
        with contextlib.redirect_stderr(self.journal), mock.patch.object(owner, name, self._entering(owner, name)):
            try:
                yield
            finally:
                sys.setprofile(None)

    def _entering(self, owner: object, name: str) -> Callable[..., object]:
        real = getattr(owner, name)

        def entered(*values: object, **named: object) -> object:
            if not self.struck:
                sys.setprofile(self._look)
            return real(*values, **named)

        assert entered.__code__.co_name == _ENTERED
        return entered

    def _look(self, frame: types.FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        call = _call(frame)
        if call is None:
            return
        self.seen[call] += 1
        if call == self.call and self.occasion in (0, self.seen[call]):
            self.struck += 1
            sys.setprofile(None)
            if not self.occasion:
                sys.setprofile(self._look)
            raise Unforeseen(TEXT)


def _call(frame: types.FrameType) -> Call | None:
    """A function of the host program, or one of those that stand in for the system, called by the host program."""
    if frame.f_code.co_name.startswith(_BETWEEN):
        return None
    caller = frame.f_back
    while caller is not None and caller.f_code.co_name.startswith(_BETWEEN):
        caller = caller.f_back
    if caller is None:
        return None
    (of, ours), (module, _) = _place(caller.f_code.co_filename), _place(frame.f_code.co_filename)
    if not (ours and module):
        return None
    return f"{of}:{caller.f_code.co_name}", f"{module}:{frame.f_code.co_name}"


@functools.cache
def _place(path: str) -> tuple[str, bool]:
    """The name of a module whose calls count, empty for any other; and whether it is of the host program."""
    name = Path(path).name
    if name in _APART or not path.startswith((*_PROGRAM, _HERE)):
        return "", False
    return name, path.startswith(_PROGRAM)


def calls(command: Callable[[], object], begins: str, *, every: bool) -> list[tuple[Call, int]]:
    """The calls that the command's undo, or its recovery, makes: with ``every`` all of them, the first time and the
    last; else of those that its steps make the first of each function."""
    bug = Bug(begins)
    with bug.in_place():
        command()
    if every:
        return [(call, occasion) for call, count in bug.seen.items() for occasion in sorted({1, count})]
    steps = [call for call in bug.seen if _module(call[0]) in _STEPS and _module(call[1]) not in _PURE]
    return [(call, 1) for call in {call[1]: call for call in reversed(steps)}.values()]


def _module(name: str) -> str:
    return name.partition(":")[0]
