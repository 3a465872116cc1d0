"""The hooks of a fleet: commands that run on this machine for one host, to take it out of a load balancer and back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from deployer import events
from deployer.config import Hooks
from deployer.errors.bug import Bug
from deployer.events import Reporter

__all__ = ["HookRunner", "run"]

_SHOWN = 500
"""Characters of what a command said that are told."""


def run(argv: Sequence[str], *, timeout: float) -> str:
    """Run a command without a shell, ``timeout`` seconds at most; why it failed, for people, and empty when it did not.

    When it fails, the end of its output is reported. It runs in its own session: Ctrl-C at the terminal is meant for
    this program, which may still have to undrain, and a hook that hangs is killed with all it started. What a hook
    leaves running is not waited for, even when that holds the hook's output open.
    """
    try:
        with tempfile.TemporaryFile() as said:
            status = _wait(argv, said, timeout)
            end = _end_of(said)
    except (OSError, ValueError) as error:
        return f"{argv[0]} cannot be run: {getattr(error, 'strerror', None) or error}"
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not end within {timeout:g} s"
    if status == 0:
        return ""
    return f"{argv[0]} ended with exit status {status}" + (f": {end}" if end else "")


def _wait(argv: Sequence[str], said: IO[bytes], timeout: float) -> int:
    process = subprocess.Popen(
        list(argv), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _end_of(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - 8 * _SHOWN))
    return said.read().decode("utf-8", "replace").strip()[-_SHOWN:]


class HookRunner:
    """Runs the hooks of a fleet's hosts, each in a thread.

    ``ended`` is called for every hook that was started, however it ends, because all hosts wait for it: with the host,
    the hook (drain, undrain) and why it failed (empty: it did not).
    """

    def __init__(self, settings: Hooks, report: Reporter, ended: Callable[[str, str, str], None]) -> None:
        self._settings, self._report, self._ended = settings, report, ended
        self.drained: set[str] = set()
        """Hosts that may be drained: no undrain of theirs has ended well."""

    @property
    def any(self) -> bool:
        """There are hooks."""
        return bool(self._settings.drain or self._settings.undrain)

    def begin(self, host: str, do: str) -> None:
        """Begin to run a host's hook."""
        self.drained.add(host)
        threading.Thread(target=self._run, args=(host, do), daemon=True, name="hook").start()

    def _run(self, host: str, do: str) -> None:
        try:
            error = self._try(host, do)
        except BaseException as unforeseen:
            error = self._tell_bug(unforeseen, host, do)
        if do == "undrain" and not error:
            self.drained.discard(host)
        self._ended(host, do, error)

    def _tell_bug(self, unforeseen: BaseException, host: str, do: str) -> str:
        bug = Bug.of(unforeseen, host=host, state=f"it is not known whether hooks.{do} was run")
        with contextlib.suppress(Exception):  # whatever the display makes of it, all hosts wait for the hook
            self._report(events.failure(host, bug))
        return bug.message

    def _try(self, host: str, do: str) -> str:
        """Why it failed; empty when it did not, or when there is none."""
        started, phase = time.monotonic(), f"hooks.{do}"
        argv = self._settings.drain_of(host) if do == "drain" else self._settings.undrain_of(host)
        if not argv:
            return ""
        self._report(events.PhaseStarted(host=host, phase=phase))
        error = run(argv, timeout=self._settings.timeout)
        kind = events.PhaseFailed if error else events.PhaseDone
        self._report(kind(host=host, phase=phase, seconds=time.monotonic() - started, detail=error))
        return error
