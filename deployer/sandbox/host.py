"""One sandbox host, as its user sees it."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from deployer.sandbox import ssh
from deployer.sandbox.backends.backend import Backend
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine import processes
from deployer.sandbox.machine.processes import OsProcess
from deployer.sandbox.records.state import Record, State

BOOT_SECONDS = 120.0
"""How long a host may take until sshd greets, and again until systemd is done starting units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxHost:
    """A throwaway host that runs systemd and sshd. Used as a context manager, it is taken down at the end.

    This machine reaches it at `address`, ports `ssh_port` and `http_port`.
    """

    name: str
    address: str
    ssh_port: int
    http_port: int
    distribution: str
    backend: str
    state: State = field(repr=False)
    engine: Backend = field(repr=False)
    remove: Callable[[str], None] = field(repr=False)

    def __enter__(self) -> SandboxHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state.find(self.name) is not None:  # else it was taken down in the block
            self.remove(self.name)

    @property
    def ssh_config(self) -> Path:
        """`ssh -F` this file logs in to every sandbox host by name."""
        return self.state.ssh_config

    @property
    def known_hosts(self) -> Path:
        """The host keys of all sandbox hosts."""
        return self.state.known_hosts

    @property
    def identity(self) -> Path:
        """The private key that root accepts on all sandbox hosts."""
        return self.state.identity

    @property
    def root(self) -> Path | None:
        """The host's root directory while it is on; None where the backend keeps it out of reach."""
        return self.state.host(self.name) / "merged" if self.backend == "nspawn" else None

    def is_on(self) -> bool:
        """Whether it runs. Raises SandboxError when that cannot be found out."""
        return self.engine.is_alive(self._record())

    def console(self) -> str:
        """The last lines it printed while it booted."""
        return self.engine.console(self._record())

    def run(
        self,
        command: str | list[str],
        *,
        input: bytes | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` as root: a string by root's shell, a list word for word.

        Raises SandboxCommandError when it fails (unless `check` is off) and SandboxError when it does not
        end within `timeout` seconds.
        """
        return ssh.run(self.state, self.name, command, input=input, check=check, timeout=timeout)

    def put(self, local: Path | str, remote: str, *, timeout: float = 120) -> None:
        """Copy a file or directory to the path `remote`, with its modes. Raises SandboxError."""
        ssh.put(self.state, self.name, Path(local), remote, timeout=timeout)

    def small_filesystem(self, path: str, megabytes: int) -> None:
        """Mount an empty file system of that size at `path`, until the host is switched off."""
        where = shlex.quote(path)
        self.run(f"mkdir -p {where} && mount -t tmpfs -o size={int(megabytes)}m,mode=755 sandbox {where}")

    def power_off(self) -> None:
        """Shut down cleanly and wait for the end. `boot` starts it again, with its files."""
        record = self._record()
        ssh.end_sharing(self.state, self.name)
        self._save(record, phase="off")
        self.engine.power_off(record)

    def pull_plug(self) -> None:
        """Kill everything in it at once, as a power cut does. `boot` starts it again, with its files."""
        record = self._record()
        self._save(record, phase="off")
        self.engine.kill(record)
        ssh.end_sharing(self.state, self.name)

    def boot(self) -> None:
        """Boot it (again) and return once sshd greets and systemd has started everything.

        Raises SandboxError, holding the console's last lines, if it dies or BOOT_SECONDS pass; it is off
        then. A host that is on already is left alone.
        """
        record = self._record()
        if record.phase == "up" and self.engine.is_alive(record):
            return
        self._save(record, phase="booting", maker=OsProcess.current(), init=None)
        try:
            self._save(self._record(), init=self.engine.start(record))
            self._wait_until_up(self._record())
        except BaseException:
            self.pull_plug()
            raise
        self._save(self._record(), phase="up", maker=None)

    def _wait_until_up(self, record: Record) -> None:
        if not self._answers(record):
            raise self._boot_failed("sshd does not answer", record)
        ssh.share_connection(self.state, self.name)
        status = ["systemctl", "is-system-running", "--wait"]
        state = self.run(status, check=False, timeout=BOOT_SECONDS).stdout.strip()
        if state not in ("running", "degraded"):
            raise self._boot_failed(f"systemd says {state!r}", record)

    def _answers(self, record: Record) -> bool:
        def settled() -> bool:
            return ssh.shows_banner(self.address, self.ssh_port) or not self.engine.is_alive(record)

        processes.wait_until(settled, seconds=BOOT_SECONDS)
        return ssh.shows_banner(self.address, self.ssh_port)

    def _boot_failed(self, problem: str, record: Record) -> SandboxError:
        return SandboxError(
            f"Sandbox host {self.name} did not boot: {problem}.",
            state="It was switched off.",
            console=self.engine.console(record),
        )

    def _record(self) -> Record:
        return self.state.get(self.name)

    def _save(self, record: Record, **changes: object) -> None:
        with self.state.lock():
            self.state.save(dataclasses.replace(record, **changes))  # type: ignore[arg-type]
