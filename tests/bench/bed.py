"""The test bed: one real host, the projects on it, and a way to it that is as far as you say."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.sandbox import SandboxHost, up
from tests.bench import projects
from tests.bench.show import progress
from tests.bench.tap import Tap
from tests.support.delayproxy import DelayProxy
from tests.support.project import Project
from tests.support.site import FAB


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command: seconds from its start to its exit, bytes and round trips, and what ``--json`` printed."""

    wall: float
    up: int
    down: int
    trips: int
    events: Sequence[dict[str, Any]] = ()

    @property
    def bytes(self) -> int:
        return self.up + self.down

    def at(self, name: str, **fields: Any) -> float:
        """When the first event of that name and fields happened, in seconds since 1970."""
        return float(self.event(name, **fields)["at"])

    def phase(self, name: str) -> float:
        """Seconds that a phase took by its own account; 0.0 if it was skipped."""
        done = [e for e in self.events if e["event"] == "phase.done" and e["phase"] == name]
        return float(done[0]["seconds"]) if done else 0.0

    @property
    def on_host(self) -> float:
        """Seconds that the job on the host took by its own account; 0.0 when the command is not ours."""
        return 0.0 if not self.events else float(self.event("finished")["seconds"])

    def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """The first event of that name and fields. Raises LookupError."""
        for event in self.events:
            if event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
                return event
        raise LookupError(f"no event {name} {fields}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A host as commands reach it, by an ssh_config. ``tap`` counts what passes; None: nobody counts."""

    name: str
    config: Path
    tap: Tap | None = None

    def run(self, argv: Sequence[str], cwd: Path, timeout: float = 300) -> Run:
        """Run a command that goes this way. Raises RuntimeError with its output when it fails."""
        if self.tap:
            self.tap.take()
        started = time.monotonic()
        done = subprocess.run(
            list(argv), cwd=cwd, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        wall = time.monotonic() - started
        if done.returncode != 0:
            raise RuntimeError(f"{argv}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
        up, down, trips = self.tap.take() if self.tap else (0, 0, 0)
        return Run(wall=wall, up=up, down=down, trips=trips, events=tuple(events))

    def fab(self, project: Project, *arguments: str, user: str = "deploy", timeout: float = 300) -> Run:
        """Our ``fab``, with ``--json``, in a project."""
        return self.run(self.argv(*arguments, user=user), project.path, timeout)

    def argv(self, *arguments: str, user: str = "deploy") -> list[str]:
        """The command line of :meth:`fab`."""
        return [FAB, "-S", str(self.config), *arguments, "--json", "-H", f"{user}@{self.name}"]


@dataclass(slots=True, kw_only=True)
class Bed:
    """A host that is set up, with the projects deployed on it when they are first asked for."""

    host: SandboxHost
    directory: Path
    _projects: dict[str, Project] = field(default_factory=dict)
    _changes: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host.address}"

    def small(self) -> Project:
        """The small app, deployed."""
        return self._deployed(projects.SMALL)

    def large(self) -> Project:
        """The 5,000-file project, deployed."""
        return self._deployed(projects.LARGE)

    def change(self, project: Project) -> None:
        """A one-line change that was never made before."""
        self._changes += 1
        projects.change_one_line(project, self._changes)

    def near(self) -> Way:
        """The straight way."""
        return Way(name=self.host.name, config=self.host.ssh_config)

    @contextlib.contextmanager
    def way(self, rtt_ms: float, *, user: str = "deploy") -> Iterator[Way]:
        """A way to the host that takes so many milliseconds there and back."""
        with (
            DelayProxy(self.host.address, self.host.ssh_port, rtt_ms=rtt_ms) as proxy,
            Tap(proxy.host, proxy.port) as tap,
        ):
            config = self.directory / f"ssh_config.{tap.port}"
            config.write_text(ssh_config(self.host, tap, user))
            yield Way(name=f"far-{self.host.name}", config=config, tap=tap)

    def _deployed(self, app: str) -> Project:
        if app not in self._projects:
            progress(f"setting up and deploying {app} for the first time")
            path = self.directory / app
            project = projects.small(path, self.host.address) if app == projects.SMALL else projects.large(path)
            way = self.near()
            way.fab(project, "setup", "--key", f"{self.host.identity}.pub", user="root")
            if self._projects:
                self._share_cache(app)
            way.fab(project, "deploy")
            self._projects[app] = project
        return self._projects[app]

    def _share_cache(self, app: str) -> None:
        """Packages that one app's build has downloaded need not be downloaded for the next."""
        known = next(iter(self._projects))
        here, there = f"/var/cache/deployer-{known}", f"/var/cache/deployer-{app}"
        self.host.run(f"rm -rf {there}; cp -a {here} {there}", timeout=120)


def ssh_config(host: SandboxHost, tap: Tap, user: str) -> str:
    """The host under another name, behind the proxy; its key is checked all the same, under its own name."""
    known_as = host.address if host.ssh_port == 22 else f"[{host.address}]:{host.ssh_port}"
    return (
        f"Host far-{host.name}\n"
        f"  HostName {tap.host}\n  Port {tap.port}\n  User {user}\n  HostKeyAlias {known_as}\n"
        f'  IdentityFile "{host.identity}"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{host.known_hosts}"\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n'
    )


@contextlib.contextmanager
def bed() -> Iterator[Bed]:
    """A fresh host and a scratch directory; both are gone afterwards, whatever happened."""
    directory = Path(tempfile.mkdtemp(prefix="deployer-bench-", dir=os.environ.get("TMPDIR")))
    try:
        progress("booting a host")
        with up(progress=progress) as host:
            yield Bed(host=host, directory=directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
