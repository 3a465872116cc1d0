"""A tiny app with workers and timers, and what tests ask of its host: what runs, who did which job, which runs were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.sandbox import SandboxHost
from tests.support.fleet.app import SERVER
from tests.support.jobs import Jobs
from tests.support.programs import SOURCES
from tests.support.project import Project
from tests.support.site import FABFILE, Ended, wait_until
from tests.support.tiny import TinySite

LOOK = "/usr/local/lib/deployer/deployer-host recover"
"""What the dead-man's switch runs every half minute."""
CONFIG = """\
app = "{app}"
deploy_user = "{user}"
[web]
command = "/usr/bin/python3 server.py"
health = {{ path = "/healthz", settle = 0, timeout = 10 }}
[release]
watch = {watch}
drain = {drain}
keep = {keep}
[proxy]
kind = "nginx"
listen = "{address}:{port}"
[env]
MARK = "{mark}"
{tables}
"""


def worker(name: str = "worker", mood: str = "works", mark: str = "", **keys: Any) -> str:
    """The table of a process; ``keys`` are its other keys, as JSON would have their values."""
    lines = {"command": f"python3 worker.py {name} {mood} {mark}".strip(), "stop": 20, **keys}
    return table(f"processes.{name}", lines)


def timer(name: str = "tick", seconds: float | str = 0, more: str = "", **keys: Any) -> str:
    """The table of a timer that runs every two seconds, unless ``keys`` say otherwise; for ``seconds``, or HELD."""
    lines = {"command": f"python3 tick.py {name} {seconds} {more}".strip(), "calendar": "*:*:0/2", **keys}
    return table(f"timers.{name}", lines)


PERIOD = 5
"""Seconds between two runs where each is counted: a start that is late by more, on a busy machine, looks like one that
was left out."""


def often() -> str:
    """The table of a timer that runs every PERIOD seconds."""
    return timer(calendar=f"*:*:0/{PERIOD}")


def table(name: str, lines: dict[str, Any]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


@dataclass
class BackgroundSite(TinySite):
    """The app: a web server that ends between two requests, and whatever processes and timers a test asks for."""

    app: str = "crew"

    def ask_for(
        self, *tables: str, watch: float = 0.5, drain: float = 10, keep: int = 5, mark: str = "0"
    ) -> BackgroundSite:
        """Write and commit a deploy.toml with those tables, in which the web process is always the same."""
        text = CONFIG.format(
            app=self.app, user=self.user, address=self.host.address, port=self.port,
            watch=watch, drain=drain, keep=keep, mark=mark, tables="\n".join(tables),
        )  # fmt: skip
        self.project.write("deploy.toml", text)
        self.project.commit("configure")
        return self

    def configure(self, **_: Any) -> None:
        self.ask_for()

    def release(self, *arguments: str, expect: int = 0) -> str:
        """``fab deploy``; the release that it made."""
        return str(self.deploy(*arguments, expect=expect).event("finished")["release"])

    def status(self) -> dict[str, Any]:
        """``fab status --json`` of the host."""
        told: dict[str, Any] = json.loads(self.expect(0, "status", "--json").out.splitlines()[-1])
        return told

    @property
    def jobs(self) -> Jobs:
        """What there is to do, and who did it."""
        return Jobs(self.host, self.app)

    # What there is on the host

    def out(self, command: str) -> str:
        return str(self.host.run(command, check=False).stdout).strip()

    def show(self, unit: str, what: str) -> str:
        """One property of a unit, as systemd has it now; ``unit`` without the app's name: ``worker@v1.service``."""
        return self.out(f"systemctl show -p {what} --value {self.app}-{unit}")

    def pid(self, instance: str) -> int:
        """The main process of an instance such as ``worker@v1``; 0 when it has none."""
        return int(self.show(f"{instance}.service", "MainPID") or 0)

    def unit_files(self) -> list[str]:
        """All of a release's, without the app's name."""
        listed = self.out(f"ls -1 /etc/systemd/system | grep '^{self.app}-.*@'").split()
        return sorted(name.removeprefix(f"{self.app}-") for name in listed)

    def runs(self) -> list[str]:
        """The units that are not at rest, without the app's name; runs of timers, which come and go, are left out."""
        listed = self.out(f"systemctl list-units --all --plain --no-legend '{self.app}-*@*'").splitlines()
        units = [line.removeprefix(f"{self.app}-").split()[:3] for line in listed]
        runs = [name.replace(".timer", ".service") for name in self.unit_files() if name.endswith(".timer")]
        return sorted(name for name, _, active in units if active != "inactive" and name not in runs)

    def comes_to(self, release: str, *instances: str, timers: Sequence[str] = (), seconds: float = 30) -> None:
        """Wait until exactly this runs, of exactly that release: its web process, ``instances``, ``timers``."""
        services = [f"{name}@{release}.service" for name in ("web", *instances)]
        units = [f"{name}@{release}.timer" for name in timers]
        files = sorted([f"web@{release}.socket", *services, *units, *(f"{one}@{release}.service" for one in timers)])
        wanted = sorted([f"web@{release}.socket", *services, *units])

        def there() -> bool:
            return (self.runs(), self.unit_files()) == (wanted, files) and self.all_active(wanted)

        try:
            wait_until(there, "what runs is what should", seconds)
        except AssertionError:
            raise AssertionError(f"{self.runs()} run, {self.unit_files()} there; wanted: {wanted}, {files}") from None

    def all_active(self, units: Sequence[str]) -> bool:
        """Whether each is active, and not on its way to something else."""
        names = " ".join(f"{self.app}-{name}" for name in units)
        return set(self.out(f"systemctl is-active {names}").split()) == {"active"}

    def ask_dead_mans_switch(self) -> None:
        """Have it look now. It must be armed: then it looks every half minute by itself."""
        assert self.out(f"systemctl is-active deployer-{self.app}-lease.timer") == "active", "nobody would look"
        self.host.run(f"{LOOK} {self.app}")

    def refuses(self, *words: str, exit: int = 5) -> Ended:
        """Deploy what must not get through: the words are in what it says, and nothing has changed on the host."""
        before = self._all()
        ended = self.deploy(expect=exit)
        failed = ended.event("failed")
        told = "\n".join([failed["message"], *failed["logs"]])
        for word in words:
            assert word in told, failed
        assert failed["next"], failed
        assert self._all() == before
        return ended

    def _all(self) -> list[Any]:
        """What a release that is refused must not change."""
        pids = self.out(f"systemctl show -p MainPID --value '{self.app}-*@*.service' | sort")
        trees = self.out(f"cd /srv/{self.app}; readlink current; ls -1 trees; find releases -mindepth 2 -name env")
        return [self.unit_files(), self.runs(), pids, trees]


def make_background(host: SandboxHost, path: Path, **options: Any) -> BackgroundSite:
    """A fresh project under ``path``; the host is set up for it, nothing is deployed."""
    path.mkdir(parents=True, exist_ok=True)
    site = BackgroundSite(host, Project(path), **options)
    site.project.git("init", "--quiet", "--initial-branch=main")
    for name, text in {**FABFILE, **SOURCES, "server.py": SERVER, "VERSION.txt": "1\n"}.items():
        site.project.write(name, text)
    site.configure()
    site.expect(0, "setup", user="root")
    return site
