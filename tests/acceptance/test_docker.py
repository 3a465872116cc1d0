"""Hosts in Docker containers: they keep the sandbox's promises, and the whole product runs on them.

Containers that are rented as servers are the same kind: they cannot do all that confines an app elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer import sandbox
from tests.support.docker import engine
from tests.support.tiny import make_tiny

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    with engine():
        yield


@pytest.mark.parametrize("distribution", ["bookworm", "trixie"])
def test_docker_hosts_keep_the_same_promises(distribution: str) -> None:
    """Under Docker a host boots clean, keeps its files over a power cut and a reboot, and goes."""
    with sandbox.up(distribution=distribution, backend="docker") as booted:
        assert booted.run("systemctl is-system-running").stdout.strip() == "running"
        booted.run("systemd-run --quiet --unit=same sleep 600 && touch /root/kept")
        seen = booted.run("cat /sys/fs/cgroup/system.slice/same.service/cgroup.procs").stdout.split()
        assert len(seen) == 1
        booted.pull_plug()
        assert not booted.is_on()
        booted.boot()
        booted.power_off()
        booted.boot()
        assert booted.run("ls /root").stdout.split() == ["kept"]
    assert booted.name not in [other.name for other in sandbox.listing()]
    engine = subprocess.run(["docker", "ps", "-a", "--format={{.Names}}"], capture_output=True, text=True)
    assert booted.state.label(booted.name) not in engine.stdout.split()


def test_the_demo_runs_on_docker() -> None:
    """Set up, deployed, reloaded, a broken version refused, rolled back: under load, without a failed request."""
    demo = [str(Path(sys.executable).with_name("deployer")), "demo", "--backend", "docker"]
    done = subprocess.run(demo, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_container_cannot_bear_is_left_out_and_told(tmp_path: Path) -> None:
    """systemd 252 in a container cannot combine PrivateUsers= with ProtectProc=: the set-up finds that, leaves out the
    one and says so. A host that lost that decision is told as what fails, not the app; doctor finds it, setup mends."""
    with sandbox.up(backend="docker") as host:
        site = make_tiny(host, tmp_path / "mini")
        site.configure(proxy='media = { "/media/" = "media" }')
        ended = site.expect(0, "setup", "--json", user="root")
        assert "without PrivateUsers the app has no user namespace" in ended.event("warn")["text"]
        settings = "/etc/deployer/mini.json"
        assert json.loads(host.run(f"cat {settings}").stdout)["unsupported"] == ["PrivateUsers"]
        site.expect(0, "deploy")
        site.uploads_are_served()
        unit = host.run("cat /etc/systemd/system/mini-web@v1.service").stdout
        assert "PrivateUsers" not in unit
        assert "ProtectProc=invisible" in unit
        for command in ("doctor", "status"):
            answer = json.loads(site.expect(0, command, "--json").out.splitlines()[-1])
            assert "without PrivateUsers" in answer["notes"][0]
        assert "without PrivateUsers" in site.expect(0, "doctor").out

        host.run(f"sed -i s/PrivateUsers// {settings}")
        site.project.change(files={"more.txt": "x"})
        failed = site.expect(5, "deploy", "--json").event("failed")
        assert "could not be started on this host" in failed["message"]
        assert "217/USER" in failed["message"]
        assert failed["next"].startswith(f"fab setup -H root@{host.name}")
        found = json.loads(site.expect(7, "doctor", "--json").out.splitlines()[-1])["findings"]
        assert [one["kind"] for one in found] == ["confinement"]
        site.expect(0, "setup", user="root")
        site.expect(0, "deploy")
        site.expect(0, "doctor")
