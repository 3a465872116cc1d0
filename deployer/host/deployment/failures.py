"""Failures during an undo or a recovery: collected and reported, while the next steps still run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from deployer.host.build import builder
from deployer.host.errors import HostError, bug
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.wire.protocol import Exit


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
    return bug(error, what, lambda lines: _masked(lines, ctx))


def _masked(lines: list[str], ctx: Context) -> list[str]:
    return [str(line) for line in masking.clean(lines, masking.Secrets(ctx.paths).values())]


def serving_name(ctx: Context) -> str:
    """What serves; empty when nothing does, or when that cannot be read. Never raises."""
    with Failures(ctx).kept("reading what serves"):
        return ctx.catalog.serving_name()
    return ""


def _named(error: HostError, what: str) -> HostError:
    message = error.message if what in error.message else f"{what}: {error.message}"
    return HostError(message, exit=error.exit, state=error.state, next=error.next, logs=error.logs)
