"""Orders to systemd: given again until it has heard, and no longer; told by the units' states, never by its words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from deployer.host.errors import HostError
from deployer.host.system import orders, runner, systemd
from deployer.host.units import transient

SOCKET, SERVICE, WORKER = "shop-web@v1.socket", "shop-web@v1.service", "shop-worker@v1.service"
DOWN, UP = {"ActiveState": "inactive", "SubState": "dead"}, {"ActiveState": "active", "SubState": "running"}
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "1"}
CRASHING = {"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code", "ExecMainStatus": "1"}
CUT_SHORT = {**FAILED, "ExecMainStatus": "219"}
CUT_SHORT_AGAIN = {**CRASHING, "ExecMainStatus": "219"}
STARTS = {**DOWN, "Job": "7"}


class Systemd:
    """It refuses an order ``deaf`` times, leaving the units as ``refusing`` has them; then they are as ``heard`` has
    them."""

    def __init__(self, deaf: int, refusing: dict[str, str], heard: dict[str, str], *, status: int = 1) -> None:
        self.deaf, self.state, self.heard, self.status = deaf, refusing, heard, status
        self.orders: list[list[str]] = []
        self.loaded = {"LoadState": "not-found", "FragmentPath": ""}
        self.now = 0.0

    def run(self, argv: Sequence[str], **_: Any) -> runner.CommandResult:
        verb, *rest = list(argv)[1:]
        if verb == "show":
            values = {**self.loaded, **self.state}
            lines = [f"{name}={values.get(name, '')}" for name in rest[1].split(",")]
            return runner.CommandResult(0, "\n\n".join("\n".join(lines) for _ in rest[2:]) + "\n", "")
        if verb == "list-jobs":
            return runner.CommandResult(0, "".join(f"7 {unit} start waiting\n" for unit in rest[2:]), "")
        self.orders.append([verb, *rest])
        if verb == "reset-failed":
            return runner.CommandResult(0, "", "")
        if self.deaf:
            self.deaf -= 1
            return runner.CommandResult(
                self.status, "", "Message recipient disconnected from message bus without replying"
            )
        self.state = self.heard
        return runner.CommandResult(0, "", "")

    def told(self, verb: str) -> int:
        return sum(order[0] == verb for order in self.orders)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def on(monkeypatch: pytest.MonkeyPatch, fake: Systemd) -> Systemd:
    monkeypatch.setattr(runner, "run", fake.run)
    monkeypatch.setattr(orders, "time", fake)
    return fake


@pytest.mark.parametrize("unit", [SOCKET, SERVICE, WORKER])
@pytest.mark.parametrize("wait", [True, False])
def test_what_was_not_heard_is_told_again(monkeypatch: pytest.MonkeyPatch, unit: str, wait: bool) -> None:
    """It got no job, and is as it was."""
    fake = on(monkeypatch, Systemd(3, DOWN, UP))
    orders.start([unit], wait=wait)
    assert fake.told("start") == 4
    fake = on(monkeypatch, Systemd(3, UP, DOWN))
    orders.ensure_stopped([unit], wait=wait)
    assert fake.told("stop") == 4


@pytest.mark.parametrize("state", [UP, STARTS], ids=["it runs", "it is queued"])
def test_what_was_heard_though_the_answer_was_lost(monkeypatch: pytest.MonkeyPatch, state: dict[str, str]) -> None:
    """Once is enough."""
    fake = on(monkeypatch, Systemd(9, state, UP))
    orders.start([WORKER])
    assert fake.told("start") == 1


@pytest.mark.parametrize("state", [FAILED, CRASHING], ids=["failed", "crashing"])
def test_a_program_that_fails_is_not_started_again(monkeypatch: pytest.MonkeyPatch, state: dict[str, str]) -> None:
    """systemd has heard well: the verdict is about the release."""
    fake = on(monkeypatch, Systemd(9, state, UP))
    with pytest.raises(HostError, match="exit status 1"):
        orders.start([SERVICE])
    assert fake.told("start") == 1


@pytest.mark.parametrize(
    ("unit", "state"),
    [(SOCKET, FAILED), (SERVICE, CUT_SHORT), (SERVICE, CUT_SHORT_AGAIN)],
    ids=["a socket", "219/CGROUP", "219/CGROUP, to be started again"],
)
def test_a_set_up_that_systemd_cut_short_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, unit: str, state: dict[str, str]
) -> None:
    """Nothing of the app's has run yet."""
    fake = on(monkeypatch, Systemd(2, state, UP))
    orders.start([unit])
    assert (fake.told("start"), fake.told("reset-failed")) == (3, 2)


