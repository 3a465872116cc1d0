"""An app that tells all four parts of its release: code, virtual environment, environment, units; quick to deploy.

Its worker and the runs of its timer tell the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.sandbox import SandboxHost
from tests.support.programs import SOURCES
from tests.support.project import Project
from tests.support.site import FABFILE, Ended, Site

APP, USER, PORT = "whole", "deploy-whole", 8005
SERVER = """\
import json
import os
import sys
import time

CODE = os.path.realpath(os.path.dirname(__file__))
PARTS = {
    "release": os.environ["DEPLOYER_RELEASE"],
    "code": os.path.basename(CODE),
    "version": open(os.path.join(CODE, "VERSION.txt")).read().strip(),
    "venv": os.path.basename(os.path.realpath(sys.prefix)),
    "env": os.environ["MARK"],
    "unit": sys.argv[sys.argv.index("--statsd-prefix") + 1],
}


def application(environ, start_response):
    if environ["PATH_INFO"] == "/work":
        time.sleep(0.02)
    body = json.dumps(PARTS).encode()
    kind = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", [*kind, ("X-Version", PARTS["release"])])
    return [body]
"""
CONFIG = """\
app = "{app}"
deploy_user = "{user}"
[web]
wsgi = "server:application"
workers = 1
args = ["--statsd-prefix", "{mark}"]
health = {{ path = "/healthz", settle = {settle}, timeout = 20 }}
[release]
build = ["true"]
migrate = "true"
watch = {watch}
drain = 5
[proxy]
kind = "nginx"
listen = "{address}:{port}"
[processes.worker]
command = "python3 worker.py worker works {mark}"
stop = 10
[timers.tick]
command = "python3 tick.py tick"
calendar = "*:*:0/{period}"
[env]
MARK = "{mark}"
"""
PERIOD = 5
"""Seconds between two runs of the timer."""
ONE = "fleet_of_one"
FLEETFILE = """\
from deployer.fleet import release
from deployer.rollout import Strategy
from deployer.tasks import namespace  # noqa: F401

release.Coordinator = lambda fleet: release.TwoPhaseCommit(fleet, Strategy())
"""
"""A collection whose deploy leads even a single host as one of a fleet: it waits at every barrier for a word."""
REQUIREMENTS = ("gunicorn>=23\n", "gunicorn>=22.0\n")
"""By turns, so that two releases that follow one another have virtual environments of their own."""


@dataclass(frozen=True)
class Parts:
    """What a release is made of, as its author knows it: ``version`` of the code, ``mark`` of environment and units."""

    version: int
    mark: int


@dataclass
class WholeSite(Site):
    """The app, its deploy user, and where it listens behind nginx."""

    app: str = APP
    user: str = USER
    config: Path | None = None
    """The ssh_config to reach the host by; its own when there is none."""

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{PORT}"

    def write(self, parts: Parts, *, settle: float = 0.2, watch: float = 0.5) -> None:
        """Have the project be made of ``parts``, and commit."""
        where = {"app": self.app, "user": self.user, "address": self.host.address, "port": PORT, "period": PERIOD}
        text = CONFIG.format(**where, mark=parts.mark, settle=settle, watch=watch)
        self.project.write("deploy.toml", text)
        self.project.write("VERSION.txt", f"{parts.version}\n")
        self.project.write("requirements.txt", REQUIREMENTS[parts.version % 2])
        self.project.commit(f"version {parts.version}, mark {parts.mark}")

    def argv(self, *arguments: str, user: str = "") -> list[str]:
        argv = super().argv(*arguments, user=user or self.user)
        return [str(self.config) if one == str(self.host.ssh_config) and self.config else one for one in argv]

    def fab(self, *arguments: str, user: str = "", **options: Any) -> Ended:
        return super().fab(*arguments, user=user or self.user, **options)

    def expect(self, exit: int, *arguments: str, user: str = "") -> Ended:
        return super().expect(exit, *arguments, user=user or self.user)

    def wipe(self) -> None:
        super().wipe()
        app = self.app
        self.host.run(f"systemctl stop deployer-{app}-lease.timer", check=False)
        self.host.run(f"rm -rf /var/lib/deployer/{app}/ledger.jsonl /srv/{app}/venvs/*", check=False)


def make_whole(host: SandboxHost, path: Path) -> WholeSite:
    """A fresh project under ``path``, committed."""
    path.mkdir(parents=True, exist_ok=True)
    site = WholeSite(host, Project(path))
    site.project.git("init", "--quiet", "--initial-branch=main")
    for name, text in {**FABFILE, **SOURCES, f"{ONE}.py": FLEETFILE, "server.py": SERVER}.items():
        site.project.write(name, text)
    site.write(Parts(1, 1))
    return site
