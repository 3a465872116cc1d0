"""The plan that puts a host right is carried out: each kind of step, and all of them though one fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.deployment import outcome, rollback
from deployer.host.deployment.deployment import JobResult
from deployer.host.errors import Damaged, HostError
from deployer.host.recovery import recovery
from deployer.host.recovery.survey import (
    COMPLETE_LEDGER,
    DISCARD,
    FINISH,
    REMOVE,
    REMOVE_DEBRIS,
    ROLL_BACK,
    START,
    STOP,
    Repair,
)
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import FAILED, GOOD, INTERRUPTED, PREPARING, READY, ROLLING_BACK, SERVED, Release
from deployer.wire.protocol import PHASES, Exit
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC
from tests.support.steps import Steps

SPECIFIED = replace(Spec.parse(SPEC), drain=7)
ONE = Release(
    number=1, kind="deploy", of=0, by="ada", at=0.0, spec=SPECIFIED, result=GOOD, phase="watch", sealed={"files": {}}
)
GONE_ON, GONE_BACK = (JobResult(exit, "v2", "", "", "", "", ()) for exit in (Exit.OK, Exit.ROLLED_BACK))


def attempt(result: str, phase: str = "build", **changes: Any) -> Release:
    return replace(ONE, number=2, result=result, phase=phase, **changes)


def without_web(release: Release) -> Release:
    return replace(release, spec=replace(release.spec, web=None))


class Host(Steps):
    """On it v1 serves; v2 is what the test makes of it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.releases = {1: ONE}
        self.serves, self.stopped, self.transients = 1, False, 0
        self.plan: list[Repair] = []
        self.requests: list[Any] = []
        self.units = {2: ["a", "b"], 5: ["c"]}
        ledger = SimpleNamespace(add=self.step(lambda what, at, **fields: f"ledger {what} {at} {fields}"))
        self.ctx = SimpleNamespace(
            paths=AppPaths("shop", root), app="shop", emit=self.emit, catalog=self, ledger=ledger, clock=lambda: 12.5
        )
        look = lambda leases, failures: f"look, leases {leases}"  # noqa: E731
        self.put(recovery, "inspect", look, lambda leases, failures: (self, failures))
        monkeypatch.setattr(recovery, "plan", lambda found: self.plan if found[0] is self else [])
        self.put(recovery.install, "ensure_units", lambda release: f"write units {release.name}")
        self.put(recovery.install, "remove_units", lambda release, unused: f"remove {release.name}, unused {unused}")
        self.put(recovery.install, "delete_units", lambda names: f"delete {names}")
        monkeypatch.setattr(recovery.install, "longest_stop", lambda release: {1: 40, 2: 90}[release.number])
        self.put(recovery.background, "start", lambda: "start background")
        self.put(recovery.background, "hand_over", lambda: "hand over")
        self.put(recovery.transient, "end_all", lambda: "end commands")
        self.put(rollback, "drain_and_remove", lambda release: f"clear {release.name}")
        self.put(outcome, "remove_content", lambda release, result, reason: f"close {release.name}: {result}, {reason}")
        self.put(outcome, "add_to_ledger", lambda release: f"write end {release.name}")
        self.put(recovery.handover, "wait_for_queue", lambda release, seconds: f"queue {release.name}, {seconds} s")
        self.put(recovery.debris, "units", lambda: "look for units", lambda: self.units)
        self.put(recovery.debris, "remove", lambda path: f"remove {path}")
        monkeypatch.setattr(recovery.orders, "start", self.step(lambda units: f"start {', '.join(units)}"))
        stop = self.step(lambda units, timeout: f"stop {', '.join(units)}, {timeout} s")
        monkeypatch.setattr(recovery.orders, "ensure_stopped", stop)
        monkeypatch.setattr(recovery.systemd, "was_stopped", {"shop.service": self}.get)
        monkeypatch.setattr(recovery, "Execution", self.attempt)
        self.put(recovery, "candidate_of", lambda release: "", self.candidate)

    @staticmethod
    def candidate(release: Release) -> Any:
        return SimpleNamespace(socket=f"socket {release.name}", service=f"web {release.name}")

    def __bool__(self) -> bool:
        return self.stopped

    def attempt(self, ctx: Any, request: Any) -> Any:
        assert ctx is self.ctx
        self.requests.append(request)
        go_on = self.step(lambda: "go on", lambda: GONE_ON)
        return SimpleNamespace(
            resume=go_on, finish_rollback=self.step(lambda one: f"go back from {one.name}", lambda _: GONE_BACK)
        )

    # the catalog

    def get(self, number: int) -> Release:
        release = self.find(number)
        if release is None:
            raise HostError(f"no v{number}")
        return release

    def find(self, number: int) -> Release | None:
        if number == 9:
            raise Damaged(Path("/v9"))
        return self.releases.get(number)

    def current(self) -> int:
        return self.serves

    def serving_name(self) -> str:
        return f"v{self.serves}"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def recovered(host: Host, *steps: Repair, two: Release | None = None) -> list[str]:
    """What is done."""
    if two is not None:
        host.releases[2] = two
    host.plan = list(steps)
    assert recovery.recover(host.ctx, "its job died") is None
    assert host.done[0] == "look, leases True"
    return [one for one in host.done[1:] if one]


