"""What happens to a host of a fleet: its sshd hangs, its network is cut, its power goes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from deployer.sandbox import SandboxHost
from deployer.sandbox.machine import processes
from deployer.sandbox.machine.processes import OsProcess
from tests.support.delayproxy import DelayProxy
from tests.support.faults.accident import ssh_config


@contextlib.contextmanager
def frozen(host: SandboxHost) -> Iterator[None]:
    """Every sshd of the host stands still: connections are accepted by its kernel, and nobody speaks.

    Nothing can be run on the host by SSH meanwhile, by tests neither.
    """
    stopped = _sshds(host)
    assert stopped, f"no sshd runs on {host.name}"
    try:
        for process in stopped:
            process.send(signal.SIGSTOP)
        yield
    finally:
        thaw(host)


def thaw(host: SandboxHost) -> None:
    """Every sshd of the host goes on."""
    for process in _sshds(host):
        process.send(signal.SIGCONT)


def _sshds(host: SandboxHost) -> list[OsProcess]:
    """All sshd processes in the host's own pid namespace; none when it is off."""
    supervisor = host.state.get(host.name).init
    inits = processes.children(supervisor) if supervisor is not None else []
    if not inits:
        return []
    space = Path(f"/proc/{inits[0].pid}/ns/pid").readlink()
    found = []
    for place in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            sshd = (place / "comm").read_bytes().strip() == b"sshd" and (place / "ns/pid").readlink() == space
            if sshd and (one := OsProcess.of(int(place.name))):
                found.append(one)
    return found


@contextlib.contextmanager
def behind_proxy(host: SandboxHost, place: Path, *, rtt_ms: float = 0) -> Iterator[tuple[DelayProxy, Path]]:
    """The host behind a proxy that can be cut, and the ssh_config that goes that way to it, and straight to others."""
    with DelayProxy(host.address, host.ssh_port, rtt_ms=rtt_ms) as proxy:
        path = ssh_config(host, proxy, place)
        path.write_text(path.read_text() + host.ssh_config.read_text())
        yield proxy, path
