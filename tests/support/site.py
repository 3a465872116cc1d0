"""A project, a host and the real ``fab`` command between them: what acceptance tests work with."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.sandbox import SandboxHost
from deployer.sandbox.load import Load
from tests.support.project import Project, make_project

FAB = str(Path(sys.executable).with_name("fab"))
FABFILE = {
    "fabfile.py": "from deployer.tasks import namespace  # noqa: F401\n",
    "fabric.yaml": "tasks: {executor_class: deployer.executor.FleetExecutor}\n",
}
CONFIG = """\
app = "{app}"
[web]
workers = {workers}
health = {{ path = "/healthz", settle = {settle}, timeout = {timeout} }}
{web}
[release]
build = ["python manage.py collectstatic --noinput"]
migrate = "python manage.py migrate --noinput"
watch = {watch}
drain = 10
{release}
[proxy]
kind = "nginx"
listen = "{address}:80"
static = {{ "/static/" = "staticfiles" }}
[env]
DJANGO_SETTINGS_MODULE = "shop.settings"
{env}
"""
CALM = 0.1
"""Seconds between two requests of a client where overload is not the point: a request costs two to three milliseconds
of this machine's processors, which the hosts share."""
KEPT = "/var/lib/deployer-kept"
"""Where a host has the copies that :meth:`Site.keep` makes."""


@dataclass
class Ended:
    """How a ``fab`` command ended. ``events`` are what ``--json`` printed."""

    exit: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All a person reads."""
        return self.out + self.err

    def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The last event of that name whose fields are as wanted."""
        for event in reversed(self.events):
            if event["event"] == name and all(event.get(key) == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"no event {name} {wanted} in:\n{self.out}\n{self.err}")


