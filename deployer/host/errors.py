"""The errors that the host program raises on purpose, and how it reports any other."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from deployer.wire.advice import NOTHING, Next, run
from deployer.wire.errors import ExplainedError
from deployer.wire.protocol import Exit

_SHOWN = 12
"""Lines of a traceback in an error; all of it is in the journal of the unit."""


class HostError(ExplainedError):
    """A failure, with its exit code. ``stays`` is what it did that cannot be undone."""

    logs: tuple[str, ...]

    def __init__(
        self,
        message: str,
        *,
        exit: Exit = Exit.REFUSED,
        state: str = "",
        next: Next = NOTHING,
        logs: Sequence[str] = (),
        stays: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit = exit
        self.state = state
        self.next = next
        self.logs = tuple(logs)
        self.stays = stays


def bug(error: BaseException, what: str, clean: Callable[[list[str]], list[str]] = list) -> HostError:
    """An unexpected exception as an error. The traceback goes to the journal of the unit, its end into the error.

    ``clean`` masks secrets in the lines: an exception may quote its input. Never raises.
    """
    lines = [type(error).__name__]
    with contextlib.suppress(Exception):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        lines = clean(text.splitlines()) or lines
    with contextlib.suppress(Exception):
        print(f"{what}: a bug of deployer", *lines, sep="\n", file=sys.stderr, flush=True)
    return HostError(f"a bug of deployer: {lines[-1]}", exit=Exit.BUG, logs=lines[-_SHOWN:])


class BadRequest(HostError):
    """The input is not a request that this program accepts; nothing was touched."""

    def __init__(self, message: str, *, next: Next = NOTHING) -> None:
        super().__init__(message, exit=Exit.USAGE, state="nothing was touched", next=next)


class Damaged(HostError):
    """A file written by deployer has been changed or cut off."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged: it does not hold what deployer wrote there", next=run("fab doctor"))
        self.path = path
