"""Failures during an undo or a recovery: collected and reported, while the next steps still run."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from deployer.host.build import builder
from deployer.host.errors import HostError
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.wire.protocol import Exit

_SHOWN = 12
"""Lines of a traceback in an error; all of it is in the journal of the job's unit."""


class Failures:
    """Runs named steps, each even when earlier ones failed, and collects what they raise.

    ::

        failures = Failures(ctx)
        with failures.kept("starting v1"):
            ...
        with failures.kept("removing v2"):
            ...
        failures.raise_first()

    Only an ``Exception`` is collected: signals, and what ends the program, pass through.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.found: list[HostError] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    @contextlib.contextmanager
    def kept(self, what: str) -> Iterator[None]:
        """Run one step. ``what`` names it for people."""
        try:
            yield
        except Exception as error:
            self.found.append(_named(understood(error, self._ctx, what), what))

    def raise_first(self) -> None:
        """Raises the first bug, else the first failure, with the messages of all; nothing when none failed."""
        if not self.found:
            return
        first = next((error for error in self.found if error.exit == Exit.BUG), self.found[0])
        messages = dict.fromkeys(error.message for error in (first, *self.found))
        raise HostError("; ".join(messages), exit=first.exit, state=first.state, next=first.next, logs=first.logs)


def understood(error: Exception, ctx: Context, what: str) -> HostError:
    """Any exception as an error for people. An unexpected one is a bug: its traceback goes to the journal of this
    program's unit, and its last lines into the error. Never raises."""
    if isinstance(error, HostError):
        return error
    with contextlib.suppress(Exception):
        if isinstance(error, OSError):
            return builder.disk_error(error, ctx.paths.home, what)
    lines = _traceback(error, ctx)
    with contextlib.suppress(Exception):
        print(f"{what}: a bug of deployer", *lines, sep="\n", file=sys.stderr, flush=True)
    return HostError(f"a bug of deployer: {lines[-1]}", exit=Exit.BUG, logs=lines[-_SHOWN:])


def _traceback(error: Exception, ctx: Context) -> list[str]:
    """Its lines, at least one. Secrets are masked: an exception may quote its input."""
    lines: Any = [type(error).__name__]
    with contextlib.suppress(Exception):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        lines = masking.clean(text.splitlines(), masking.Secrets(ctx.paths).values())
    return [str(line) for line in lines]


def serving_name(ctx: Context) -> str:
    """What serves; empty when nothing does, or when that cannot be read. Never raises."""
    with Failures(ctx).kept("reading what serves"):
        return ctx.catalog.serving_name()
    return ""


def _named(error: HostError, what: str) -> HostError:
    message = error.message if what in error.message else f"{what}: {error.message}"
    return HostError(message, exit=error.exit, state=error.state, next=error.next, logs=error.logs)
