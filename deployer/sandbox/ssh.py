"""Plain OpenSSH commands to a sandbox host, over one shared connection so that each takes milliseconds."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
from pathlib import Path

from deployer.sandbox.errors import SandboxCommandError, SandboxError
from deployer.sandbox.records.state import State


def socket_path(state: State, name: str) -> Path:
    """Where the shared connection's socket lives: outside the state directory, whose path may be too long
    for a socket (104 bytes)."""
    directory = f"/tmp/deployer-sandbox-{os.geteuid()}"  # noqa: S108  (its owner is checked before it is used)
    return Path(directory) / state.label(name).removeprefix("deployer-sandbox-")


def arguments(state: State, name: str) -> list[str]:
    """The options of `ssh` and `scp` that reach `name` through its shared connection, if there is one."""
    options = [
        f"ControlPath={socket_path(state, name)}",
        "ControlMaster=no",
        "BatchMode=yes",
        "LogLevel=ERROR",
    ]
    return ["-F", str(state.ssh_config), *(word for option in options for word in ("-o", option))]


def share_connection(state: State, name: str) -> None:
    """Open the connection that later commands share; it ends with the host or with `end_sharing`."""
    path = socket_path(state, name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent.is_symlink() or path.parent.lstat().st_uid != os.geteuid():
        raise SandboxError(f"{path.parent} is not ours: it is not safe to use.", hint=f"rm -r {path.parent}")
    end_sharing(state, name)
    options = ["-o", f"ControlPath={path}", "-o", "ControlPersist=no", "-o", "BatchMode=yes"]
    master = ["ssh", "-F", str(state.ssh_config), *options, "-M", "-N", "-f", name]
    # Its output goes nowhere: the process stays, and would keep a pipe of ours open.
    opened = subprocess.run(
        master,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    if opened.returncode != 0:
        raise SandboxError(f"ssh cannot log in to sandbox host {name}.", hint=f"ssh -v -F {state.ssh_config} {name}")


def end_sharing(state: State, name: str) -> None:
    """Close the shared connection, if there is one."""
    path = socket_path(state, name)
    if path.exists():
        command = ["ssh", "-F", str(state.ssh_config), "-o", f"ControlPath={path}", "-O", "exit", name]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=10, check=False)
        path.unlink(missing_ok=True)


def run(
    state: State,
    name: str,
    command: str | list[str],
    *,
    input: bytes | None = None,
    check: bool = True,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `command` as root on `name`; see SandboxHost.run."""
    line = command if isinstance(command, str) else shlex.join(command)
    result = _call(["ssh", *arguments(state, name), name, "--", line], name, input=input, timeout=timeout)
    if check and result.returncode != 0:
        raise SandboxCommandError(
            f"`{line}` on sandbox host {name} failed with status {result.returncode}.",
            returncode=result.returncode,
            stdout=result.stdout,
            stderr=result.stderr,
        )
    return result


def put(state: State, name: str, local: Path, remote: str, *, timeout: float) -> None:
    """Copy a file or directory; see SandboxHost.put."""
    copy = ["scp", "-q", "-r", "-p", *arguments(state, name), "--", str(local), f"{name}:{remote}"]
    result = _call(copy, name, input=None, timeout=timeout)
    if result.returncode != 0:
        raise SandboxError(f"{local} could not be copied to {name}:{remote}: {result.stderr.strip()}")


def shows_banner(address: str, port: int) -> bool:
    """Whether an SSH server greets at `address`."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _call(
    argv: list[str],
    name: str,
    *,
    input: bytes | None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    try:
        raw = subprocess.run(
            argv,
            input=input,
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL if input is None else None,
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"`{argv[-1]}` on sandbox host {name} did not end within {timeout:g} s.") from None
    return subprocess.CompletedProcess(
        argv, raw.returncode, raw.stdout.decode(errors="replace"), raw.stderr.decode(errors="replace")
    )
