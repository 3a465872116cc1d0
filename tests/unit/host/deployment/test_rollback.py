"""The way back, step by step: each is taken whatever became of those before it, and what serves is never stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.deployment import rollback
from deployer.host.errors import HostError
from deployer.host.state.catalog import Catalog
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import GOOD, ROLLING_BACK, Release
from deployer.host.system import files
from deployer.wire.protocol import Exit
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC
from tests.support.steps import Steps

SPECIFIED = replace(Spec.parse(SPEC), drain=7)
STANDBY = Release(number=1, kind="deploy", of=0, by="ada", at=0.0, spec=SPECIFIED, result=GOOD)
FAILED = replace(STANDBY, number=2, result=ROLLING_BACK)


def without_web(release: Release) -> Release:
    return replace(release, spec=replace(release.spec, web=None))


class Host(Steps):
    """One on which v2 has just failed, whose requests wait in its socket."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.answers = {"has units v1": True}
        self.empties = True
        self.paths = AppPaths("shop", root)
        for path in (self.paths.releases, self.paths.units):
            path.mkdir(parents=True)
        self.paths.current.symlink_to("releases/v2")
        self.unit = self.paths.units / "service of v2"
        self.unit.write_text("the failed one's")
        self.ctx = SimpleNamespace(paths=self.paths, app="shop", emit=self.emit, catalog=self)
        self.put(rollback.install, "ensure_units", lambda release: f"write units {release.name}")
        self.put(rollback.install, "has_units", lambda release: f"has units {release.name}")
        self.put(
            rollback.install,
            "service_text",
            lambda release, behind: f"text {release.name} at v{behind}",
            lambda release, behind: f"{release.name} behind v{behind}",
        )
        self.put(rollback.background, "hand_over", lambda: "hand over")
        self.put(rollback.background, "stop_later", lambda number: f"tell v{number} to stop")
        self.put(rollback.background, "wait_for_end", lambda number, seconds: f"jobs of v{number}, {seconds} s")
        queue = lambda release, seconds: f"queue of {release.name}, {seconds} s"  # noqa: E731
        self.put(rollback.handover, "wait_for_queue", queue, lambda *_: self.empties)
        self.put(rollback.handover, "remove_but_finishing", lambda release: f"remove {release.name}")
        self.put(rollback, "candidate_of", lambda release: "", self.candidate)
        monkeypatch.setattr(rollback.orders, "start", self.step(lambda units: f"start {', '.join(units)}"))
        monkeypatch.setattr(rollback.orders, "reload", self.step(lambda: "daemon-reload"))
        systemctl = self.step(lambda *words, timeout: f"{' '.join(words)}, {timeout} s")
        monkeypatch.setattr(rollback.systemd, "systemctl", systemctl)
        pointed = self.step(lambda link, target: f"{link.name} -> {target}", files.point)
        synced = self.step(lambda path: f"sync {path.name}", files.sync_directory)
        monkeypatch.setattr(rollback.files, "point", pointed)
        monkeypatch.setattr(rollback.files, "sync_directory", synced)

    @property
    def steps(self) -> list[str]:
        return [one for one in self.done if one]

    def candidate(self, release: Release) -> Any:
        boot = self.step(lambda: f"boot {release.name}")
        return SimpleNamespace(socket=f"socket of {release.name}", service=f"service of {release.name}", boot=boot)

    def point(self, number: int) -> None:
        Catalog(self.paths).point(number)

    def current(self) -> int:
        return int(self.paths.current.readlink().name[1:]) if self.paths.current.is_symlink() else 0


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


SWITCHED = "switched: to v1, previous v2"
WAY_BACK = [
    "write units v1",
    "has units v1",
    "text v1 at v2",
    "sync system",
    "daemon-reload",
    "start socket of v1",
    "boot v1",
    "current -> releases/v1",
    "sync shop",
    SWITCHED,
    "hand over",
    "queue of v2, 2.0 s",
    "jobs of v2, 7 s",
    "remove v2",
]


def test_the_standby_answers_before_it_is_switched_to(host: Host) -> None:
    """And the failed release's socket is answered, by the standby's code, before it goes."""
    assert rollback.roll_back(host.ctx, FAILED, STANDBY) == "v1"
    assert host.steps == WAY_BACK
    assert (host.unit.read_text(), host.unit.stat().st_mode & 0o777) == ("v1 behind v2", 0o644)


ERRORS = [OSError(28, "No space left on device"), HostError("no", exit=Exit.REFUSED), ValueError("nobody foresaw this")]
TOLD: dict[str, tuple[str, list[str]]] = {
    "write units v1": ("writing the units of v1", []),
    "text v1": ("giving the requests that wait for v2 to v1", ["sync system", "daemon-reload"]),
    "start socket": ("starting v1", ["boot v1"]),
    "boot v1": ("starting v1", []),
    "current -> ": ("switching to v1", ["sync shop", SWITCHED, *WAY_BACK[10:]]),
    "hand over": ("starting the processes and timers of v1", []),
    "queue of v2": ("removing v2", ["jobs of v2, 7 s", "remove v2"]),
    "jobs of v2": ("removing v2", ["remove v2"]),
    "remove v2": ("removing v2", []),
}
"""A step; how its failure is named; what is not done without it."""