@dataclass
class Site:
    """A project on this machine and a host it is deployed to, behind nginx."""

    host: SandboxHost
    project: Project
    app: str = "shop"

    @property
    def url(self) -> str:
        return f"http://{self.host.address}"

    def configure(self, *, web: str = "", release: str = "", env: str = "", **values: Any) -> None:
        """Write and commit a deploy.toml; what is not given has values that suit quick tests."""
        defaults = {"workers": 2, "settle": 0.5, "timeout": 15, "watch": 1, "app": self.app}
        text = CONFIG.format(address=self.host.address, web=web, release=release, env=env, **{**defaults, **values})
        self.project.write("deploy.toml", text)
        self.project.commit("configure")

    def argv(self, *arguments: str, user: str = "deploy") -> list[str]:
        return [
            FAB,
            "-S",
            str(self.host.ssh_config),
            "-i",
            str(self.host.identity),
            *arguments,
            "-H",
            f"{user}@{self.host.name}",
        ]

    def fab(
        self, *arguments: str, user: str = "deploy", timeout: float = 180, env: dict[str, str] | None = None
    ) -> Ended:
        """Run ``fab ARGUMENTS -H user@host`` in the project, as people see it when they pipe it."""
        done = subprocess.run(
            self.argv(*arguments, user=user),
            cwd=self.project.path,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
        return Ended(done.returncode, done.stdout, done.stderr, events)

    def deploy(self, *arguments: str, expect: int = 0) -> Ended:
        """``fab deploy --json``, which must end with the exit code that is expected."""
        return self.expect(expect, "deploy", "--json", *arguments)

    def expect(self, exit: int, *arguments: str, user: str = "deploy") -> Ended:
        ended = self.fab(*arguments, user=user)
        assert ended.exit == exit, f"exit {ended.exit}, expected {exit}\n{ended.out}\n{ended.err}"
        return ended

    def setup(self) -> Ended:
        return self.expect(0, "setup", user="root")

    def get(self, path: str = "/", timeout: float = 15) -> Any:
        """What the app answers through nginx, as JSON."""
        with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
            return json.loads(answer.read())

    @property
    def serving(self) -> str:
        """The release that answers a request now."""
        return str(self.get()["release"])

    def load(self, path: str = "/work?ms=20", **options: Any) -> Load:
        return Load(self.url + path, **options)

    @contextlib.contextmanager
    def under_load(self, path: str = "/work?ms=20", *, pause: float = CALM, **options: Any) -> Iterator[Load]:
        """Load for as long as the block; afterwards not one request may have failed, and there were some."""
        with self.load(path, pause=pause, **options) as load:
            wait_until(lambda: load.snapshot().succeeded > 10, "the load is on")
            yield load
        report = load.stop()
        assert report.succeeded > 10
        assert report.failed == 0, f"{report.failed} of {report.sent}: {report.failures} {report.examples}"

    def units(self) -> list[str]:
        """The app's unit files on the host."""
        listed = self.host.run(f"cd /etc/systemd/system && ls -1 | grep '^{self.app}-web@' || true")
        return str(listed.stdout if isinstance(listed.stdout, str) else listed.stdout.decode()).split()

    def wipe(self) -> None:
        """Take all releases of the app off the host, and leave what a set-up made, and built environments."""
        app = self.app
        self.host.run(
            f"systemctl stop deployer-{app}.service; systemctl stop --no-block {app}.service '{app}-*@*'; "
            f"systemctl kill -s KILL '{app}-*@*.service'; systemctl stop {app}.service '{app}-*@*'; "
            f"rm -rf /etc/systemd/system/{app}-*@v* /srv/{app}/current /srv/{app}/releases/* /srv/{app}/trees/* "
            f"/var/lib/systemd/timers/stamp-{app}-*@* "
            f"/var/lib/deployer/{app}/jobs/* /var/lib/deployer/{app}/incoming/* "
            f"/var/lib/deployer/{app}/environment.json /var/lib/{app}/*; "
            f"systemctl daemon-reload; systemctl reset-failed",
            check=False,
        )

    def keep(self) -> None:
        """Keep a copy of all that the app has on the host, for :meth:`bring_back`. Nothing may be under way."""
        self.host.run(f"rm -rf {KEPT}/{self.app} && mkdir -p {KEPT}/{self.app} && cd / && {self._copy}")

    def bring_back(self) -> None:
        """Have the app be as it was kept, and serve; it is as if the host had been switched off and on since."""
        self.wipe()
        app = self.app
        places = " ".join(f"/{one}" for one in self._places)
        self.host.run(
            f"find {places} -mindepth 1 -delete; rm -f /var/lib/systemd/timers/stamp-{app}-*; "
            f"cp -a {KEPT}/{app}/. / && rm -f /srv/{app}/releases/*/run/*.sock && systemctl daemon-reload && "
            f"systemctl start {app}.service"
        )

    @property
    def _places(self) -> tuple[str, ...]:
        """The app's own directories on the host, from its root."""
        return (f"srv/{self.app}", f"var/lib/deployer/{self.app}", f"var/lib/{self.app}")

    @property
    def _copy(self) -> str:
        """The shell command that copies them, and the units of the app's releases."""
        there = f"$(ls -d etc/systemd/system/{self.app}-*@v* var/lib/systemd/timers/stamp-{self.app}-* 2>/dev/null)"
        return f"cp -a --parents {' '.join(self._places)} {there} {KEPT}/{self.app}"


def make_site(host: SandboxHost, path: Path, **options: Any) -> Site:
    """A fresh project under ``path`` for a host, configured."""
    if path.exists():
        shutil.rmtree(path)
    site = Site(host, make_project(path, extra_files=dict(FABFILE), **options))
    site.configure()
    return site


def wait_until(condition: Any, what: str, seconds: float = 90, every: float = 0.05) -> None:
    """Poll until a condition holds; an AssertionError names it when it never does. Only a failure takes the whole time.

    Looking takes at most a fifth of the time, for what is waited for needs the processors, too.
    """
    deadline = time.monotonic() + seconds
    while (began := time.monotonic()) < deadline:
        if condition():
            return
        time.sleep(max(every, 4 * (time.monotonic() - began)))
    raise AssertionError(f"waited {seconds:g} s in vain: {what}")


def versions(report: Any) -> Sequence[str]:
    """The versions clients saw, in the order in which they first saw them."""
    return [served.version for served in report.versions]
