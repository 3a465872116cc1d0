"""What is unforeseen, in whichever thread: one error that keeps the traceback, and says where all of it was written."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import traceback

from deployer.errors import DeployerError, Exit
from deployer.wire.advice import do, run

__all__ = ["Bug"]

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


def _first_line(error: BaseException) -> str:
    """What an exception says, shortly: not even that is certain to work."""
    try:
        return str(error).strip().partition("\n")[0][:200]
    except Exception:
        return "(it cannot be shown)"


def _written(text: str) -> str:
    """The file that keeps it, for this user alone; empty when the disk has no room."""
    head = f"deployer on Python {platform.python_version()}, {platform.platform()}\n\n"
    with contextlib.suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="deployer-bug-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + text)
        return path
    return ""