def test_what_serves_is_started(host: Host) -> None:
    """With its units, as at boot: the web process, where there is one, and all that takes jobs."""
    assert recovered(host, Repair(START, "", 1)) == [
        "write units v1",
        "start socket v1, web v1",
        "start background",
    ]
    host.done.clear()
    host.releases[1] = without_web(ONE)
    assert recovered(host, Repair(START, "", 1)) == ["write units v1", "start background"]


@pytest.mark.parametrize(
    ("step", "told"), [("start socket", "the web process"), ("start back", "processes and timers")]
)
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HostError("no"), "starting {}: no"),
        (OSError(5, "Input/output error"), "starting {} failed: [Errno 5] Input/output error"),
    ],
)
def test_one_half_of_an_app_does_not_wait_for_the_other(
    host: Host, step: str, told: str, error: Exception, text: str
) -> None:
    """What does not start is told, and tried again by systemd or the next look: nothing hangs on it."""
    host.errors[step] = error
    *done, warning = recovered(host, Repair(START, "v1 is down", 1))
    assert done == ["write units v1", "start socket v1, web v1", "start background"]
    assert warning == f"warn: text the recovery could not do one step: v1 is down: {text.format(told)}"


DIED: dict[str, tuple[Release, list[str]]] = {
    "while it was made": (attempt(PREPARING), ["remove v2, unused True", "interrupted at install: its job died"]),
    "before its first phase": (
        attempt(PREPARING, ""),
        ["remove v2, unused True", "interrupted at upload: its job died"],
    ),
    "between two phases": (attempt(READY, "check", held={}), ["remove v2, unused True", "left alone after check"]),
    "after its migration": (
        attempt(READY, "check", phases={"migrate": 2.0}),
        ["remove v2, unused True", "interrupted at switch: its job died; its migration ran, and stays applied"],
    ),
    "having said that it was switched to": (
        attempt(SERVED, "check"),
        ["hand over", "clear v2", "interrupted at switch: its job died"],
    ),
}


@pytest.mark.parametrize("do", [DISCARD, REMOVE])
@pytest.mark.parametrize("died", DIED)
def test_an_attempt_that_died_without_traffic_is_cleared_away(host: Host, died: str, do: str) -> None:
    """Its commands first, its record last; it is told what it was, and what of it stays."""
    release, (*steps, reason) = DIED[died]
    assert recovered(host, Repair(do, "", 2), two=release) == [
        "end commands",
        *steps,
        f"close v2: interrupted, {reason}",
        f"note: text v2 was {reason}; what it left is removed",
    ]


