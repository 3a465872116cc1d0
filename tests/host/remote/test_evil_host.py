"""A host that is not what it was: behind a real sshd, a program that says what ours never says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployer.wire.protocol import PROTOCOL
from tests.host.sshd import Sshd, running, write_config
from tests.unit.remote.test_answers import ASK, FINISHED, STATUS

pytestmark = pytest.mark.usefixtures("warm_fab")

PROGRAM = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
says = iter(json.loads((here / "says").read_text()))
while request := sys.stdin.buffer.readline():
    with (here / "asked").open("a") as asked:
        asked.write(json.loads(request)["op"] + " ")
    if json.loads(request)["op"] != "hold":
        text, count = next(says, ["", 1])
        sys.stdout.buffer.write(text.encode("latin-1") * count)
        sys.stdout.buffer.flush()
"""
TOML = 'app = "shop"\n[web]\nwsgi = "app:application"\n[web.health]\nhost = "shop"\n[release]\nwatch = 0\n'


@dataclass
class Evil:
    """Two hosts, each an sshd whose every command is a program that says what was written down, a part a request."""

    directory: Path
    config: Path

    def deployer(self, *words: str, says: list[Any], other: list[Any] = []) -> subprocess.CompletedProcess[str]:  # noqa: B006
        """What a person sees of one command on ``evil``, or (with what the ``other`` says) on both."""
        for name, parts in (("evil", says), ("other", other)):
            home = self.directory / name
            (home / "says").write_text(json.dumps([_part(one) for one in parts]))
            (home / "asked").write_text("")
        argv = [
            str(Path(sys.executable).parent / "deployer"),
            "-S",
            str(self.config),
            "-H",
            "evil,other" if other else "evil",
        ]
        environment = {**os.environ, "NO_COLOR": "1", "HOME": str(self.directory)}
        return subprocess.run(
            [*argv, *words],
            cwd=self.directory / "project",
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def asked(self, name: str = "evil") -> list[str]:
        return (self.directory / name / "asked").read_text().split()


def _part(one: Any) -> tuple[str, int]:
    """What a host says to one request: events, or bytes, or bytes many times."""
    if isinstance(one, tuple):
        return one[0].decode("latin-1"), one[1]
    lines = one if isinstance(one, list) else [one]
    return "".join(line.decode("latin-1") if isinstance(line, bytes) else json.dumps(line) + "\n" for line in lines), 1


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evil]:
    directory = tmp_path_factory.mktemp("evil")
    project = directory / "project"
    project.mkdir()
    (project / "deploy.toml").write_text(TOML)
    (project / "app.py").write_text("application = None\n")
    (project / "requirements.txt").write_text("gunicorn==23.0.0\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    with contextlib.ExitStack() as stack:
        hosts: dict[str, Sshd] = {}
        for name in ("evil", "other"):
            (directory / name).mkdir()
            program = directory / name / "program"
            program.write_text(PROGRAM.format(python=sys.executable))
            program.chmod(0o755)
            hosts[name] = stack.enter_context(running(directory / f"sshd-{name}", extra=f"ForceCommand {program}"))
        config = write_config(directory, hosts, "".join(one.known() for one in hosts.values()))
        yield Evil(directory, config)


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b2J\x1b]52;c;cm0gLXJm\x07"
SAYS: dict[str, Any] = {
    "an exit code that there is not": {**ASK, "event": "finished", "exit": 999},
    "a list for a text": {**ASK, "current": ["v1"]},
    "no base64": {**ASK, "base": {**ASK["base"], "ids": "!!"}},
    "keys that are not there": {"event": "answer", "protocol": PROTOCOL},
    "deep JSON": b'{"event":"answer","protocol":' + b"[" * 100_000 + b"\n",
    "Infinity": b'{"event":"answer","protocol":Infinity}\n',
    "a line of 70 MB": (b'{"event":"answer"', 70 * 2**20 // 17),
    "escape sequences as a key": {**ASK, "current": ESCAPES},
}


@pytest.mark.parametrize("says", SAYS.values(), ids=SAYS.keys())
def test_a_host_that_says_what_it_must_not_is_named(evil: Evil, says: Any) -> None:
    """Exit 3, the host, that nothing was touched, and what to do: never a traceback, nor a bug of ours."""
    done = evil.deployer("status", says=[says])
    assert done.returncode == 3, done.stderr
    assert "evil said what its program never says" in done.stderr
    assert "nothing was touched" in done.stderr
    assert "setup -H root@evil" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "bug" not in done.stderr
    assert all(one.isprintable() or one == "\n" for one in done.stderr + done.stdout)


START = {
    **ASK,
    "spec": None,
    "current": "",
    "usable": {},
    "base": {"key": "", "digest": "", "altered": "", "ids": ""},
    "partials": {},
    "free": 10**12,
}


def test_what_a_confused_host_serves_is_not_known(evil: Evil) -> None:
    """It has the request: exit 7, and nothing is guessed; it is not asked again."""
    done = evil.deployer("deploy", says=[START, {"event": "finished", "exit": 999}])
    assert done.returncode == 7, done.stderr
    assert "evil said what its program never says: finished" in done.stderr
    assert "not known" in done.stderr
    assert evil.asked() == ["ask", "release"]


UNKNOWN = {**START, "current": "v1", "base": {"key": "a" * 64, "digest": "b" * 64, "altered": "", "ids": ""}}
"""It has a tree that this machine has not sent: it is asked for what is in it."""


@pytest.mark.parametrize("ids", ["!!", "AAAA", 5, None])
def test_a_host_that_tells_no_ids_has_begun_with_nothing(evil: Evil, ids: Any) -> None:
    done = evil.deployer("deploy", says=[UNKNOWN, {"event": "answer", "ids": ids}])
    assert done.returncode == 3, done.stderr
    assert "evil said what its program never says: its answer to 'base'" in done.stderr
    assert "nothing was touched" in done.stderr and "setup -H root@evil" in done.stderr
    assert evil.asked() == ["ask", "base"]


def test_a_tree_that_is_gone_since_it_was_told_of(evil: Evil) -> None:
    """Another deploy has removed it: the host's own words and advice are passed on, and nothing is sent."""
    gone = {"message": "the tree is gone", "state": "nothing was touched", "steps": [["fab deploy", "again"]]}
    refusal = [
        {"event": "failed", "at": 1.0, "exit": 5, "next": "fab deploy", **gone},
        {"event": "finished", "at": 1.0, "exit": 5, "release": "", "serving": "v1", "seconds": 0.1, "summary": ""},
    ]
    done = evil.deployer("deploy", says=[UNKNOWN, refusal])
    assert done.returncode == 5, done.stderr
    said = done.stderr + done.stdout
    assert "the tree is gone" in said and "deploy" in said and "Traceback" not in said
    assert evil.asked() == ["ask", "base"]


def test_a_host_cannot_lead_a_fleet_to_a_number(evil: Evil) -> None:
    """One of two hosts is at the end of all numbers: it is named, and no release is sent to either."""
    done = evil.deployer(
        "deploy", says=[{**START, "next": 999_999_999}, {"event": "answer"}], other=[START, {"event": "answer"}]
    )
    assert done.returncode == 2, done.stderr
    assert "evil cannot be right about the number of the next release" in done.stderr
    assert "nothing was touched" in done.stderr
    assert "release" not in evil.asked() + evil.asked("other")


def test_one_confused_host_of_a_fleet_keeps_the_others_as_they_were(evil: Evil) -> None:
    """It is the reason, by name; the other is told that it is untouched."""
    done = evil.deployer("deploy", says=[{**START, "next": "x"}], other=[START])
    assert done.returncode == 3, done.stderr
    assert "said what its program never says" in done.stderr
    assert "release" not in evil.asked("other")
    assert "Traceback" not in done.stderr


TEXT = f"{ESCAPES}x\u202e\x00\x08"
FAILED = {"event": "failed", "exit": 5, "message": TEXT, "state": TEXT, "next": TEXT, "logs": [TEXT]}
FINDING = {"kind": TEXT, "what": TEXT, "text": TEXT, "repair": TEXT}
SHOWN: dict[tuple[str, ...], Any] = {
    ("releases",): {"event": "answer", "releases": [
        {"number": "v1", **dict.fromkeys(("state", "kind", "by", "ref", "reason", "phase", "commit"), TEXT)}]},
    ("status",): {"event": "answer", "status": {
        **STATUS["status"], "app": TEXT, "health": TEXT, "busy": dict.fromkeys(("by", "kind", "phase", "waits"), TEXT),
        "units": [{"process": TEXT, "name": TEXT, "active": TEXT, "sub": TEXT, "ok": False}],
        "timers": [{"process": TEXT, "name": TEXT, "ok": False, "result": TEXT}],
        "lingering": [{"process": TEXT, "release": "v1", "name": TEXT}],
        "last": {"number": "v2", "state": TEXT, "reason": TEXT}}},
    ("logs",): [{"event": "logs", "unit": TEXT, "lines": [TEXT]}, {"event": "warn", "text": TEXT}, FAILED,
                {**FINISHED, "exit": 5, "summary": TEXT}],
    ("doctor",): {"event": "answer", "current": "v1", "busy": {"by": TEXT, "kind": TEXT}, "findings": [FINDING]},
    ("run", "--", "true"): [{"event": "output", "phase": TEXT, "line": TEXT}, {"event": "answer", "status": 0}],
    ("deploy", "--verbose"): [{"event": "following", "job": "00000001"},
                 {"event": "phase.started", "phase": TEXT, "detail": TEXT},
                 {"event": "output", "phase": TEXT, "line": TEXT}, {"event": "note", "text": TEXT},
                 {"event": "phase.failed", "phase": TEXT, "seconds": 1.0, "detail": TEXT}, FAILED,
                 {**FINISHED, "exit": 5, "summary": TEXT}],
}  # fmt: skip


FLEETS = [(words, "a fleet") for words in SHOWN if words[0] in ("status", "logs", "deploy")]


@pytest.mark.parametrize(("words", "hosts"), [*((words, "one host") for words in SHOWN), *FLEETS], ids=str)
def test_nothing_that_a_host_says_reaches_the_terminal_as_it_is(evil: Evil, words: tuple[str, ...], hosts: str) -> None:
    """No escape sequence, of no event and no answer, in logs either."""
    says = [START, SHOWN[words]]
    other = [[*says] if words[0] != "deploy" else [START, {"event": "answer"}, SHOWN[words]], []][hosts == "one host"]
    if other and words[0] == "deploy":
        says = [START, {"event": "answer"}, SHOWN[words]]
    done = evil.deployer(*words, says=says, other=other)
    said = done.stdout + done.stderr
    assert "x" in said
    assert "Traceback" not in said
    assert [one for one in said if not one.isprintable() and one != "\n"] == [], said
