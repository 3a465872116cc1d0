"""How hosts are started, which backend is chosen, and what the tasks show."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deployer.sandbox import hosts
from deployer.sandbox.backends import choice, docker, docker_image, nspawn
from deployer.sandbox.backends.backend import last_lines
from deployer.sandbox.backends.cgroups import parse_hierarchies
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.records.state import Record, State

RECORD = Record(
    name="box1",
    distribution="bookworm",
    backend="docker",
    address="127.0.10.1",
    ssh_port=22,
    http_port=80,
    host_key="ssh-ed25519 AAAA",
    phase="up",
)


def test_nspawn_keeps_its_unit_only_where_there_is_no_systemd() -> None:
    """Where the machine runs systemd every host gets a scope of its own."""
    bare = nspawn.command(Path("/r"), "box1", "label", machine_runs_systemd=False)
    scoped = nspawn.command(Path("/r"), "box1", "label", machine_runs_systemd=True)
    assert set(bare) - set(scoped) == {"--keep-unit"}
    assert {"--directory=/r", "--hostname=box1", "--machine=label", "--boot"} <= set(bare)


def test_control_groups_are_found_in_every_layout() -> None:
    """Unified and hybrid machines alike; resource controllers of version 1 are none of our business."""
    table = (
        "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
        "3 0 0:3 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n"
    )
    assert parse_hierarchies(table) == [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]


def test_a_container_on_the_machines_network_publishes_nothing() -> None:
    """It has an address of its own, and its name resolves inside."""
    command = docker.create_command(RECORD, "image", "container", host_network=True)
    assert "--network=host" in command
    assert "--add-host=box1:127.0.10.1" in command
    assert not [word for word in command if word.startswith("--publish")]


def test_a_container_elsewhere_publishes_to_this_machine_only() -> None:
    """Ports are bound to the loopback address, never to every interface."""
    record = dataclasses.replace(RECORD, address="127.0.0.1", ssh_port=2022, http_port=8080)
    command = docker.create_command(record, "image", "container", host_network=False)
    published = [word for word in command if word.startswith("--publish")]
    assert published == ["--publish=127.0.0.1:2022:22", "--publish=127.0.0.1:8080:80"]


def test_no_container_is_privileged() -> None:
    """systemd gets the one capability it needs, never all of them."""
    command = docker.create_command(RECORD, "image", "container", host_network=True)
    assert "--cap-add=SYS_ADMIN" in command
    assert "--privileged" not in command


@pytest.mark.parametrize(
    ("info", "platform", "docker_host", "shared"),
    [
        ("Debian GNU/Linux 12|[name=seccomp]", "linux", "", True),
        ("Debian GNU/Linux 12|[name=seccomp]", "linux", "unix:///run/docker.sock", True),
        ("Debian GNU/Linux 12|[name=seccomp]", "linux", "tcp://elsewhere:2375", False),
        ("Debian GNU/Linux 12|[name=rootless]", "linux", "", False),
        ("Docker Desktop|[name=seccomp]", "linux", "", False),
        ("Docker Desktop|[name=seccomp]", "darwin", "", False),
    ],
)
def test_when_containers_share_the_machines_network(info: str, platform: str, docker_host: str, shared: bool) -> None:
    """Only a local engine outside any virtual machine can give hosts addresses that this machine reaches."""
    assert docker.shares_network(info, platform=platform, docker_host=docker_host) is shared


def test_an_unknown_image_source_is_refused() -> None:
    """A mistyped setting is answered with the valid ones."""
    with pytest.raises(SandboxError, match="tree, registry"):
        docker_image._source({"DEPLOYER_SANDBOX_IMAGE_SOURCE": "hub"})
    assert docker_image._source({"DEPLOYER_SANDBOX_IMAGE_SOURCE": "registry"}) == "registry"


def test_the_backend_is_what_works_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nspawn comes first, Docker second, and the choice can be forced."""
    problem = SandboxError("no")
    state = State(tmp_path)
    monkeypatch.setattr(nspawn, "unusable", lambda: None)
    monkeypatch.setattr(docker, "unusable", lambda _: None)
    assert choice.choose(None, state, {}).name == "nspawn"
    assert choice.choose(None, state, {"DEPLOYER_SANDBOX_BACKEND": "docker"}).name == "docker"
    monkeypatch.setattr(nspawn, "unusable", lambda: problem)
    assert choice.choose(None, state, {}).name == "docker"
    monkeypatch.setattr(docker, "unusable", lambda _: problem)
    with pytest.raises(SandboxError, match="Neither"):
        choice.choose(None, state, {})
    with pytest.raises(SandboxError, match="nspawn, docker"):
        choice.choose("podman", state, {})


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks the tools is told what to install, in one command."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda _: None)
    problem = nspawn.unusable()
    assert problem is not None
    assert problem.hint == "apt-get install systemd-container mmdebstrap openssh-client"


@pytest.mark.parametrize("name", ["", "Box", "1box", "a_b", "../../etc", "a" * 32, "-a", "box1\n"])
def test_names_that_could_do_harm_are_refused(name: str) -> None:
    """A name becomes a path and a line of ssh_config, so it is checked before anything is made."""
    with pytest.raises(SandboxError, match="cannot be a host's name"):
        hosts.up(name)


def test_an_unknown_distribution_is_refused() -> None:
    """It is answered with those there are."""
    with pytest.raises(SandboxError, match="bullseye, bookworm, trixie"):
        hosts.up(distribution="buster")


def test_console_output_is_readable() -> None:
    """Colours and empty lines go, the last lines stay."""
    assert last_lines("one\r\n\x1b[0;32mtwo\x1b[0m\r\n\r\nthree\r\n", 2) == "two\nthree"
