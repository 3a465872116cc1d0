"""What nobody foresaw, in any thread: one error that keeps the traceback, and says which file has all of it."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import traceback

from deployer.errors import DeployerError, Exit
from deployer.errors.local import local_failure
from deployer.wire.advice import do, run

__all__ = ["Bug", "explained"]

_SHOWN = 30
"""Lines of the traceback that are shown; the last ones say what happened, and where."""
_GOES_ON = "a host finishes, or undoes, by itself what it had begun"


class Bug(DeployerError):
    """A fault of this program (exit 1). ``logs`` are the end of the traceback; ``message`` names the file with all."""

    exit = Exit.BUG

    @classmethod
    def of(cls, error: BaseException, *, host: str = "", state: str = _GOES_ON) -> Bug:
        """``state`` is what is known of the hosts at that place. An error that is a Bug already stays what it is."""
        if isinstance(error, cls):
            return error
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        path = _written(text)
        where = f"; the whole traceback is in {path}" if path else ""
        return cls(
            message=f"this is a bug of deployer: {type(error).__name__}: {_first_line(error)}{where}",
            state=state,
            next=run("fab status", "what serves") + do(f"please report it, with {path or 'the lines above'}"),
            host=host,
            logs=text.splitlines()[-_SHOWN:],
        )


def explained(error: BaseException, *, host: str = "", state: str = _GOES_ON, untouched: bool = False) -> DeployerError:
    """Any exception as an error for people: one that is already, an error of this machine, or else a bug.

    ``untouched``: it is known that no host has been asked anything.
    """
    if isinstance(error, DeployerError):
        return error
    if isinstance(error, OSError):
        return local_failure(error, untouched=untouched)
    return Bug.of(error, host=host, state=state)


def _first_line(error: BaseException) -> str:
    """The first line of an exception's text. Even asking for that may fail."""
    try:
        return str(error).strip().partition("\n")[0][:200]
    except Exception:
        return "(it cannot be shown)"


def _written(text: str) -> str:
    """The file that has it, readable for this user only; empty when it could not be written."""
    head = f"deployer on Python {platform.python_version()}, {platform.platform()}\n\n"
    with contextlib.suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="deployer-bug-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + text)
        return path
    return ""