def test_what_was_being_taken_back_is_rolled_back(host: Host) -> None:
    """For the reason for which it goes; what serves has its jobs, unless an admin has stopped it."""
    going = attempt(ROLLING_BACK, "watch", reason="it is ill", phases={"migrate": 1.0})
    assert recovered(host, Repair(REMOVE, "", 2), two=going) == [
        "end commands", "hand over", "clear v2", "close v2: rolled back, it is ill",
    ]  # fmt: skip
    host.done.clear()
    host.stopped = True
    assert recovered(host, Repair(REMOVE, "", 2)) == [
        "end commands",
        "clear v2",
        "close v2: rolled back, it is ill",
    ]


def test_units_that_are_left_are_stopped_in_their_time_and_deleted(host: Host) -> None:
    """Whoever still waits for such a release is answered; one that has come to serve meanwhile is not touched."""
    two = attempt(GOOD, "watch")
    stopped = ["look for units", "stop a, b, 150 s", "delete ['a', 'b']"]
    assert recovered(host, Repair(STOP, "", 2), two=two) == ["queue v2, 7 s", *stopped]
    for other in (without_web(two), replace(two, sealed=None), replace(two, result=READY)):
        host.done.clear()
        assert recovered(host, Repair(STOP, "", 2), two=other) == stopped
    host.done.clear()
    assert recovered(host, Repair(STOP, "", 5)) == ["look for units", "stop c, 90 s", "delete ['c']"]
    for unreadable_or_gone in (9, 6):
        host.done.clear()
        assert recovered(host, Repair(STOP, "", unreadable_or_gone)) == ["look for units"]
    host.done.clear()
    host.serves = 2
    assert recovered(host, Repair(STOP, "", 2)) == []


def test_a_line_that_the_ledger_lacks_is_added(host: Host) -> None:
    """As the record has it; of one without a record that can be read, that it was interrupted."""
    assert recovered(host, Repair(COMPLETE_LEDGER, "", 2), two=attempt(FAILED)) == ["write end v2"]
    fields = {"result": INTERRUPTED, "phase": "", "reason": "interrupted before it began", "serving": "v1"}
    for number in (6, 9):
        host.done.clear()
        assert recovered(host, Repair(COMPLETE_LEDGER, "", number)) == [
            f"ledger ended 12.5 { {'release': f'v{number}', **fields} }"
        ]


def test_litter_is_removed_and_what_is_gone_is_no_matter(host: Host) -> None:
    """A step without a path removes nothing."""
    path = Path("/srv/shop/.x.tmp")
    host.errors["remove"] = FileNotFoundError(2, "gone")
    assert recovered(host, Repair(REMOVE_DEBRIS, "", path=path), Repair(REMOVE_DEBRIS, "")) == [f"remove {path}"]


@pytest.mark.parametrize(
    ("phase", "held", "left", "why"),
    [
        ("check", None, ("switch", "drain", "watch"), "interrupted at switch: its job died"),
        ("build", None, ("switch", "drain", "watch"), "interrupted at install: its job died"),
        ("switch", None, ("drain", "watch"), "interrupted at drain: its job died"),
        ("switch", {}, ("drain", "watch"), "left alone after switch"),
        ("drain", None, ("watch",), "interrupted at watch: its job died"),
        ("watch", None, ("watch",), "interrupted at watch: its job died"),
    ],
)
def test_what_serves_unjudged_goes_on_from_where_it_was(
    host: Host, phase: str, held: Any, left: tuple[str, ...], why: str
) -> None:
    """Behind the switch: with the phases that are left, in the name of whoever began it, and the verdict told."""
    release = host.releases[2] = attempt(SERVED, phase, held=held, by="bob")
    host.plan = [Repair(FINISH, "", 2)]
    assert recovery.recover(host.ctx, "its job died") is GONE_ON
    assert host.done == ["look, leases True", "go on"]
    (request,) = host.requests
    assert (request.release, request.by, request.phases) == (2, "bob", left)
    assert request.reason == f"its deploy was {why}; the host found it healthy"
    assert release.spec is request.spec
    assert set(left) <= set(PHASES)


def test_what_was_being_taken_back_goes_all_the_way(host: Host) -> None:
    """Whatever it would have gone on with."""
    host.releases[2] = attempt(ROLLING_BACK, "drain")
    host.plan = [Repair(ROLL_BACK, "", 2)]
    assert recovery.recover(host.ctx, "its job died", leases=False) is GONE_BACK
    assert host.done == ["look, leases False", "go back from v2"]


