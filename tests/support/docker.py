"""A Docker engine of the tests' own, where none runs: it goes with the tests, or at the next sweep."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from deployer.sandbox.backends import mounts
from deployer.sandbox.backends.docker import unusable
from deployer.sandbox.machine.processes import OsProcess, children, kill, wait_until
from deployer.sandbox.records.state import State

_ENGINE = ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"]


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """The machine's engine, or else one of our own meanwhile, by way of $DOCKER_HOST. Fails where there can be none."""
    sweep()
    if unusable(os.environ) is None:
        yield
        return
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.fail("no Docker engine runs here, and none is installed that could be started: make packages")
    directory = State.open(os.environ).directory / f"engine-{os.getpid()}"
    directory.mkdir()
    (directory / "owner.json").write_text(json.dumps(asdict(OsProcess.current())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{directory}/docker.sock")
        try:
            with _running(directory):
                yield
        finally:
            _remove(directory)


@contextlib.contextmanager
def _running(directory: Path) -> Iterator[None]:
    own = [f"--data-root={directory}/data", f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"]
    command = [*_ENGINE, *own, f"--host={os.environ['DOCKER_HOST']}"]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        try:
            settled = wait_until(lambda: unusable(os.environ) is None or daemon.poll() is not None, seconds=60)
            if not settled or daemon.poll() is not None:
                pytest.fail(f"dockerd does not start here: {(directory / 'log').read_text()[-2000:]}")
            yield
        finally:
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()


def sweep() -> None:
    """Remove the engines of test runs that were killed."""
    for directory in State.open(os.environ).directory.glob("engine-*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            if OsProcess(**json.loads((directory / "owner.json").read_text())).is_alive():
                continue
        _remove(directory)


def _remove(directory: Path) -> None:
    """End what was started with this directory among its words, the containers too, and take it away."""
    for process in _started_with(str(directory)):
        for child in children(process):
            kill(child)
        kill(process)
    mounts.unmount_below(directory)
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=False)  # an image is many files


def _started_with(word: str) -> list[OsProcess]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(OsProcess.of(int(entry.name)))
    return [process for process in found if process is not None and process != OsProcess.current()]