def test_nobody_is_told_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds it is an error with what systemctl said; at once where there is no such unit."""
    fake = on(monkeypatch, Systemd(10**6, DOWN, UP))
    with pytest.raises(HostError) as caught:
        orders.start([SOCKET])
    assert 10 <= fake.now < 12
    assert "Message recipient" in caught.value.logs[0]
    fake = on(monkeypatch, Systemd(10**6, UP, DOWN))
    with pytest.raises(HostError, match="did not stop"):
        orders.ensure_stopped([SOCKET])
    fake = on(monkeypatch, Systemd(10**6, DOWN, UP))
    with pytest.raises(HostError):
        orders.reload()
    for status in (5, systemd.TIMED_OUT):
        fake = on(monkeypatch, Systemd(9, DOWN, UP, status=status))
        with pytest.raises(HostError):
            orders.start([SOCKET])
        assert fake.told("start") == 1


def test_a_name_that_a_dead_unit_has_is_freed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its reset; where another unit names it, by taking its file away; never what somebody else has written."""
    monkeypatch.setattr(orders, "_TRANSIENT", tmp_path)
    fake = on(monkeypatch, Systemd(0, FAILED, DOWN))
    orders.ensure_free("deployer-shop.service")
    assert fake.orders == []
    path = tmp_path / "deployer-shop.service"
    path.touch()
    fake.loaded = {"LoadState": "loaded", "FragmentPath": str(path)}
    assert orders.occupant("deployer-shop.service") == path
    orders.ensure_free("deployer-shop.service")
    assert not path.exists()
    assert [order[0] for order in fake.orders] == ["reset-failed", "daemon-reload"]
    other = tmp_path / "of the admin" / "deployer-shop.service"
    other.parent.mkdir()
    other.touch()
    fake.loaded["FragmentPath"] = str(other)
    with pytest.raises(HostError) as caught:
        orders.ensure_free("deployer-shop.service")
    assert str(other) in caught.value.message
    assert other.exists()


def test_a_job_that_runs_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its unit is no dead one."""
    path = tmp_path / "deployer-shop.service"
    path.touch()
    monkeypatch.setattr(orders, "_TRANSIENT", tmp_path)
    fake = on(monkeypatch, Systemd(0, UP, UP))
    fake.loaded = {"LoadState": "loaded", "FragmentPath": str(path)}
    orders.ensure_free("deployer-shop.service")
    assert path.exists()
    assert fake.orders == []


def test_a_job_whose_unit_stays_active_without_it_makes_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An admin has set RemainAfterExit: the unit is stopped, if it is ours, and its name is free then."""
    monkeypatch.setattr(orders, "_TRANSIENT", tmp_path)
    hollow = {"ActiveState": "active", "SubState": "exited"}
    fake = on(monkeypatch, Systemd(0, hollow, {**DOWN, "LoadState": "not-found"}))
    fake.loaded = {"LoadState": "loaded", "FragmentPath": str(tmp_path / "deployer-shop.service")}
    orders.ensure_free("deployer-shop.service")
    assert fake.orders == [["stop", "deployer-shop.service"], ["reset-failed", "deployer-shop.service"]]
    fake = on(monkeypatch, Systemd(0, hollow, DOWN))
    fake.loaded = {"LoadState": "loaded", "FragmentPath": "/etc/systemd/system/deployer-shop.service"}
    with pytest.raises(HostError, match="has the name under which deployer runs its own unit"):
        orders.ensure_free("deployer-shop.service")
    assert fake.told("stop") == 0


