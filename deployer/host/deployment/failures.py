"""What fails while something is undone or put right: kept and told, and no reason to leave out the next step."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from deployer.host.build import disk
from deployer.host.errors import HostError
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.wire.protocol import Exit

_SHOWN = 12
"""Lines of a traceback that go with an error; the journal of the job's unit has all of it."""


class Failures:
    """Runs named steps, each whatever became of those before it, and keeps what they raise.

    ::

        failures = Failures(ctx)
        with failures.kept("starting v1"):
            ...
        with failures.kept("removing v2"):
            ...
        failures.raise_first()

    Only an ``Exception`` is kept: what ends the program, and a signal, pass through.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.found: list[HostError] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    @contextlib.contextmanager
    def kept(self, what: str) -> Iterator[None]:
        """One step. ``what`` names it for people."""
        try:
            yield
        except Exception as error:
            self.found.append(_named(understood(error, self._ctx, what), what))

    def raise_first(self) -> None:
        """Raises the first failure, told together with the others; a bug before all that is none."""
        if not self.found:
            return
        first = next((error for error in self.found if error.exit == Exit.BUG), self.found[0])
        messages = dict.fromkeys(error.message for error in (first, *self.found))
        raise HostError("; ".join(messages), exit=first.exit, state=first.state, next=first.next, logs=first.logs)


def understood(error: Exception, ctx: Context, what: str) -> HostError:
    """Any exception as an error for people. One that nobody foresaw is a bug: its traceback goes to the journal of this
    program's unit, and its end with the error. Never raises."""
    if isinstance(error, HostError):
        return error
    with contextlib.suppress(Exception):
        if isinstance(error, OSError):
            return disk.disk_error(error, ctx.paths.home, what)
    lines = _traceback(error, ctx)
    with contextlib.suppress(Exception):
        print(f"{what}: a bug of deployer", *lines, sep="\n", file=sys.stderr, flush=True)
    return HostError(f"a bug of deployer: {lines[-1]}", exit=Exit.BUG, logs=lines[-_SHOWN:])


def _traceback(error: Exception, ctx: Context) -> list[str]:
    """Its lines, at least one. An exception may quote what it choked on: no secret is shown."""
    lines: Any = [type(error).__name__]
    with contextlib.suppress(Exception):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        lines = masking.clean(text.splitlines(), masking.Secrets(ctx.paths).values())
    return [str(line) for line in lines]


def _named(error: HostError, what: str) -> HostError:
    message = error.message if what in error.message else f"{what}: {error.message}"
    return HostError(message, exit=error.exit, state=error.state, next=error.next, logs=error.logs)
