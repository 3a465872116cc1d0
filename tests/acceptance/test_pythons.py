"""The unit and host tests on the newest Python that is promised, and the host half's on its oldest, 3.9.

A checkout is copied to a host of the distribution that has it, and pytest runs there. What takes longest, or only looks
at the documentation, runs elsewhere; so do the many examples of what is tried with any, for they are about our code.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployer.config.load import tomllib
from deployer.sandbox import SandboxHost, up

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("ruff", "mypy", "import-linter")
"""Of the developers' packages those that no test imports."""
ELSEWHERE = (
    "every_write_fails", "any_interleaving", "processes", "durability", "fleet_barriers",
    "docs", "source", "package", "sample_app", "generator", "fleet_load", "delayproxy", "git", "groups",
    "warmfab", "bugs", "linked_trees", "clone", "unpack", "costs", "same", "checkout", "earlier", "scale",
)  # fmt: skip
"""What takes longest, and what is about this checkout, the file system, the tests' own tools, or other programs."""
HOST_HALF = (
    "build/test_bytecode", "system/test_files", "state/test_ledger", "processes/test_run", "state/test_seal",
    "session/test_session", "session/test_fleet_session", "system/test_signals", "test_simulation", "job/test_queue",
    "deployment/test_barrier",
)  # fmt: skip
"""The tests of the host program that need nothing of the laptop's half, which needs Python 3.10."""
EXAMPLES = 10
"""Of whatever is tried with a hundred on this machine."""


@pytest.mark.timeout(1800)
def test_all_on_the_newest_python() -> None:
    """Python 3.13, on Debian 13: unit and host tests, with the dependencies that an installation would get there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = ["-e .", *project["dependency-groups"]["dev"]]
    with up(distribution="trixie") as host:
        host.run("apt-get -qq update && apt-get -qq install --no-install-recommends git >/dev/null", timeout=300)
        check(
            host,
            (3, 13),
            [one for one in wanted if not one.startswith(TOOLS)],
            ["tests/unit", "tests/host"],
            ELSEWHERE,
        )


@pytest.mark.timeout(1800)
def test_the_host_half_on_the_oldest_python() -> None:
    """Python 3.9, on Debian 11: the host program alone, which needs nothing but the standard library."""
    with up(distribution="bullseye") as host:
        wanted = ["pytest", "pytest-timeout", "hypothesis"]
        check(host, (3, 9), wanted, [f"tests/host/{name}.py" for name in HOST_HALF], ())


def check(
    host: SandboxHost, python: tuple[int, int], wanted: Sequence[str], tests: Sequence[str], without: Sequence[str]
) -> None:
    """Copy the checkout to a host and run tests there; what pytest says is in the failure."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(listed, capture_output=True, check=True).stdout
    packing = ["tar", "-C", str(ROOT), "-c", "--null", "--ignore-failed-read", "--files-from=-"]
    packed = subprocess.run(packing, input=names, capture_output=True, check=True).stdout
    host.run("mkdir /root/checkout && tar -C /root/checkout -x", input=packed)
    requirements = "\n".join(wanted).encode()
    host.run("python3 -m venv /root/venv && cat > /root/wanted", input=requirements)
    install = "/root/venv/bin/pip install -q --no-compile --disable-pip-version-check -r /root/wanted"
    host.run(f"cd /root/checkout && {install}", timeout=600)
    version = host.run("/root/venv/bin/python -c 'import sys; print(*sys.version_info[:2])'").stdout
    assert tuple(map(int, version.split())) == python
    ignored = [f"--ignore-glob='*/test_{name}.py'" for name in without]
    run = ["/root/venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *tests, *ignored]
    run = ["LANG=C.UTF-8", f"DEPLOYER_EXAMPLES={EXAMPLES}", *run]
    done = host.run(f"cd /root/checkout && {' '.join(run)}", check=False, timeout=1700)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