class Answers:
    """A systemd that shows what it is told to, and takes every order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **shown: str) -> None:
        self.shown = shown
        self.asked: list[list[str]] = []
        monkeypatch.setattr(runner, "run", self.run)

    def run(self, argv: Sequence[str], **_: Any) -> runner.CommandResult:
        words = list(argv)
        self.asked.append(words)
        if words[1] != "show":
            return runner.CommandResult(0, "", "")
        names, units = words[3].split(","), words[4:]
        one = "".join(f"{name}={self.shown.get(name, '')}\n" for name in names)
        return runner.CommandResult(0, "\n".join(one for _ in units), "")

    @property
    def orders(self) -> list[list[str]]:
        return [words[1:] for words in self.asked if words[1] != "show"]


@pytest.mark.parametrize("state", ["active", "reloading", "activating"])
def test_the_handle_of_an_app_that_counts_as_started_is_left_alone(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """A start that is under way is not waited for: it may be waiting for us."""
    fake = Answers(monkeypatch, ActiveState=state)
    orders.ensure_started("shop")
    assert fake.orders == []
    assert fake.asked[0][-1] == "shop.service"


@pytest.mark.parametrize("state", ["inactive", "failed", "deactivating"])
def test_the_handle_of_an_app_counts_as_started_once_something_serves(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """It is waited for: a stop that cut it short would find nothing to stop."""
    fake = Answers(monkeypatch, ActiveState=state)
    orders.ensure_started("shop")
    assert fake.orders == [["start", "shop.service"]]


@pytest.mark.parametrize(
    ("load", "outdated", "reloads"),
    [("loaded", "no", 0), ("loaded", "yes", 1), ("not-found", "no", 1), ("bad-setting", "no", 1)],
)
def test_all_units_are_read_anew_only_where_one_is_not_as_it_is_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, load: str, outdated: str, reloads: int
) -> None:
    """A daemon-reload holds up everything on the host for a moment."""
    fake = Answers(monkeypatch, LoadState=load, NeedDaemonReload=outdated)
    orders.ensure_loaded([SOCKET, SERVICE])
    assert fake.orders == [["daemon-reload"]] * reloads
    assert fake.asked[0][1:] == ["show", "-p", "LoadState,NeedDaemonReload", SOCKET, SERVICE]


@pytest.mark.parametrize(
    ("load", "active", "orders_given"),
    [
        ("not-found", "inactive", []),
        ("not-found", "failed", [["reset-failed", SOCKET, SERVICE]]),
        ("loaded", "inactive", [["reset-failed", SOCKET, SERVICE], ["daemon-reload"]]),
        ("loaded", "failed", [["reset-failed", SOCKET, SERVICE], ["daemon-reload"]]),
    ],
)
def test_what_is_gone_from_the_disk_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, load: str, active: str, orders_given: list[list[str]]
) -> None:
    """That a unit has failed is what systemd remembers longest. Of what it has forgotten it need not be told."""
    fake = Answers(monkeypatch, LoadState=load, ActiveState=active)
    orders.ensure_forgotten([SOCKET, SERVICE])
    assert fake.orders == orders_given
    assert fake.asked[0][1:] == ["show", "-p", "LoadState,ActiveState", SOCKET, SERVICE]


@pytest.mark.parametrize(
    ("load", "active", "path", "found"),
    [
        ("loaded", "inactive", "/run/systemd/transient/x.service", True),
        ("loaded", "failed", "/etc/systemd/system/a=b.service", True),
        ("loaded", "active", "/run/systemd/transient/x.service", False),
        ("loaded", "deactivating", "/run/systemd/transient/x.service", False),
        ("not-found", "inactive", "/run/systemd/transient/x.service", False),
        ("loaded", "inactive", "", False),
    ],
)
def test_who_has_a_name_is_found(
    monkeypatch: pytest.MonkeyPatch, load: str, active: str, path: str, found: bool
) -> None:
    """Only what is dead and still loaded is in the way; its file says whose it is."""
    fake = Answers(monkeypatch, LoadState=load, ActiveState=active, FragmentPath=path)
    assert orders.occupant("x.service") == (Path(path) if found else None)
    assert fake.asked[0][1:] == ["show", "-p", "LoadState,ActiveState,SubState,FragmentPath", "x.service"]
    assert orders.is_transient(Path(path)) is path.startswith("/run/systemd/transient/")


class Refuses:
    """A systemd that takes no order, unless it ``obeys``; units stay as they are: as ``states`` has them by name, or as
    all others are ``shown``. ``calls``: each order, and the seconds it may take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **shown: str) -> None:
        self.shown, self.now = shown, 0.0
        self.states: dict[str, dict[str, str]] = {}
        self.obeys: Callable[[list[str]], object] | None = None
        self.calls: list[tuple[list[str], float]] = []
        monkeypatch.setattr(runner, "run", self.run)
        monkeypatch.setattr(orders, "time", self)

    def run(self, argv: Sequence[str], *, timeout: float = 90, **_: Any) -> runner.CommandResult:
        words = list(argv)[1:]
        if words[0] == "show":
            states = [self.states.get(unit, self.shown) for unit in words[3:]]
            blocks = ["".join(f"{name}={state.get(name, '')}\n" for name in words[2].split(",")) for state in states]
            return runner.CommandResult(0, "\n".join(blocks), "")
        self.calls.append((words, timeout))
        if self.obeys is None:
            return runner.CommandResult(1, "", "no")
        self.obeys(words)
        return runner.CommandResult(0, "", "")

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert len(self.calls) < 1000, "it goes on for ever"
        self.now += seconds


