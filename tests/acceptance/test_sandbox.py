"""The sandbox's own promises, kept on hosts that are really booted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer import sandbox
from deployer.sandbox import host as host_module
from deployer.sandbox import hosts
from deployer.sandbox.backends import mounts, nspawn
from deployer.sandbox.backends.cgroups import groups_of
from deployer.sandbox.contents.content import HostIdentity, host_files
from deployer.sandbox.contents.files import File
from deployer.sandbox.keys import generate
from deployer.sandbox.machine.processes import children, with_argument
from deployer.sandbox.records.state import State

pytestmark = pytest.mark.acceptance

OWNER = """
import sys
from deployer import sandbox
print(sandbox.up().name, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module", autouse=True)
def _swept() -> Iterator[None]:
    sandbox.sweep()
    yield
    sandbox.sweep()


@pytest.fixture(autouse=True)
def _usable() -> None:
    problem = nspawn.unusable()
    if problem is not None:
        pytest.skip(problem.problem)


@pytest.fixture(scope="module")
def host() -> Iterator[sandbox.SandboxHost]:
    if (problem := nspawn.unusable()) is not None:
        pytest.skip(problem.problem)
    with sandbox.up() as booted:
        yield booted


def remains(state: State, name: str) -> list[str]:
    """All that is left of host `name` on this machine."""
    root = state.host(name) / "merged"
    return [
        *map(str, mounts.mounted_below(state.host(name))),
        *map(str, with_argument(nspawn.PROGRAM, f"--directory={root}")),
        *(str(group) for group in groups_of(state.label(name)) if group.exists()),
        *([str(state.host(name))] if state.host(name).exists() else []),
        *(line for line in state.ssh_config.read_text().splitlines() if line == f"Host {name}"),
    ]


@pytest.mark.parametrize("distribution", ["bullseye", "bookworm", "trixie"])
def test_every_distribution_boots_clean(distribution: str) -> None:
    """Each is a whole system of that release, no unit failed, and leaves nothing behind."""
    with sandbox.up(distribution=distribution) as booted:
        assert booted.run("systemctl is-system-running").stdout.strip() == "running"
        assert f"VERSION_CODENAME={distribution}" in booted.run("cat /etc/os-release").stdout
        assert booted.run(["hostname"]).stdout.strip() == booted.name
        assert booted.name in [other.name for other in sandbox.listing()]
    assert booted.name not in [other.name for other in sandbox.listing()]
    assert remains(booted.state, booted.name) == []


def test_commands_run_as_root_and_word_for_word(host: sandbox.SandboxHost) -> None:
    """Lists are quoted, input arrives byte for byte, failures carry status and stderr, waits end."""
    assert host.run(["printf", "%s|", "a b", "$HOME"]).stdout == "a b|$HOME|"
    assert host.run("id -u").stdout == "0\n"
    assert host.run("od -An -tx1", input=b"\x00\xff").stdout.split() == ["00", "ff"]
    with pytest.raises(sandbox.SandboxCommandError, match="the reason") as caught:
        host.run("echo the reason >&2; exit 3")
    assert caught.value.returncode == 3
    assert host.run("exit 3", check=False).returncode == 3
    with pytest.raises(sandbox.SandboxError, match=r"within 0\.5 s"):
        host.run("sleep 30", timeout=0.5)


def test_files_and_directories_are_copied(host: sandbox.SandboxHost, tmp_path: Path) -> None:
    """What is put on a host arrives with its mode."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/script").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tree/script").chmod(0o755)
    host.put(tmp_path / "tree", "/root/tree")
    assert host.run("/root/tree/script").stdout == "ran\n"
    with pytest.raises(sandbox.SandboxError, match="could not be copied"):
        host.put(tmp_path / "missing", "/root/missing")


def test_a_small_file_system_fills_up(host: sandbox.SandboxHost) -> None:
    """Its size is a limit, and the rest of the host has room."""
    host.small_filesystem("/mnt/small disk", 1)
    fill = "head -c 2000000 /dev/zero > "
    assert host.run(f"{fill} '/mnt/small disk/file'", check=False).returncode != 0
    assert host.run(f"{fill} /mnt/file", check=False).returncode == 0


def test_nothing_listens_on_every_address(host: sandbox.SandboxHost) -> None:
    """Hosts share the machine's network, so each service of theirs binds the host's own address."""
    mine = [line.split() for line in host.run("ss -Hltnup").stdout.splitlines() if "users:" in line]
    assert [words[4] for words in mine] == [f"{host.address}:22"]
    assert host.run("systemctl is-enabled nginx", check=False).stdout.strip() == "disabled"
    assert host.run("cat /etc/deployer-sandbox-address").stdout.strip() == host.address


def test_strict_host_key_checking_works_with_plain_ssh(host: sandbox.SandboxHost, tmp_path: Path) -> None:
    """The first connection trusts the recorded key, and a host that shows another one is refused."""
    login = ["ssh", "-F", str(host.ssh_config), "-o", "BatchMode=yes"]
    trusted = subprocess.run([*login, host.name, "hostname"], capture_output=True, text=True, timeout=30)
    assert trusted.stdout.strip() == host.name
    other = tmp_path / "known_hosts"
    key = " ".join(generate("other").public.decode().split()[:2])
    other.write_text(f"{host.address} {key}\n")
    impostor = [*login, "-o", f"UserKnownHostsFile={other}", host.name, "hostname"]
    assert subprocess.run(impostor, capture_output=True, timeout=30).returncode == 255


def test_packages_install_inside(host: sandbox.SandboxHost, tmp_path: Path) -> None:
    """pip and uv on the host reach the package index that this machine uses."""
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "gunicorn"]
    if subprocess.run(fetch, capture_output=True, timeout=120).returncode != 0:
        pytest.skip("this machine reaches no package index")
    host.run("python3 -m venv /tmp/tools && /tmp/tools/bin/pip install -q uv", timeout=120)
    host.run("/tmp/tools/bin/uv venv -q /tmp/app", timeout=60)
    install = ["/tmp/tools/bin/uv", "pip", "install", "-q", "--python=/tmp/app/bin/python", "gunicorn"]
    host.run(["systemd-run", "--quiet", "--pipe", "--wait", *install], timeout=120)
    assert "gunicorn" in host.run("/tmp/app/bin/gunicorn --version").stdout


def test_hosts_do_not_share_their_units(host: sandbox.SandboxHost) -> None:
    """A unit stopped on one host ends on that one only, and neither sees the other's processes."""
    with sandbox.up() as other:
        for each in (host, other):
            each.run("systemd-run --quiet --unit=same sleep 600")
        seen = host.run("cat /sys/fs/cgroup/system.slice/same.service/cgroup.procs").stdout.split()
        assert len(seen) == 1
        assert seen != ["0"]
        host.run("systemctl stop same", timeout=20)
        assert other.run("systemctl is-active same").stdout.strip() == "active"


def test_a_pulled_plug_stops_nothing_cleanly_and_keeps_files() -> None:
    """Files survive a power cut, no unit's stop command runs, and the host boots again."""
    with sandbox.up() as booted:
        goodbye = "--property=ExecStop='/bin/touch /root/stopped' --property=RemainAfterExit=yes"
        booted.run(f"systemd-run --quiet --unit=witness {goodbye} true && touch /root/kept")
        booted.pull_plug()
        assert not booted.is_on()
        assert with_argument(nspawn.PROGRAM, f"--directory={booted.root}") == []
        booted.boot()
        assert booted.run("ls /root").stdout.split() == ["kept"]


def test_powering_off_stops_units_cleanly() -> None:
    """A unit's stop command runs before the host is off, and what it wrote is there after the next boot."""
    with sandbox.up() as booted:
        goodbye = "--property=ExecStop='/bin/touch /root/stopped' --property=RemainAfterExit=yes"
        booted.run(f"systemd-run --quiet --unit=witness {goodbye} true")
        booted.power_off()
        assert not booted.is_on()
        sandbox.sweep()  # a host that was switched off on purpose is not swept
        booted.boot()
        assert booted.run("ls /root").stdout.split() == ["stopped"]


def test_a_failed_boot_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose sshd cannot start is given up, with its console's last lines, and all traces go."""
    original = host_files

    def broken(identity: HostIdentity) -> tuple[File, ...]:
        wrong = File(path="/etc/ssh/sshd_config.d/99-wrong.conf", content=b"NoSuchOption yes\n")
        return (*original(identity), wrong)

    monkeypatch.setattr(hosts, "host_files", broken)
    monkeypatch.setattr(host_module, "BOOT_SECONDS", 5.0)
    with pytest.raises(sandbox.SandboxError, match="sshd does not answer") as caught:
        sandbox.up("will-not-boot")
    assert "systemd" in caught.value.console
    assert remains(State.open(os.environ), "will-not-boot") == []


def test_a_host_whose_init_cannot_start_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that dies while it boots is not waited for."""
    original = host_files

    def broken(identity: HostIdentity) -> tuple[File, ...]:
        return (*original(identity), File(path="/usr/lib/systemd/systemd", content=b"not a program\n"))

    monkeypatch.setattr(hosts, "host_files", broken)
    monkeypatch.setattr(host_module, "BOOT_SECONDS", 60.0)
    began = time.monotonic()
    with pytest.raises(sandbox.SandboxError, match="did not boot"):
        sandbox.up("dies-early")
    assert time.monotonic() - began < 40
    assert remains(State.open(os.environ), "dies-early") == []


def test_a_killed_owners_host_is_swept() -> None:
    """When a host's owner is killed outright, the next sweep ends its processes and frees its mounts."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().decode().strip()
        state = State.open(os.environ)
        supervisor = state.get(name).init
        assert supervisor is not None
        inits = children(supervisor)
        assert inits
        owner.kill()
    sandbox.sweep()
    assert remains(state, name) == []
    assert not any(process.is_alive() for process in [supervisor, *inits])


def test_an_owner_that_ends_takes_its_host_along() -> None:
    """A program that forgets to take its host down leaves none behind."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().decode().strip()
        state = State.open(os.environ)
        assert state.find(name) is not None
        owner.communicate(b"\n", timeout=60)
    assert remains(state, name) == []


def test_a_host_without_an_owner_outlives_its_maker() -> None:
    """What the task boots stays until it is taken down, whatever is swept in between."""
    program = "from deployer import sandbox; print(sandbox.up(owned=False).name)"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    name = made.stdout.strip()
    try:
        assert name not in sandbox.sweep()
        assert sandbox.get(name).run("true").returncode == 0
    finally:
        sandbox.down(name)
    assert remains(State.open(os.environ), name) == []


def test_a_host_may_be_taken_down_inside_its_block() -> None:
    """Leaving the block of a host that is gone already is no error."""
    with sandbox.up() as booted:
        sandbox.down(booted.name)
    assert remains(booted.state, booted.name) == []


def test_a_name_is_given_once(host: sandbox.SandboxHost) -> None:
    """A second host of the same name is refused, and the first one is left alone."""
    with pytest.raises(sandbox.SandboxError, match="already"):
        sandbox.up(host.name)
    assert host.run("true").returncode == 0


def test_a_host_begins_where_a_prepared_one_has_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is prepared once; each copy is a host of its own, and a preparation that fails leaves nothing."""
    monkeypatch.setenv("DEPLOYER_SANDBOX_DIR", str(tmp_path))
    (tmp_path / "images").symlink_to(State.open({}).images)
    acts: list[str] = []

    def act(host: sandbox.SandboxHost) -> None:
        acts.append(host.name)
        host.run("rm /etc/issue && echo ready > /srv/state && useradd -m ada")

    preparation = sandbox.Preparation(name="test", key="1", act=act)
    with sandbox.up(preparation=preparation) as one, sandbox.up(preparation=preparation) as two:
        assert len(acts) == 1
        for host in (one, two):
            assert host.run("cat /srv/state; ls /etc/issue; id -un ada; hostname", check=False).stdout.split() == [
                "ready", "ada", host.name,
            ]  # fmt: skip
        two.run("echo other > /srv/state")
        assert one.run("cat /srv/state").stdout == "ready\n"
        assert one.run("cat /etc/machine-id").stdout != two.run("cat /etc/machine-id").stdout
    with sandbox.up(preparation=preparation) as three:
        assert three.run("cat /srv/state").stdout == "ready\n"
    assert len(acts) == 1

    def fails(host: sandbox.SandboxHost) -> None:
        raise ValueError(host.name)

    with pytest.raises(ValueError, match="box"):
        sandbox.up(preparation=sandbox.Preparation(name="test", key="2", act=fails))
    assert sandbox.listing() == []
    assert len([one for one in (tmp_path / "prepared").iterdir() if one.is_dir()]) == 1
