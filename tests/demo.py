"""``make demo``: the whole product on a throwaway host, with load running from the first release to the last.

It types the commands a user would type, shows what they print, and counts every request meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployer.remote.report import DemoStep
from deployer.sandbox import SandboxError, SandboxHost, up
from deployer.sandbox.load import Load
from deployer.ui.tables import demo_table
from tests.support.project import Project, make_project

FAB = str(Path(sys.executable).with_name("fab"))
CONFIG = """\
app = "shop"
hosts = ["deploy@{host}"]

[web]
wsgi = "shop.wsgi:application"
workers = 4
health = {{ path = "/healthz", settle = 1 }}

[release]
build = ["python manage.py collectstatic --noinput"]
migrate = "python manage.py migrate --noinput"
watch = 3

[proxy]
kind = "nginx"
listen = "{address}:80"

[env]
DJANGO_SETTINGS_MODULE = "shop.settings"
"""
FILES = {
    "fabfile.py": "from deployer.tasks import namespace  # noqa: F401\n",
    "fabric.yaml": "tasks:\n  executor_class: deployer.executor.FleetExecutor\n",
}


@dataclass
class Demo:
    """The host, the project, and the steps so far: (what, outcome, start, end, release that serves)."""

    host: SandboxHost
    project: Project
    steps: list[tuple[str, str, float, float, str]] = field(default_factory=list)

    def run(self) -> int:
        """Every step; 0 when each ended as it should and no request failed."""
        good = [self.step("set up the host", 0, "setup", user="root"), self.step("deploy version 1", 0, "deploy")]
        if not all(good):
            return 1
        load = Load(f"http://{self.host.address}/work?ms=20", clients=4)
        with load:
            self.project.change(version="2")
            good.append(self.step("deploy version 2", 0, "deploy"))
            good.append(self.step("reload", 0, "reload"))
            self.project.change(version="3", fault="import-error")
            good.append(self.step("deploy a broken version 3", 5, "deploy", outcome="refused, as it should be"))
            good.append(self.step("roll back", 0, "rollback", "--to", "v1"))
        report = load.stop()
        demo_table([self.row(step, report) for step in self.steps])
        return 0 if all(good) and report.failed == 0 else 1

    def step(self, what: str, exit: int, *command: str, user: str = "", outcome: str = "") -> bool:
        """Type one command; whether it ended with the exit code it should."""
        started = time.monotonic()
        shown = " ".join(["fab", *command, *([f"-H {user}@{self.host.name}"] if user else [])])
        say(f"\n$ {shown}")
        argv = [FAB, "-S", str(self.host.ssh_config), "-i", str(self.host.identity), *command]
        argv += ["-H", f"{user}@{self.host.name}"] if user else []
        status = subprocess.run(argv, cwd=self.project.path).returncode
        serving = self.serving() if command[0] != "setup" else ""
        self.steps.append((what, outcome, started, time.monotonic(), serving))
        if status != exit:
            say(f"this command should have ended with exit code {exit}; it ended with {status}")
        return status == exit

    def serving(self) -> str:
        try:
            with urllib.request.urlopen(f"http://{self.host.address}/", timeout=10) as answer:
                body = json.loads(answer.read())
        except OSError:
            return "nothing"
        return f"{body['release']} (version {body['version']})"

    def row(self, step: tuple[str, str, float, float, str], report: object) -> DemoStep:
        what, outcome, start, end, serving = step
        part = report.between(start, end)  # type: ignore[attr-defined]
        latencies = part.latencies
        return DemoStep(
            step=what, outcome=outcome, seconds=end - start, release=serving, sent=part.sent, failed=part.failed,
            p50=latencies.p50, p99=latencies.p99, max=latencies.max,
        )  # fmt: skip


def say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo on a host of its own, and take it down again unless asked to keep it."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--distribution", default="bookworm", choices=["bullseye", "bookworm", "trixie"])
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        with (
            up(distribution=options.distribution, progress=say) as host,
            tempfile.TemporaryDirectory(prefix="deployer-demo-") as directory,
        ):
            config = CONFIG.format(host=host.name, address=host.address)
            project = make_project(Path(directory) / "shop", version="1", config=config, extra_files=FILES)
            say(f"a Django project in {project.path}")
            say(f"a {host.distribution} host with systemd, sshd and nginx at {host.address}")
            os.environ.setdefault("COLUMNS", "100")
            status = Demo(host, project).run()
    except SandboxError as error:
        say(str(error))
        return error.exit_code
    say(f"\nthe demo took {time.monotonic() - started:.0f} s; its host is gone. Now your own project: see README.md")
    return status


if __name__ == "__main__":
    sys.exit(main())