@pytest.mark.parametrize(("given", "mode", "seconds"), [
    ({}, [], 90), ({"timeout": 7}, [], 7), ({"wait": True}, [], 90), ({"wait": False, "timeout": 7}, ["--no-block"], 7),
])  # fmt: skip
@pytest.mark.parametrize("order", [orders.start, orders.stop, orders.ensure_stopped])
def test_an_order_is_given_in_full_for_some_seconds(
    monkeypatch: pytest.MonkeyPatch, order: Callable[..., Any], given: dict[str, Any], mode: list[str], seconds: float
) -> None:
    """Each time to all units, waited for as the caller said; the last time when the seconds are over, and not after."""
    starts = order is orders.start
    fake = Refuses(monkeypatch, ActiveState="inactive" if starts else "active")
    with contextlib.suppress(HostError):
        order([SERVICE, WORKER], **given)
    verb = "start" if starts else "stop"
    assert [call for call in fake.calls if call[0][0] == verb] == [([verb, *mode, SERVICE, WORKER], seconds)] * 41
    resets = [words for words, _ in fake.calls if words[0] == "reset-failed"]
    assert resets == ([["reset-failed", SERVICE, WORKER]] * 40 if starts else [])
    assert fake.now == 10


def test_what_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """All units of the order, and what systemctl said."""
    Refuses(monkeypatch, ActiveState="failed", SubState="failed", Result="exit-code")
    with pytest.raises(HostError) as caught:
        orders.start([SERVICE, WORKER])
    assert caught.value.message == f"systemctl start {SERVICE} {WORKER} failed (exit status 1)"
    assert list(caught.value.logs) == ["no"]


def test_only_what_is_down_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else was started meanwhile keeps its count of failures."""
    fake = Refuses(monkeypatch, ActiveState="inactive")
    fake.states[WORKER] = {"ActiveState": "active"}
    with pytest.raises(HostError):
        orders.start([SERVICE, WORKER])
    assert [words for words, _ in fake.calls][:2] == [["start", SERVICE, WORKER], ["reset-failed", SERVICE]]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_stop_of_what_has_ended_is_not_repeated(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Though systemctl says that it failed: nothing runs."""
    fake = Refuses(monkeypatch, ActiveState=state)
    assert orders.stop([SERVICE]) == []
    assert len(fake.calls) == 1


