"""Commands that run on this machine for one host of a fleet, such as those that tell a load balancer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

__all__ = ["run"]

_SHOWN = 500
"""Characters of what a command said that are told."""


def run(argv: Sequence[str], *, timeout: float) -> str:
    """Run a command without a shell, ``timeout`` seconds at most; why it failed, for people, and empty when it did not.

    Of what it prints only the end is kept, and told when it fails.
    """
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not end within {timeout:g} s"
    except OSError as error:
        return f"{argv[0]} cannot be run: {error.strerror or error}"
    if done.returncode == 0:
        return ""
    said = done.stdout.decode("utf-8", "replace").strip()[-_SHOWN:]
    return f"{argv[0]} ended with exit status {done.returncode}" + (f": {said}" if said else "")
