"""Hosts in Docker containers that run systemd as PID 1: for laptops, where there is no root or no systemd."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from deployer.sandbox.backends import addresses, docker_image, mounts
from deployer.sandbox.backends.backend import Endpoint, Progress, last_lines
from deployer.sandbox.contents import certificates
from deployer.sandbox.contents.files import File, as_tar
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine.commands import run
from deployer.sandbox.records.state import Record, State

POWER_OFF_SECONDS = 120
ANSWER_SECONDS = 10.0
"""How long an engine may take to say that it is there."""
MANAGED = ("/etc/hosts", "/etc/hostname")
"""Files that Docker mounts over the container's own."""

INIT_SCRIPT = """set -e
umount -R /sys/fs/cgroup
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
exec /sbin/init
"""
"""Docker shows the control groups read-only, and on older machines those of the whole machine: systemd gets
its container's own ones instead, to write. For that it needs CAP_SYS_ADMIN, but no privileged container."""


def unusable(environment: Mapping[str, str]) -> SandboxError | None:
    """Why Docker cannot be used, or None when it can."""
    if shutil.which("docker") is None:
        problem, hint = "Docker is not installed.", "install Docker, or use systemd-nspawn as root on Linux"
    elif not _answers(environment):
        where = f" at {environment['DOCKER_HOST']}" if environment.get("DOCKER_HOST") else ""
        problem, hint = f"The Docker engine{where} does not answer.", "start Docker, then `docker version`"
    else:
        return None
    return SandboxError(problem, state="Nothing was created.", hint=hint)


def _answers(environment: Mapping[str, str]) -> bool:
    try:
        asked = run(["docker", "version"], environment=environment, check=False, timeout=ANSWER_SECONDS)
    except SandboxError:  # it hangs
        return False
    return asked.returncode == 0


def shares_network(info: str, *, platform: str, docker_host: str) -> bool:
    """Whether the engine's host network is this machine's, and not that of a virtual machine or another host.

    `info` is what `docker info --format '{{.OperatingSystem}}|{{.SecurityOptions}}'` prints.
    """
    is_local = platform == "linux" and (not docker_host or docker_host.startswith("unix://"))
    return is_local and "Docker Desktop" not in info and "rootless" not in info


def create_command(record: Record, image: str, container: str, *, host_network: bool) -> list[str]:
    """The command that makes the container."""
    if host_network:
        network = ["--network=host", f"--add-host={record.name}:{record.address}"]
    else:
        published = {record.ssh_port: 22, record.http_port: 80}
        network = [f"--publish={record.address}:{outer}:{inner}" for outer, inner in published.items()]
    return [
        "docker",
        "create",
        f"--name={container}",
        f"--hostname={record.name}",
        "--cap-add=SYS_ADMIN",
        "--cap-drop=SYS_RESOURCE",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--cgroupns=private",
        *network,
        "--tmpfs=/run:exec,mode=755",
        "--tmpfs=/run/lock",
        "--tmpfs=/tmp:exec,mode=1777",
        "--stop-signal=SIGRTMIN+3",
        "--tty",
        "--entrypoint=/bin/sh",
        image,
        "-c",
        INIT_SCRIPT,
    ]


@dataclass(frozen=True, slots=True)
class Docker:
    """The Docker backend; `environment` is this process's own (DOCKER_HOST is honoured)."""

    state: State
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """What records and users call it."""
        return "docker"

    def require(self) -> None:
        """Raise SandboxError when it cannot work here."""
        if problem := unusable(self.environment):
            raise problem

    def endpoint(self, taken: Iterable[str], in_use: Callable[[str], bool]) -> Endpoint:
        """An address of its own where containers can share this machine's network, else two ports."""
        if self._shares_network():
            address = addresses.lowest_free(taken, in_use=in_use)
            return Endpoint(address=address, ssh_port=22, http_port=80, listen=address)
        ssh_port, http_port = addresses.free_ports(2)
        return Endpoint(address="127.0.0.1", ssh_port=ssh_port, http_port=http_port, listen="0.0.0.0")  # noqa: S104

    def has_image(self, distribution: str) -> bool:
        """Whether the engine has the image."""
        name = docker_image.image_name(distribution, certificates.machine_bundle(self.environment))
        return docker_image.has(name, self.environment)

    def ensure_image(self, distribution: str, progress: Progress) -> str:
        """The image's name."""
        return docker_image.ensure(self.state.images, distribution, environment=self.environment, progress=progress)

    def create(self, record: Record, image: str, files: Iterable[File]) -> None:
        """Create the container and copy `files` into it."""
        container = self._container(record)
        create = create_command(record, image, container, host_network=record.ssh_port == 22)
        self._docker(create[1:])
        own = [file for file in files if file.path not in MANAGED]
        self._docker(["cp", "-", f"{container}:/"], input=as_tar(own))

    def start(self, record: Record) -> None:
        """Boot it."""
        self._docker(["start", self._container(record)])

    def power_off(self, record: Record) -> None:
        """Ask its systemd to halt; the engine kills it after POWER_OFF_SECONDS."""
        stop = ["stop", f"--time={POWER_OFF_SECONDS}", self._container(record)]
        self._docker(stop, timeout=POWER_OFF_SECONDS + 30)

    def kill(self, record: Record) -> None:
        """SIGKILL its PID 1, with which the kernel ends all its processes."""
        if self.is_alive(record):
            self._docker(["kill", "--signal=KILL", self._container(record)])
            self._docker(["wait", self._container(record)])

    def remove(self, record: Record) -> None:
        """Remove the container, running or not, and the host's directory."""
        if self._inspect(record) is not None:
            self._docker(["rm", "--force", "--volumes", self._container(record)])
        mounts.remove_tree(self.state.host(record.name))

    def is_alive(self, record: Record) -> bool:
        """Whether the container runs. Raises SandboxError when the engine does not answer."""
        return self._inspect(record) == "true"

    def console(self, record: Record) -> str:
        """The last 20 lines of its console."""
        shown = self._docker(["logs", "--tail=60", self._container(record)], check=False)
        return last_lines(shown.decode(errors="replace"))

    def _inspect(self, record: Record) -> str | None:
        """ "true" if it runs, "false" if not, None if there is no such container."""
        container = self._container(record)
        ask = ["ps", "--all", "--quiet", f"--filter=name=^/?{container}$"]
        try:
            found = self._docker(ask, timeout=2 * ANSWER_SECONDS)
        except SandboxError:
            if problem := unusable(self.environment):
                raise problem from None
            raise
        if not found.strip():
            return None
        return self._docker(["inspect", "--format={{.State.Running}}", container]).decode().strip()

    def _shares_network(self) -> bool:
        info = self._docker(["info", "--format={{.OperatingSystem}}|{{.SecurityOptions}}"]).decode()
        docker_host = self.environment.get("DOCKER_HOST", "")
        return shares_network(info, platform=sys.platform, docker_host=docker_host)

    def _container(self, record: Record) -> str:
        return self.state.label(record.name)

    def _docker(
        self, arguments: list[str], *, input: bytes | None = None, timeout: float = 60, check: bool = True
    ) -> bytes:
        command = ["docker", *arguments]
        return run(command, input=input, environment=self.environment, timeout=timeout, check=check).stdout