def test_the_handle_of_an_app_has_a_minute_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may find much to put right."""
    fake = Refuses(monkeypatch, ActiveState="inactive")
    orders.ensure_started("shop")
    assert fake.calls == [(["start", "shop.service"], 60)]


@pytest.mark.parametrize("vanishes", [False, True])
def test_a_dead_unit_of_ours_gives_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vanishes: bool) -> None:
    """Its file goes, even where somebody else was quicker; another unit's is not touched."""
    ours, other = tmp_path / "deployer-shop.service", tmp_path / "other.service"
    ours.touch()
    other.touch()
    monkeypatch.setattr(orders, "_TRANSIENT", tmp_path)
    fake = Refuses(monkeypatch, LoadState="not-found")
    for path in (ours, other):
        fake.states[path.name] = {"LoadState": "loaded", "ActiveState": "failed", "FragmentPath": str(path)}
    fake.obeys = lambda words: ours.unlink() if vanishes and words[0] == "reset-failed" else None
    orders.ensure_free(ours.name)
    assert [words for words, _ in fake.calls] == [["reset-failed", ours.name], ["daemon-reload"]]
    assert (ours.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize(("wait", "mode"), [(True, []), (False, ["--no-block"])])
def test_a_stop_is_told_of_all_units_and_waited_for_as_long_as_was_asked(
    monkeypatch: pytest.MonkeyPatch, wait: bool, mode: list[str]
) -> None:
    """With the caller's own time; 90 seconds where none is given. What goes on running is named."""
    for asked, seconds in (({}, 90), ({"timeout": 7}, 7)):
        fake = Refuses(monkeypatch, ActiveState="active", SubState="running")
        assert orders.stop([SERVICE, WORKER], wait=wait, **asked) == [SERVICE, WORKER]  # type: ignore[arg-type]
        assert fake.calls[0] == (["stop", *mode, SERVICE, WORKER], seconds)
        assert len(fake.calls) > 10
        fake = Refuses(monkeypatch, ActiveState="active", SubState="running")
        with pytest.raises(HostError, match=rf"^systemd did not stop {SERVICE}, {WORKER}$"):
            orders.ensure_stopped([SERVICE, WORKER], wait=wait, **asked)  # type: ignore[arg-type]
        assert fake.calls[0] == (["stop", *mode, SERVICE, WORKER], seconds)
    fake = Refuses(monkeypatch, ActiveState="active")
    assert orders.stop([SERVICE]) == [SERVICE]
    assert fake.calls[0][0] == ["stop", SERVICE]


@pytest.mark.parametrize(
    ("state", "waiting", "telling"),
    [
        ("active", True, True), ("activating", True, True), ("reloading", True, True), ("deactivating", True, False),
        ("inactive", False, False), ("failed", False, False),
    ],
)  # fmt: skip
def test_what_is_on_its_way_down_has_been_told(
    monkeypatch: pytest.MonkeyPatch, state: str, waiting: bool, telling: bool
) -> None:
    """Whoever waits for its end has not got it yet; what has ended is no hindrance to anybody."""
    Refuses(monkeypatch, ActiveState=state)
    assert orders.stop([SERVICE], wait=True) == ([SERVICE] if waiting else [])
    assert orders.stop([SERVICE], wait=False) == ([SERVICE] if telling else [])


@pytest.mark.parametrize(
    ("state", "up"),
    [("active", True), ("activating", True), ("reloading", True), ("deactivating", False), ("inactive", False)],
)
def test_what_is_on_its_way_up_has_heard_its_start(monkeypatch: pytest.MonkeyPatch, state: str, up: bool) -> None:
    """Though the answer was lost; what is on its way down has not."""
    fake = Refuses(monkeypatch, ActiveState=state, SubState=state)
    if up:
        orders.start([WORKER])
        assert len(fake.calls) == 1
    else:
        with pytest.raises(HostError, match=rf"^systemctl start {WORKER} failed"):
            orders.start([WORKER])


def test_units_that_are_not_read_anew_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries, with what was asked of systemd."""
    fake = Refuses(monkeypatch)
    with pytest.raises(HostError, match=r"^systemctl daemon-reload failed \(exit status 1\)$") as caught:
        orders.reload()
    assert list(caught.value.logs) == ["no"]
    assert [words for words, _ in fake.calls] == [["daemon-reload"]] * 41
    assert fake.now == 10


def test_somebody_else_s_unit_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the name under which ours would run: that is told, with what to type, and nothing is removed."""
    path = "/etc/systemd/system/deployer-shop.service"
    fake = Refuses(monkeypatch, LoadState="loaded", ActiveState="failed", FragmentPath=path)
    with pytest.raises(HostError) as caught:
        orders.ensure_free("deployer-shop.service")
    assert caught.value.message == f"{path} has the name under which deployer runs its own unit"
    assert caught.value.state == "nothing was touched"
    assert f"on the host, as root: rm {path}; systemctl daemon-reload" in str(caught.value.next)
    assert fake.calls == [(["reset-failed", "deployer-shop.service"], 90)]


def test_a_command_that_the_host_cannot_even_start_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaning up goes on; a signal handler asks for it, too."""

    def fails(*_: Any, **__: Any) -> runner.CommandResult:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(runner, "run", fails)
    done = systemd.systemctl("stop", SERVICE)
    assert (done.status, "allocate" in done.err) == (systemd.TIMED_OUT, True)


def test_a_command_is_not_begun_twice_whose_start_was_heard_late(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its unit's directory came after it had been looked for: it is a migration that has been run."""
    mark, asked = tmp_path / "run/deployer-shop-migrate", []

    def stream(argv: Sequence[str], _: Any, **__: Any) -> int:
        asked.append(argv)
        return 1  # the first is lost sight of, the second is told that the name is taken

    def begins(_: float) -> None:
        mark.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(transient.orders, "is_known", lambda _: False)
    monkeypatch.setattr(transient.orders, "ensure_free", lambda _: None)
    monkeypatch.setattr(transient.runner, "stream", stream)
    monkeypatch.setattr(
        transient.systemd, "show", lambda _: systemd.UnitState("inactive", "dead", "success", 0, 0, 0, 0.0)
    )
    monkeypatch.setattr(transient.systemd, "systemctl", lambda *_: runner.CommandResult(0, "", ""))
    monkeypatch.setattr(transient.time, "sleep", begins)
    ctx: Any = Mock(paths=Mock(root=tmp_path))
    assert transient.run_unit(ctx, "deployer-shop-migrate.service", [], ["true"], print) == (0, True)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("end", "told", "expected"),
    [
        (systemd.UnitEnd("exit-code", status=3), 1, 3),
        (systemd.UnitEnd("signal", signal=15), 1, 15),
        (systemd.UnitEnd("timeout", status=0), 0, 1),
        (systemd.UnitEnd(""), 255, 255),
        (systemd.UnitEnd(""), 0, 1),
    ],
    ids=[
        "an exit status",
        "a signal",
        "it ended well, but late",
        "nobody knows",
        "nobody knows, and who waited ended well",
    ],
)
def test_a_command_that_has_failed_never_has_the_status_0(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: systemd.UnitEnd, told: int, expected: int
) -> None:
    """Its unit's own status counts, or the signal's number, before what systemd-run says."""
    monkeypatch.setattr(transient.orders, "is_known", lambda _: False)
    monkeypatch.setattr(transient.orders, "ensure_free", lambda _: None)
    monkeypatch.setattr(transient.runner, "stream", lambda *_, **__: told)
    failed = systemd.UnitState("failed", "failed", end.result, 0, 0, 0, 0.0)
    monkeypatch.setattr(transient.systemd, "show", lambda _: failed)
    monkeypatch.setattr(transient.systemd, "end_of", lambda _: end)
    monkeypatch.setattr(transient.systemd, "systemctl", lambda *_: runner.CommandResult(0, "", ""))
    ctx: Any = Mock(paths=Mock(root=tmp_path))
    assert transient.run_unit(ctx, "deployer-shop-migrate.service", [], ["true"], print) == (expected, True)


