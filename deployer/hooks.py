"""Commands that run on this machine for one host of a fleet, such as those that tell a load balancer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

__all__ = ["run"]

_SHOWN = 500
"""Characters of what a command said that are told."""


def run(argv: Sequence[str], *, timeout: float) -> str:
    """Run a command without a shell, ``timeout`` seconds at most; why it failed, for people, and empty when it did not.

    Of what it prints only the end is kept, and told when it fails. It has a session of its own: a Ctrl-C at the
    terminal is meant for this program, which may yet have to undrain; and what it starts ends with it when it hangs.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{argv[0]} cannot be run: {getattr(error, 'strerror', None) or error}"
    with process:
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return f"{argv[0]} did not end within {timeout:g} s"
    if process.returncode == 0:
        return ""
    said = out.decode("utf-8", "replace").strip()[-_SHOWN:]
    return f"{argv[0]} ended with exit status {process.returncode}" + (f": {said}" if said else "")
