"""What every test of a failure does: deploy a bad release under load, look at all that must not have changed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.sandbox import SandboxHost
from tests.support.project import Project
from tests.support.site import Ended, Site, make_site, wait_until

QUICK: dict[str, Any] = {"settle": 0, "watch": 0, "timeout": 15}
CLIENTS = 2
FOOTPRINT = r"""
cd /srv/{app} && readlink current && ls -1 trees venvs
find releases -mindepth 2 ! -name release.json | sort
find . /var/lib/deployer/{app} \( -name '.*.tmp' -o -name '*.env' \) 2>/dev/null
ls -1 /var/lib/deployer/{app}/incoming && ls -1 /etc/systemd/system | grep '^{app}-web@'
systemctl list-units --all --plain --no-legend '{app}-web@*' 'deployer-{app}-*' | awk '!/-lease/ {{print $1, $3}}'
"""


class Shop:
    """A site on which a good release serves; ``ready`` brings that about again, whatever a test has left."""

    def __init__(self, host: SandboxHost, path: Path) -> None:
        self.site = make_site(host, path)
        self.site.configure(**QUICK)
        self._good = self.project.sha

    @property
    def host(self) -> SandboxHost:
        return self.site.host

    @property
    def project(self) -> Project:
        return self.site.project

    def ready(self) -> Shop:
        self._mend()
        if not self._serves_well():
            self.site.wipe()
            self.site.deploy()
        return self

    def _mend(self) -> None:
        self.project.git("reset", "--hard", "--quiet", self._good)
        self.project.git("clean", "-fdq")

    def _serves_well(self) -> bool:
        try:
            return len(self.site.units()) == 2 and bool(self.site.serving)
        except OSError:
            return False

    def keep(self) -> None:
        """From now on the release that serves, and the commit that is checked out, are the good ones."""
        self._good = self.project.sha

    def edit(self, old: str, new: str) -> None:
        """Replace a part of deploy.toml, and commit."""
        path = self.project.path / "deploy.toml"
        text = path.read_text()
        assert old in text, f"{old!r} is not in deploy.toml"
        self.project.write("deploy.toml", text.replace(old, new))
        self.project.commit("edit deploy.toml")

    def configure(self, **values: Any) -> None:
        self.site.configure(**{**QUICK, **values})

    def footprint(self) -> list[str]:
        """All that the app has on the host: link, trees, environments, releases, uploads, unit files, units."""
        return self.host.run(FOOTPRINT.format(app=self.site.app), check=False).stdout.splitlines()

    def is_back_at(self, before: list[str]) -> None:
        """Wait until the app has on the host what it had, and nothing else."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.footprint() == before, "nothing else stays")
        now = self.footprint()
        assert now == before, f"more: {set(now) - set(before)}; less: {set(before) - set(now)}"

    def refuses(
        self, message: str, *arguments: str, exit: int = 5, phase: str = "", logs: str = "", next: str = ""
    ) -> Ended:
        """Deploy what must not get through: it says why, no request fails, nothing of it stays.

        ``phase`` is the one in which it fails (or those that it may be); empty: there is no release as yet.
        """
        before, serving = self.footprint(), self.site.serving
        with self.site.under_load(clients=CLIENTS):
            ended = self.site.deploy(*arguments, expect=exit)
            assert self.site.serving == serving
        failed = ended.event("failed")
        assert message in failed["message"], failed
        assert (failed["exit"], bool(failed["next"])) == (exit, True), failed
        assert next in failed["next"], failed
        assert logs in "\n".join(failed["logs"]), failed
        if phase:
            assert ended.event("phase.failed")["phase"] in phase.split()
            release = ended.event("finished")["release"]
            assert failed["state"].startswith(f"{serving} serves, uninterrupted; {release} never got a request")
            assert ended.event("finished")["serving"] == serving
        else:
            assert failed["state"] == "nothing was touched"
        assert self.footprint() == before
        return ended

    def recovers(self) -> None:
        """The next good deploy gets through."""
        self._mend()
        release = self.site.deploy().event("finished")["release"]
        assert self.site.serving == release


class Running:
    """A ``fab --json`` command under way, whose events are read one by one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    def until(self, name: str, **wanted: Any) -> dict[str, Any]:
        """Read up to the next event of that name whose fields are as wanted."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            self.events.append(event)
            if event["event"] == name and all(event.get(key) == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"ended without {name} {wanted}: {self.events}")

    def kill(self) -> None:
        """What a closed lid or a lost battery is to the host."""
        self.process.kill()
        self.process.wait()

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=120)
        self.events += [json.loads(line) for line in out.splitlines()]
        return Ended(self.process.returncode, out, err, self.events)


@contextlib.contextmanager
def running(site: Site, *arguments: str) -> Iterator[Running]:
    """``fab ARGUMENTS``, killed at the end of the block if it still runs.

    Its pipe holds a page: a command whose events nobody reads stands still soon.
    """
    process = subprocess.Popen(
        site.argv(*arguments),
        cwd=site.project.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()
