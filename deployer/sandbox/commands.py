"""Runs one command on this machine and turns its failure into a SandboxError."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from deployer.sandbox.errors import SandboxError


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
        )
    except FileNotFoundError:
        raise SandboxError(f"The program {argv[0]!r} is not installed.") from None
    except subprocess.TimeoutExpired:
        raise SandboxError(f"`{' '.join(argv)}` did not end within {timeout:g} s.") from None
    if check and result.returncode != 0:
        last = (result.stderr or result.stdout).decode(errors="replace").strip()
        raise SandboxError(f"`{' '.join(argv[:6])}` failed with status {result.returncode}.", console=last[-2000:])
    return result
