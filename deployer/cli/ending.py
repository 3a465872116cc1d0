"""How an error, Ctrl-C, a bug or a closed output ends the process."""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from invoke.exceptions import Exit as Quit
from invoke.exceptions import ParseError, UnexpectedExit

from deployer.errors import DeployerError, Exit, Interrupted
from deployer.wire.advice import run

__all__ = ["ErrorPrinter", "explained", "is_output_closed", "leave_closed_output", "print_error", "show_error"]

ErrorPrinter = Callable[[DeployerError], None]


def print_error(error: DeployerError) -> None:
    """Print what failed, the state and what to type next to stderr, without rich."""
    lines = [f"deployer: {error.message}", *(f"  {line}" for line in error.logs)]
    lines += [f"state: {error.state}"] if error.state else []
    lines += [f"next: {step}" for step in error.next]
    sys.stderr.write("".join(f"{_harmless(line)}\n" for line in "\n".join(lines).split("\n")))


def show_error(error: DeployerError, *, json: bool = False) -> None:
    """The same as people, or with ``json`` machines, see all else."""
    from deployer.ui import print_error

    print_error(error, json=json)


def _harmless(line: str) -> str:
    """The line with control characters escaped: it may contain output of a host."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


@contextmanager
def explained(on_error: ErrorPrinter, *, ours: bool = True) -> Iterator[None]:
    """Raises Invoke's Exit on a DeployerError, and with ``ours`` also on Ctrl-C and bugs."""
    try:
        yield
    except DeployerError as error:
        on_error(error)
        raise Quit(code=int(error.exit)) from error
    except KeyboardInterrupt as error:
        if not ours:
            raise
        state = "what a host had begun, if anything, it finishes or undoes by itself"
        on_error(Interrupted(message="interrupted", state=state, next=run("fab status")))
        raise Quit(code=int(Exit.INTERRUPTED)) from error
    except (Quit, UnexpectedExit, ParseError):
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_output_closed():
            leave_closed_output()
        if not ours:
            raise
        raise Quit(code=_print_unexpected(error, on_error)) from error


def _print_unexpected(error: Exception, on_error: ErrorPrinter) -> int:
    """Print an exception that is not a DeployerError; the exit code."""
    from deployer.errors.bug import explained as as_deployer_error

    told = as_deployer_error(error)
    try:
        on_error(told)
    except Exception:  # the printer may be what is wrong
        traceback.print_exc()
        print_error(told)
    return int(told.exit)


def is_output_closed() -> bool:
    """Whether the reader of standard output is gone, as in ``fab releases | head -1``."""
    outlet = select.poll()
    outlet.register(1, 0)
    return bool(outlet.poll(0))


def leave_closed_output() -> NoReturn:
    """Exit like a program killed by SIGPIPE. stdout becomes /dev/null so that Python's final flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise Quit(code=128 + signal.SIGPIPE)
