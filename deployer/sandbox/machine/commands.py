"""Runs one command on this machine and turns its failure into a SandboxError.

Each runs in a session of its own: Ctrl-C is this process's to handle, and may not end a command that cleans up.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from deployer.sandbox.errors import SandboxError

GRACE_SECONDS = 10.0
"""What a long command has to clean up after itself before it is killed."""
_LAST_LINES = 20
_LINE_ENDS = re.compile(r"[\r\n]+")


def run(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run `argv`, bounded by `timeout` seconds; a missing program, a time-out or (with `check`) a
    non-zero exit raises SandboxError with the command's last lines."""
    try:
        result = subprocess.run(
            list(argv),
            input=input,
            env=environment,
            timeout=timeout,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL if input is None else None,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise SandboxError(f"The program {argv[0]!r} is not installed.") from None
    except subprocess.TimeoutExpired:
        raise SandboxError(f"`{' '.join(argv)}` did not end within {timeout:g} s.") from None
    if check and result.returncode != 0:
        last = (result.stderr or result.stdout).decode(errors="replace").strip()
        raise SandboxError(f"`{' '.join(argv[:6])}` failed with status {result.returncode}.", console=last[-2000:])
    return result


def run_long(
    argv: Sequence[str],
    *,
    each_line: Callable[[str], None],
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command that takes a while, and hand over each line that it prints as it comes.

    When it is interrupted, the command and all that it has started in its session are ended. Raises
    SandboxError as `run` does.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise SandboxError(f"The program {argv[0]!r} is not installed.") from None
    last: deque[str] = deque(maxlen=_LAST_LINES)
    late = threading.Event()

    def expire() -> None:
        late.set()
        _signal_all(process, signal.SIGTERM)

    limit = threading.Timer(timeout, expire)
    limit.daemon = True
    limit.start()
    try:
        for line in process.stdout or ():
            for text in filter(None, map(str.strip, _LINE_ENDS.split(line.decode(errors="replace")))):
                last.append(text)
                each_line(text)
        status = process.wait()
    except BaseException:
        _end_all(process)
        raise
    finally:
        limit.cancel()
        if process.stdout is not None:
            process.stdout.close()
    if late.is_set():
        raise SandboxError(f"`{argv[0]}` did not end within {timeout:g} s.", console="\n".join(last))
    if status != 0:
        raise SandboxError(f"`{argv[0]}` failed with status {status}.", console="\n".join(last))


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started, gently first."""
    _signal_all(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    _signal_all(process, signal.SIGKILL)
    process.wait()


def _signal_all(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
