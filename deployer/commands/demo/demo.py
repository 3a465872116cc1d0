"""``deployer demo``: the whole product on a throwaway host, with load running from the first release to the last.

It types the commands a user would type, shows what they print, and counts every request meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from deployer.cli.standalone import Parser, answer, ended, is_dry, say, would
from deployer.commands.demo.project import DemoProject, make_project
from deployer.errors import ConfigError, Exit
from deployer.sandbox import SandboxHost, hosts
from deployer.sandbox.backends.choice import BACKENDS
from deployer.sandbox.contents.content import DISTRIBUTIONS
from deployer.sandbox.load import Load, Report
from deployer.sandbox.records import registry, survey
from deployer.ui.answers.demo import DemoStep, demo_table
from deployer.ui.steps import Steps
from deployer.wire.advice import run as typed
from deployer.wire.lazydata import dataclass

__all__ = ["Demo", "main", "parser"]

CHILD_SECONDS = 15.0
"""How long an interrupted command may take to end."""
_FAB = "import sys; sys.path.pop(0); sys.argv[0] = 'fab'; from fabric.main import program; program.run()"
"""``fab`` in this interpreter, without its working directory on sys.path."""
_EXCLUDED = ("FABRIC_", "INVOKE_", "GIT_", "DJANGO_")
"""Prefixes of variables that would change what these commands do."""


def main(arguments: Sequence[str]) -> int:
    """Run the demo; its exit code: 0 when every step ended as expected and no request failed, else 1."""
    gone = "the demo's host and project are gone"
    return ended(lambda: _main(parser().parse_args(list(arguments))), json="--json" in arguments, interrupted=gone)


def parser() -> Parser:
    """What the command takes."""
    top = Parser(
        prog="deployer demo",
        description="Boots a throwaway host on this machine, sets it up, deploys a small Django app behind nginx, and\n"
        "keeps load on it while it deploys again, reloads, deploys a broken release and rolls back.\n"
        "Every request is counted. About a minute; the first time one or two more, for the host's image.",
    )
    top.add_argument("--distribution", default="bookworm", choices=DISTRIBUTIONS, help="of the host; default: bookworm")
    top.add_argument("--backend", choices=BACKENDS, help="default: nspawn where it works, else docker")
    top.add_argument("--keep", action="store_true", help="keep the host and the project")
    top.add_argument("--json", "-j", action="store_true", help="print the figures as one line of JSON on stdout")
    top.add_argument("--dry", "-R", action="store_true", help="show what would be done, and do nothing")
    return top


def _main(given: argparse.Namespace) -> int:
    if is_dry(given.dry):
        return would(f"boot a throwaway host of {given.distribution}, set it up, deploy to it, and remove it")
    started = time.monotonic()
    _refuse_missing_git()
    more = ", and one or two more for the image of the host, which is made once"
    ready = survey.has_image(given.distribution, given.backend)
    say(f"This takes about a minute{'' if ready else more}. Ctrl-C ends it and removes all it made.")
    with _host(given) as host:
        project = make_project(host.state.host(host.name) / "project", host)
        say(f"a Django project in {project.path}")
        say(f"a {host.distribution} host with systemd, sshd and nginx at {host.address}")
        demo = Demo(host=host, project=project, aside=given.json)
        good = demo.run()
        _tell(demo, json=given.json)
        if given.keep:
            _say_kept(host, project)
    took = time.monotonic() - started
    gone = "" if given.keep else "; its host is gone"
    say(f"\nThe demo took {took:.0f} s{gone}. Now your own project: deployer init")
    return int(Exit.OK if good else Exit.BUG)


def _refuse_missing_git() -> None:
    """Raises ConfigError before anything is made: a deploy ships a commit."""
    if shutil.which("git") is None:
        raise ConfigError(
            message="the program git is not installed here, or not in PATH",
            state="nothing was created",
            next=typed("apt-get install git"),
        )


@contextmanager
def _host(given: argparse.Namespace) -> Iterator[SandboxHost]:
    """A host for the demo, removed when the block or this process ends; with ``--keep`` only after a failure."""
    with Steps() as steps:
        host = hosts.up(distribution=given.distribution, backend=given.backend, progress=steps)
    finished = False
    try:
        yield host
        finished = True
    finally:
        if finished and given.keep:
            hosts.keep(host.name)
        else:
            with Steps() as steps:
                steps(f"removing {host.name}")
                registry.down(host.name)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A step that was run; ``start`` and ``end`` are monotonic seconds, ``serves`` the release that serves after it."""

    what: str
    outcome: str
    start: float
    end: float
    serves: str