UNIT = "deployer-shop-migrate.service"
GOOD, BAD = (systemd.UnitState(state, "dead", "", 0, 0, 0, 0.0) for state in ("inactive", "failed"))


class Runs:
    """What is done about a unit while ``run_unit`` runs a command in it; each try makes its directory, or does not, and
    leaves the unit in one of ``states``. One that runs already may make it until it is stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, states: Sequence[systemd.UnitState]) -> None:
        self.steps: list[str] = []
        self.states = list(states)
        self.mark = root / "run/deployer-shop-migrate"
        self.begins = True
        monkeypatch.setattr(transient.orders, "ensure_free", lambda unit: self.steps.append(f"free {unit}"))
        monkeypatch.setattr(transient.runner, "stream", self.stream)
        monkeypatch.setattr(transient.systemd, "show", lambda _: self.states.pop(0))
        monkeypatch.setattr(transient.systemd, "systemctl", self.systemctl)
        monkeypatch.setattr(transient.systemd, "end_of", lambda _: systemd.UnitEnd("exit-code", status=3))
        monkeypatch.setattr(transient.time, "sleep", lambda _: None)
        self.ctx: Any = Mock(paths=Mock(root=root))

    def systemctl(self, verb: str, unit: str) -> None:
        self.steps.append(f"{verb} {unit}")
        if verb == "stop":
            self.mark.mkdir(parents=True, exist_ok=True)

    def stream(self, *_: Any, **__: Any) -> int:
        self.steps.append("run")
        assert not self.mark.exists()
        if self.begins:
            self.mark.mkdir(parents=True)
            (self.mark / "left").touch()
        return 0

    def run(self) -> tuple[int, bool]:
        return transient.run_unit(self.ctx, UNIT, [], ["true"], print)


@pytest.mark.parametrize("known", [True, False])
def test_what_has_the_name_of_a_command_is_stopped_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: bool
) -> None:
    """Where nothing has it, one question is enough; a command that has succeeded leaves nothing to be reset."""
    monkeypatch.setattr(transient.orders, "is_known", lambda unit: known and unit == UNIT)
    runs = Runs(monkeypatch, tmp_path, [GOOD])
    assert runs.run() == (0, True)
    assert runs.steps == [*([f"stop {UNIT}", f"free {UNIT}"] if known else []), "run"]
    assert not runs.mark.exists()


def test_a_second_try_stops_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first may have been heard after all: only the name of a dead unit is freed."""
    monkeypatch.setattr(transient.orders, "is_known", lambda _: False)
    runs = Runs(monkeypatch, tmp_path, [GOOD] * 10)
    runs.begins = False
    assert runs.run() == (0, False)
    assert runs.steps == ["run", *[f"free {UNIT}", "run"] * 9, f"reset-failed {UNIT}"]


@pytest.mark.parametrize("state", [BAD, HostError("systemd does not answer")], ids=["it failed", "nobody knows"])
def test_a_unit_that_may_have_failed_is_reset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: systemd.UnitState | HostError
) -> None:
    """systemd would keep it as failed; its directory goes with all that the command has left in it."""

    def show(_: str) -> systemd.UnitState:
        if isinstance(state, HostError):
            raise state
        return state

    monkeypatch.setattr(transient.orders, "is_known", lambda _: False)
    runs = Runs(monkeypatch, tmp_path, [])
    monkeypatch.setattr(transient.systemd, "show", show)
    with contextlib.suppress(HostError):
        assert runs.run() == (3, True)
    assert runs.steps == ["run", f"reset-failed {UNIT}"]
    assert not runs.mark.exists()


@pytest.mark.parametrize(("load", "known"), [("loaded", True), ("masked", True), ("not-found", False)])
def test_a_unit_is_known_that_systemd_has_loaded(monkeypatch: pytest.MonkeyPatch, load: str, known: bool) -> None:
    """Or that it was told never to start."""
    Refuses(monkeypatch, LoadState=load)
    assert orders.is_known(UNIT) is known
