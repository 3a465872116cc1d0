"""Hosts under systemd-nspawn: an overlay on a shared image, systemd as PID 1. Needs root on Linux."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.sandbox.backends import addresses, cgroups, image, mounts
from deployer.sandbox.backends.backend import Endpoint, Progress, last_lines
from deployer.sandbox.contents.files import File, write_into
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine import processes
from deployer.sandbox.machine.commands import run
from deployer.sandbox.machine.processes import OsProcess
from deployer.sandbox.records.state import Record, State

PROGRAM = "systemd-nspawn"
DISK = "DEPLOYER_SANDBOX_DISK"
"""Environment variable: "memory" keeps what hosts write in memory."""
POWER_OFF_SECONDS = 120.0
"""A unit may take 90 s to stop before systemd kills it."""
ORPHAN_SECONDS = 30.0
"""How long killed processes may take to go."""
INOTIFY_INSTANCES = 8192
"""Each host's systemd takes some; the kernel's usual 128 are enough for about five hosts."""

_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_POWER_BUTTON = signal.SIGRTMIN + 4 if sys.platform == "linux" else 0
# Joins the control groups, becomes systemd-nspawn in a session of its own, and tells its pid.
_LAUNCHER = """console=$1; groups=$2; shift 2
for group in $groups; do echo $$ > "$group" || exit 1; done
setsid "$@" > "$console" 2>&1 < /dev/null &
echo $!"""


def unusable() -> SandboxError | None:
    """Why this machine cannot run such hosts, or None when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return SandboxError(
            "systemd-nspawn hosts need root on Linux.",
            state="Nothing was created.",
            hint="run it as root (sudo)",
        )
    packages = {PROGRAM: "systemd-container", "mmdebstrap": "mmdebstrap", "ssh": "openssh-client"}
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        return SandboxError(
            f"Not installed: {', '.join(missing)}.",
            state="Nothing was created.",
            hint=f"apt-get install {' '.join(missing)}",
        )
    return None


def command(root: Path, name: str, label: str, *, machine_runs_systemd: bool) -> list[str]:
    """The command that boots the host `name` from `root`; other programs know it as `label`."""
    keep = [] if machine_runs_systemd else ["--keep-unit"]
    return [
        PROGRAM,
        f"--directory={root}",
        f"--machine={label}",
        f"--hostname={name}",
        "--boot",
        "--register=no",
        *keep,
        "--resolv-conf=replace-host",
        "--link-journal=no",
    ]


@dataclass(frozen=True, slots=True)
class Nspawn:
    """The systemd-nspawn backend; `environment` is this process's own."""

    state: State
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """What records and users call it."""
        return "nspawn"

    def require(self) -> None:
        """Raise SandboxError when it cannot work here."""
        if problem := unusable():
            raise problem
        if int(_INOTIFY.read_text()) < INOTIFY_INSTANCES:
            _INOTIFY.write_text(str(INOTIFY_INSTANCES))

    def endpoint(self, taken: Iterable[str], in_use: Callable[[str], bool]) -> Endpoint:
        """The host shares the machine's network, on an address of its own."""
        address = addresses.lowest_free(taken, in_use=in_use)
        return Endpoint(address=address, ssh_port=22, http_port=80, listen=address)

    def has_image(self, distribution: str) -> bool:
        """Whether the image's tree is there."""
        return image.tree_path(self.state.images, distribution, environment=self.environment).is_dir()

    def ensure_image(self, distribution: str, progress: Progress) -> str:
        """The path of the image's tree."""
        tree = image.ensure_tree(self.state.images, distribution, environment=self.environment, progress=progress)
        return str(tree)

    def create(self, record: Record, image: str, files: Iterable[File]) -> None:
        """Put up the overlay and write `files` into it."""
        directory = self.state.host(record.name)
        (directory / "image").write_text(image, encoding="utf-8")
        if self.environment.get(DISK) == "memory":
            mounts.mount_memory(directory)
        write_into(mounts.mount_overlay(image, directory), files)

    def start(self, record: Record) -> OsProcess:
        """Boot from the overlay; the systemd-nspawn process."""
        directory = self.state.host(record.name)
        root = mounts.mount_overlay((directory / "image").read_text(encoding="utf-8"), directory)
        label = self.state.label(record.name)
        with_systemd = Path("/run/systemd/system").is_dir()
        groups = [] if with_systemd else cgroups.create(label)
        boot = command(root, record.name, label, machine_runs_systemd=with_systemd)
        arguments = [str(self._console(record)), " ".join(str(group) for group in groups), *boot]
        environment = {**self.environment, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        launched = run(["/bin/sh", "-c", _LAUNCHER, "sandbox", *arguments], environment=environment)
        supervisor = OsProcess.of(int(launched.stdout))
        if supervisor is None:
            raise SandboxError(f"{PROGRAM} ended at once.", console=self.console(record))
        return supervisor

    def power_off(self, record: Record) -> None:
        """SIGRTMIN+4 to its PID 1, which is what a power button does; raises if it will not end."""
        for supervisor in self._supervisors(record):
            for init in processes.children(supervisor):
                init.send(_POWER_BUTTON)
            if not processes.wait_for_end(supervisor, seconds=POWER_OFF_SECONDS):
                self.kill(record)
                raise SandboxError(
                    f"{record.name} did not shut down within {POWER_OFF_SECONDS:g} s.", state="It was killed."
                )
        self._free(record)

    def kill(self, record: Record) -> None:
        """SIGKILL its PID 1, with which the kernel ends all its processes; keeps the overlay's files."""
        for supervisor in self._supervisors(record):
            for init in processes.children(supervisor):
                processes.kill(init)
            if not processes.wait_for_end(supervisor, seconds=2):
                processes.kill(supervisor)
        self._end_orphans(record)
        self._free(record)

    def remove(self, record: Record) -> None:
        """Kill it, take its mounts down, delete its directory."""
        self.kill(record)
        mounts.remove_tree(self.state.host(record.name))

    def is_alive(self, record: Record) -> bool:
        """Whether its systemd-nspawn runs."""
        return record.init is not None and record.init.is_alive()

    def console(self, record: Record) -> str:
        """The last 20 lines of its console."""
        path = self._console(record)
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return last_lines(text)

    def _supervisors(self, record: Record) -> list[OsProcess]:
        """By command line, not by record: also one whose starter died before it could write its pid down."""
        root = self.state.host(record.name) / "merged"
        return processes.with_argument(PROGRAM, f"--directory={root}")

    def _end_orphans(self, record: Record) -> None:
        """SIGKILL what outlives its supervisor: when that was killed by others, the host itself runs on."""
        label = self.state.label(record.name)

        def all_gone() -> bool:
            left = processes.in_control_group(label)
            for process in left:
                process.send(signal.SIGKILL)
            return not left

        if not processes.wait_until(all_gone, seconds=ORPHAN_SECONDS):
            raise SandboxError(f"Processes of {record.name} do not end.", hint=f"ps -ef, and look for {label}")

    def _console(self, record: Record) -> Path:
        return self.state.host(record.name) / "console.log"

    def _free(self, record: Record) -> None:
        mounts.unmount_below(self.state.host(record.name) / "merged")
        cgroups.remove(self.state.label(record.name))