@dataclass(kw_only=True)
class Demo:
    """The host, the project, and the steps so far. With ``aside`` what commands print goes to standard error."""

    host: SandboxHost
    project: DemoProject
    aside: bool = False
    steps: list[Ran] = field(default_factory=list)
    report: Report | None = None

    def run(self) -> bool:
        """Run every step; whether each ended as expected and no request failed. Stops when the first deploy fails."""
        if not self.step("set up the host", 0, "setup", user="root") or not self.step("deploy version 1", 0, "deploy"):
            return False
        load = Load(f"{self.project.url}work", clients=4)
        with load:
            self.project.change("2")
            good = [self.step("deploy version 2", 0, "deploy"), self.step("reload", 0, "reload")]
            self.project.break_it("3")
            good.append(self.step("deploy a broken version 3", 5, "deploy", outcome="refused, as it should be"))
            good.append(self.step("roll back", 0, "rollback", "--to", "v1"))
            self.report = load.stop()
        return all(good) and self.report.failed == 0

    def step(self, what: str, exit: int, *command: str, user: str = "", outcome: str = "") -> bool:
        """Run one command; whether it ended with the expected exit code."""
        named = ["-H", f"{user}@{self.host.name}"] if user else []
        say(f"\n$ {' '.join(['fab', *command, *named])}")
        started = time.monotonic()
        login = ["-S", str(self.host.ssh_config), "-i", str(self.host.identity)]
        status = fab([*login, *command, *named], cwd=self.project.path, aside=self.aside)
        ended, serves = time.monotonic(), self.serves() if command[0] != "setup" else ""
        good = status == exit
        unwanted = f"ended with {status}, not with {exit}"
        self.steps.append(
            Ran(what=what, outcome=outcome if good else unwanted, start=started, end=ended, serves=serves)
        )
        if not good:
            say(f"✗ fab {command[0]} should have ended with exit code {exit}; it {unwanted.partition(',')[0]}")
        return good

    def serves(self) -> str:
        """What a visitor is served now: the release, and which version of the code that is."""
        try:
            with urllib.request.urlopen(self.project.url, timeout=10) as answer:  # noqa: S310  (ours)
                body = json.loads(answer.read())
        except (OSError, ValueError):
            return "nothing"
        return f"{body['release']} (code {body['version']})"

    def rows(self) -> list[DemoStep]:
        """The steps with what the load saw during each."""
        return [self._row(step) for step in self.steps]

    def _row(self, step: Ran) -> DemoStep:
        row = DemoStep(
            step=step.what, outcome=step.outcome, seconds=step.end - step.start, release=step.serves, sent=0, failed=0
        )
        if self.report is None:
            return row
        seen = self.report.between(step.start, step.end)
        if not seen.sent:
            return row
        figures = {"p50": seen.latencies.p50, "p99": seen.latencies.p99, "max": seen.latencies.max}
        return DemoStep(**{**asdict(row), "sent": seen.sent, "failed": seen.failed, **figures})


def fab(words: Sequence[str], *, cwd: Path, aside: bool) -> int:
    """Run ``fab`` as a user's shell would; its exit code. When this process is stopped, so is it, and waited for.

    In a session of its own a Ctrl-C reaches it once, by way of this process.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_EXCLUDED)}
    process = subprocess.Popen(
        [sys.executable, "-c", _FAB, *words],
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if aside else None,
        start_new_session=True,
    )
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CHILD_SECONDS)
        process.kill()
        process.wait()
        raise


def _tell(demo: Demo, *, json: bool) -> None:
    rows = demo.rows()
    sent, failed = sum(row.sent for row in rows), sum(row.failed for row in rows)
    if json:
        answer({"steps": [_plain(row) for row in rows], "sent": sent, "failed": failed})
        return
    demo_table(rows)
    if demo.report is not None:
        lost = "none was lost" if not demo.report.failed else f"{demo.report.failed:,} failed: {demo.report.failures}"
        say(f"{demo.report.sent:,} requests in all; {lost}.")


def _plain(row: DemoStep) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(row).items()}


def _say_kept(host: SandboxHost, project: DemoProject) -> None:
    say(f"\n{host.name} stays, and its app serves {project.url}")
    say(f"  deployer sandbox ssh {host.name}")
    say(f"  cd {project.path}")
    say(f"  fab -S {host.ssh_config} -i {host.identity} status")
    say(f"  deployer sandbox down {host.name}   (removes both)")