EVERY = [Repair(START, "start", 1), Repair(DISCARD, "discard", 2), Repair(REMOVE, "clear", 3), Repair(STOP, "stop", 5),
         Repair(REMOVE_DEBRIS, "remove", path=Path("/x")), Repair(COMPLETE_LEDGER, "close", 6),
         Repair(ROLL_BACK, "take back", 7), Repair(FINISH, "finish", 8)]  # fmt: skip
FIRST = {"start": "write units v1", "discard": "remove v2", "remove": "clear v3", "stop": "stop c",
         "remove debris": "remove /x", "complete ledger": "ledger", "roll back": "go back",
         "finish": "go on"}  # fmt: skip
"""What fails of a step."""


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), HostError("no"), ValueError("a bug")], ids=str)
@pytest.mark.parametrize("step", EVERY, ids=lambda step: step.do)
def test_one_step_that_fails_keeps_no_other_from_being_done(host: Host, step: Repair, error: Exception) -> None:
    """It is told; and raised at the end when a new release could not begin like that."""
    host.releases |= {2: attempt(READY), 3: replace(attempt(ROLLING_BACK), number=3)}
    host.releases |= {7: replace(attempt(ROLLING_BACK), number=7), 8: replace(attempt(SERVED), number=8)}
    host.plan = EVERY
    assert recovery.recover(host.ctx, "") is GONE_ON
    whole = [one for one in host.done if not one.startswith("note")]
    host.done.clear()
    host.errors[FIRST[step.do]] = error
    if step.do in (DISCARD, REMOVE, ROLL_BACK, FINISH):
        with pytest.raises(HostError) as caught:
            recovery.recover(host.ctx, "")
        assert (caught.value.exit == Exit.BUG) is isinstance(error, ValueError)
        assert step.why in caught.value.message
    else:
        assert recovery.recover(host.ctx, "") is GONE_ON
    told = [one for one in host.done if one.startswith("warn")]
    assert len(told) == 1
    assert told[0].startswith(f"warn: text the recovery could not do one step: {step.why}")
    assert ("a bug of deployer" in told[0]) is isinstance(error, ValueError)
    rest = {
        "start": ["start socket", "start back"],
        "discard": ["close v2"],
        "remove": ["close v3"],
        "stop": ["delete"],
    }
    lost = tuple(rest.get(step.do, ())) or ("-",)
    assert [one for one in host.done if one and not one.startswith(("note", "warn"))] == [
        one for one in whole if one and not one.startswith(lost)
    ]


def test_what_could_not_be_seen_is_told_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps nobody from beginning; what matters is told after it."""

    def look(_: Any, *, leases: bool, failures: Any) -> Any:
        with failures.kept("inspecting the host (units)"):
            raise HostError("no answer")
        return (host, failures)

    monkeypatch.setattr(recovery, "inspect", look)
    host.plan = [Repair(START, "it is down", 6)]
    assert recovery.recover(host.ctx, "") is None
    text = "warn: text the recovery could not do one step: "
    assert host.done == [f"{text}inspecting the host (units): no answer", f"{text}it is down: no v6"]
    host.plan = [Repair(DISCARD, "it died", 6)]
    with pytest.raises(HostError, match=r"^it died: no v6$"):
        recovery.recover(host.ctx, "")
    assert host.done[-1] == f"{text}it died: no v6"


def test_telling_that_fails_is_no_hindrance(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """The log is on the same full disk; what nobody foresaw is in the journal."""
    host.plan = [Repair(START, "it is down", 6)]
    for error in (OSError(28, "No space left on device"), ValueError("a bug")):

        def fails(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        host.ctx.emit = fails
        assert recovery.recover(host.ctx, "") is None
        said = capsys.readouterr().err
        assert said.startswith("reporting what could not be recovered: a bug") is isinstance(error, ValueError)
        assert bool(said) is isinstance(error, ValueError)
