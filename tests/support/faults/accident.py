"""The accidents: what ends in the middle of a command, and how it is brought about at a boundary."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from deployer.sandbox import SandboxError, SandboxHost
from tests.support.delayproxy import DelayProxy
from tests.support.faults.app import WholeSite
from tests.support.faults.install import Faults

PATIENCE = 90.0  # seconds


@dataclass(frozen=True)
class Aftermath:
    """How the command ended that the accident befell: None when it was killed. Off times are monotonic seconds."""

    exit: int | None
    said: str = ""
    off: tuple[float, float] | None = None


class Fab:
    """A ``fab`` command under way, whose output goes to a file."""

    def __init__(self, process: subprocess.Popen[bytes], out: IO[bytes]) -> None:
        self.process = process
        self._out = out

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int | None:
        """Its exit code; None when it does not end: it is killed then."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    @property
    def said(self) -> str:
        self._out.seek(0)
        return self._out.read().decode(errors="replace")

    def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The last event of that name whose fields are as wanted; the command was told --json."""
        every = (json.loads(line) for line in reversed(self.said.splitlines()) if line.startswith('{"event"'))
        found = (one for one in every if one["event"] == name and all(one.get(key) == wanted[key] for key in wanted))
        event: dict[str, Any] | None = next(found, None)
        assert event is not None, f"no event {name} {wanted} in:\n{self.said}"
        return event


@contextlib.contextmanager
def running(site: WholeSite, *arguments: str) -> Iterator[Fab]:
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            site.argv(*arguments), cwd=site.project.path, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        fab = Fab(process, out)
        try:
            yield fab
        finally:
            fab.kill()


@dataclass(frozen=True)
class Scene:
    """``command`` at the boundary ``at``; ``settled`` waits until the host has come to rest."""

    site: WholeSite
    faults: Faults
    command: tuple[str, ...]
    at: str
    settled: Callable[[], None]

    @contextlib.contextmanager
    def paused(self) -> Iterator[Fab]:
        """The command under way, standing at the boundary."""
        self.faults.boundary(self.at, "pause")
        with running(self.site, *self.command) as fab:
            self.faults.wait_until_reached()
            try:
                yield fab
            except BaseException:  # a job that stands would hold up all that follows
                with contextlib.suppress(SandboxError):
                    self.faults.go_on()
                raise


def laptop_dies(scene: Scene) -> Aftermath:
    """SIGKILL to ``fab``."""
    with scene.paused() as fab:
        fab.kill()
    scene.faults.go_on()
    return Aftermath(None)


def job_dies(scene: Scene) -> Aftermath:
    """SIGKILL to the host program that does the work."""
    scene.faults.boundary(scene.at, "kill")
    with running(scene.site, *scene.command) as fab:
        exit = fab.end()
        assert scene.faults.was_reached(), f"the boundary was not reached: exit {exit}\n{fab.said}"
        return Aftermath(exit, fab.said)


def session_dies(scene: Scene) -> Aftermath:
    """SIGKILL to the host program that the laptop talks to; at the last event it may have ended by itself."""
    pattern = f"^/usr/bin/python3 .*/[d]eployer-host session {scene.site.app}$"
    with scene.paused() as fab:
        killed = scene.site.host.run(f"pkill -KILL -f '{pattern}'", check=False).returncode == 0
        assert killed or scene.at == "finished", "no session was running"
        scene.faults.go_on()
        return Aftermath(fab.end(), fab.said)


def is_aborted(scene: Scene) -> Aftermath:
    """Somebody ends it with ``fab abort``, which must end well itself."""
    unit = f"deployer-{scene.site.app}.service"
    told = f"for i in $(seq 500); do [ $(systemctl is-active {unit}) = active ] || exit 0; sleep 0.02; done; exit 1"
    with scene.paused() as fab, running(scene.site, "abort") as abort:
        scene.site.host.run(told, timeout=90)
        scene.faults.go_on()
        aftermath = Aftermath(fab.end(), fab.said)
        assert abort.end() == 0, abort.said
        return aftermath


def network_is_cut(scene: Scene) -> Aftermath:
    """Nothing arrives any more, in neither direction, and nobody is told."""
    host = scene.site.host
    with DelayProxy(host.address, host.ssh_port, rtt_ms=0) as proxy, tempfile.TemporaryDirectory() as place:
        site = replace(scene.site, config=ssh_config(host, proxy, Path(place)))
        with replace(scene, site=site).paused() as fab:
            proxy.blackhole()
            scene.faults.go_on()
            scene.settled()
            return Aftermath(fab.process.poll(), fab.said)


def plug_is_pulled(scene: Scene) -> Aftermath:
    """The host loses its power, and is switched on again."""
    with scene.paused() as fab:
        off = time.monotonic()
        scene.site.host.pull_plug()
        scene.site.host.boot()
        return Aftermath(fab.end(), fab.said, (off, time.monotonic()))


def ssh_config(host: SandboxHost, proxy: DelayProxy, place: Path) -> Path:
    """As the sandbox's own, through the proxy; the host's key is looked for under the address of the host."""
    path = place / "ssh_config"
    path.write_text(
        f"Host {host.name}\n  HostName {proxy.host}\n  Port {proxy.port}\n  HostKeyAlias {host.address}\n"
        f'  IdentityFile "{host.identity}"\n  IdentitiesOnly yes\n  UserKnownHostsFile "{host.known_hosts}"\n'
        "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
    )
    return path


FAULTS: dict[str, Callable[[Scene], Aftermath]] = {
    "laptop": laptop_dies,
    "job": job_dies,
    "session": session_dies,
    "abort": is_aborted,
    "network": network_is_cut,
    "plug": plug_is_pulled,
}