@pytest.mark.parametrize("error", ERRORS, ids=["disk", "host", "bug"])
@pytest.mark.parametrize("step", TOLD)
def test_whatever_fails_on_the_way_back_all_else_is_done(host: Host, step: str, error: Exception) -> None:
    """What cannot be without it is left; the failure is told at the end, by its name, unless it is no hindrance."""
    name, left = TOLD[step]
    host.errors[step] = error
    harmless = isinstance(error, HostError) and step in ("start socket", "boot v1")
    if harmless:
        assert rollback.roll_back(host.ctx, FAILED, STANDBY) == "v1"
        left = []
    else:
        with pytest.raises(HostError) as caught:
            rollback.roll_back(host.ctx, FAILED, STANDBY)
        assert name in caught.value.message or isinstance(error, ValueError)
        assert (caught.value.exit == Exit.BUG) is isinstance(error, ValueError)
    assert host.steps == [one for one in WAY_BACK if one not in left]


def test_requests_that_cannot_be_given_to_the_standby_are_told(host: Host) -> None:
    """The way back needs no reload, and goes on."""
    host.errors["daemon-reload"] = HostError("systemd does not answer")
    assert rollback.roll_back(host.ctx, FAILED, STANDBY) == "v1"
    (warning,) = [one for one in host.steps if one not in WAY_BACK]
    text = "requests that wait for v2 are not given to v1: systemd does not answer"
    assert warning == f"warn: text {text}"
    assert [one for one in host.steps if one != warning] == WAY_BACK


def test_a_unit_that_cannot_be_written_is_left_as_it_is(host: Host) -> None:
    """The disk is full: the way back goes on, without a word."""
    host.unit.unlink()
    host.unit.mkdir()
    assert rollback.roll_back(host.ctx, FAILED, STANDBY) == "v1"
    assert host.steps == [one for one in WAY_BACK if one != "sync system"]


def test_what_nobody_could_start_is_not_switched_to(host: Host) -> None:
    """Without units of the standby the link stays where it is, until somebody can write them."""
    host.answers["has units v1"] = False
    host.errors["write units"] = OSError(28, "No space left on device")
    with pytest.raises(HostError, match="writing the units of v1"):
        rollback.roll_back(host.ctx, FAILED, STANDBY)
    assert host.steps == WAY_BACK[:2]
    assert host.current() == 2


def test_a_release_without_web_has_nobody_waiting(host: Host) -> None:
    """Nothing is asked of its socket; the one it goes back to may have one, or none."""
    host.unit.unlink()
    assert rollback.roll_back(host.ctx, without_web(FAILED), STANDBY) == "v1"
    of_the_web = ("text", "sync system", "daemon", "queue")
    assert host.steps == [one for one in WAY_BACK if not one.startswith(of_the_web)]
    host.done.clear()
    host.paths.current.unlink()
    host.paths.current.symlink_to("releases/v2")
    assert rollback.roll_back(host.ctx, without_web(FAILED), without_web(STANDBY)) == "v1"
    assert host.steps == [one for one in WAY_BACK if not one.startswith((*of_the_web, "start", "boot"))]


@pytest.mark.parametrize("there", [True, False])
def test_with_nothing_to_go_back_to_nothing_is_current(host: Host, there: bool) -> None:
    """The link goes first, also when it has gone already; then what it led to."""
    if not there:
        host.paths.current.unlink()
    assert rollback.roll_back(host.ctx, FAILED, None) == ""
    assert host.steps == [*(["sync shop"] if there else []), "tell v2 to stop", "jobs of v2, 7 s", "remove v2"]
    assert host.current() == 0


@pytest.mark.parametrize(
    ("step", "name"), [("sync shop", "removing {}"), ("tell v2", "stopping v2"), ("remove v2", "removing v2")]
)
def test_whatever_fails_then_all_else_is_done(host: Host, step: str, name: str) -> None:
    """The link itself among it."""
    host.errors[step] = HostError("no")
    with pytest.raises(HostError) as caught:
        rollback.roll_back(host.ctx, FAILED, None)
    assert caught.value.message == f"{name.format(host.paths.current)}: no"
    assert host.steps == ["sync shop", "tell v2 to stop", "jobs of v2, 7 s", "remove v2"]
    assert host.current() == 0


def test_a_queue_that_does_not_empty_is_taken_from_the_process_that_has_it(host: Host) -> None:
    """It starts again with the standby's code, and has as long as requests may take."""
    host.empties = False
    rollback.drain_and_remove(host.ctx, FAILED)
    assert host.steps == [
        "queue of v2, 2.0 s",
        "restart service of v2, 97 s",
        "queue of v2, 7 s",
        "jobs of v2, 7 s",
        "remove v2",
    ]
