"""What a host finds when it looks at itself: each thing that is not as it should be, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from deployer.host.deployment.failures import Failures
from deployer.host.errors import HostError
from deployer.host.proxy.site import PROOF_SOCKET
from deployer.host.recovery import debris, survey
from deployer.host.recovery.survey import (
    COMPLETE_LEDGER,
    DISCARD,
    FINISH,
    REMOVE,
    REMOVE_DEBRIS,
    ROLL_BACK,
    START,
    STOP,
)
from deployer.host.state.app import Context
from deployer.host.state.ledger import Ledger
from deployer.host.state.releases import FAILED, READY, ROLLING_BACK, SERVED
from deployer.host.system import systemd
from tests.host.simulation.host import SimulatedHost
from tests.host.simulation.saved import Saved, two_releases

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


@pytest.fixture(scope="module")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return two_releases(tmp_path_factory.mktemp("two") / "disk")


@pytest.fixture
def host(_two: Saved) -> Iterator[SimulatedHost]:
    """v2 serves, and v1 did before it."""
    with _two.again() as host:
        yield host


@pytest.fixture
def ctx(host: SimulatedHost) -> Context:
    return host.context(lambda *_, **__: None)


def steps(ctx: Context) -> list[tuple[str, int]]:
    return [(step.do, step.number) for step in survey.plan(survey.inspect(ctx))]


def becomes(result: str, held: Any = None) -> Callable[[SimulatedHost, Context], object]:
    """v2, which serves, is recorded otherwise."""
    return lambda host, ctx: ctx.catalog.update(ctx.catalog.get(2), result=result, phase="switch", held=held)


def was(result: str) -> Callable[[SimulatedHost, Context], object]:
    """v1, which served before, is recorded otherwise."""
    return lambda host, ctx: ctx.catalog.update(ctx.catalog.get(1), result=result)


def units_of_one(host: SimulatedHost, ctx: Context) -> None:
    for path in ctx.paths.units.glob("shop-*@v2.*"):
        path.with_name(path.name.replace("v2", "v1")).write_text(path.read_text())


def silent_job(host: SimulatedHost, ctx: Context) -> None:
    (ctx.paths.jobs / "00000099").mkdir()


def killed_check(host: SimulatedHost, ctx: Context) -> None:
    ctx.paths.socket(2).with_name(PROOF_SOCKET).touch()


def unfinished_job(host: SimulatedHost, ctx: Context) -> None:
    (ctx.paths.jobs / "00000099").mkdir()
    (ctx.paths.jobs / "00000099/events.jsonl").write_bytes(b'{"event":"phase.started"}\n')


def stopped(host: SimulatedHost, ctx: Context) -> None:
    host.systemctl("stop", "shop.service")


def both(
    one: Callable[[SimulatedHost, Context], object], other: Callable[[SimulatedHost, Context], object]
) -> Callable[[SimulatedHost, Context], object]:
    return lambda host, ctx: (one(host, ctx), other(host, ctx))


LEASE = {"boot": "boot 1", "until": 1e9}
WRONG: dict[str, tuple[Callable[[SimulatedHost, Context], object], list[tuple[str, int]], bool]] = {
    "nothing": (lambda host, ctx: None, [], False),
    "what serves was not judged": (becomes(SERVED), [(FINISH, 2)], True),
    "what serves was being taken back": (becomes(ROLLING_BACK), [(ROLL_BACK, 2)], True),
    "what serves is held": (becomes(SERVED, LEASE), [], False),
    "what serves is held, and its standby": (both(becomes(SERVED, LEASE), units_of_one), [], False),
    "its lease is over": (becomes(SERVED, {**LEASE, "until": 1.0}), [(FINISH, 2)], True),
    "its lease is of another boot": (becomes(SERVED, {**LEASE, "boot": "boot 0"}), [(FINISH, 2)], True),
    "what serves was not judged, and is stopped": (both(becomes(SERVED), stopped), [], False),
    "an older one has not ended": (was(READY), [(DISCARD, 1)], True),
    "an older one has not ended, and all is stopped": (both(was(READY), stopped), [(DISCARD, 1)], True),
    "an older one was switched to": (was(SERVED), [(REMOVE, 1)], True),
    "an older one still has units": (units_of_one, [(STOP, 1)], True),
    "a file was cut short": (lambda host, ctx: (ctx.paths.home / ".x.tmp").touch(), [(REMOVE_DEBRIS, 0)], False),
    "a check of the site was killed": (killed_check, [(REMOVE_DEBRIS, 0)], False),
    "a job never said a word": (silent_job, [(REMOVE_DEBRIS, 0)], True),
    "a job never ended": (unfinished_job, [], True),
    "the ledger lacks a line": (lambda host, ctx: ctx.ledger.add("begun", 1.0, release="v3"),
                                [(COMPLETE_LEDGER, 3)], True),
    "an admin has stopped it": (stopped, [], False),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_each_thing_that_is_wrong_has_its_step(host: SimulatedHost, ctx: Context, wrong: str) -> None:
    """And whether a recovery is needed is known without looking for all of it."""
    make, planned, needed = WRONG[wrong]
    make(host, ctx)
    assert steps(ctx) == planned
    assert survey.is_needed(ctx) is needed


@pytest.mark.parametrize("kind", ["web@v2.socket", "worker@v2.service", "tick@v2.timer"])
@pytest.mark.parametrize("state", ["inactive", "failed", "queued"])
def test_a_unit_that_must_be_up_is_missed(host: SimulatedHost, ctx: Context, kind: str, state: str) -> None:
    """Whichever it is; one that is about to start is not. What cannot be read is told by its socket alone."""
    unit = host.table.units[f"shop-{kind}"]
    unit.active, unit.job = ("inactive", "start") if state == "queued" else (state, "")
    down = state != "queued"
    assert survey.inspect(ctx).down is down
    assert steps(ctx) == ([(START, 2)] if down else [])
    (ctx.paths.release(2) / "release.json").write_text("{")
    assert survey.inspect(ctx).down is (down and kind == "web@v2.socket")


def test_a_web_process_that_nobody_has_called_yet_is_not_missed(host: SimulatedHost, ctx: Context) -> None:
    """Its socket starts it; and where nothing is current nothing is missed."""
    host.systemctl("stop", "shop-web@v2.service")
    assert not survey.inspect(ctx).down
    ctx.paths.current.unlink()
    assert (survey.inspect(ctx).current, survey.inspect(ctx).down) == (0, False)


def test_all_that_is_there_is_seen(host: SimulatedHost, ctx: Context) -> None:
    """Releases, units, litter, gaps: what serves is known though its directory has no record that can be read."""
    (ctx.paths.home / ".x.tmp").touch()
    units_of_one(host, ctx)
    ctx.ledger.add("begun", 1.0, release="v7")
    (ctx.paths.releases / "v5").mkdir()
    ctx.catalog.update(ctx.catalog.get(1), result=FAILED)
    found = survey.inspect(ctx)
    assert found == survey.Survey(
        current=2,
        releases=(ctx.catalog.get(1), ctx.catalog.get(2)),
        held=frozenset(),
        units=frozenset({1, 2}),
        debris=found.debris,
        open=frozenset({7}),
        down=False,
        wanted=True,
    )
    names = {path.relative_to(ctx.paths.home).parts[0] for path in found.debris}
    assert {".x.tmp", "releases"} <= names
    assert ctx.paths.releases / "v5" in found.debris
    assert not {ctx.paths.release(2), ctx.paths.release(1)} & set(found.debris)
    (ctx.paths.release(2) / "release.json").unlink()
    assert ctx.paths.release(2) not in survey.inspect(ctx).debris


def test_leases_count_unless_they_are_not_to(host: SimulatedHost, ctx: Context) -> None:
    """Only of what has not ended; an abort looks through them."""
    becomes(SERVED, LEASE)(host, ctx)
    ctx.catalog.update(ctx.catalog.get(1), held=LEASE)
    assert survey.inspect(ctx).held == {2}
    assert survey.inspect(ctx, leases=True).held == {2}
    assert survey.inspect(ctx, leases=False).held == frozenset()


BLIND: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "units": (debris, "units", {"units": frozenset()}),
    "debris": (debris, "find", {"debris": ()}),
    "open": (Ledger, "open_numbers", {"open": frozenset()}),
    "down": (systemd, "show_all", {"down": False, "wanted": True}),
    "wanted": (systemd, "was_stopped", {"wanted": True}),
}


@pytest.mark.parametrize("what", BLIND)
def test_what_cannot_be_seen_is_left_out_of_the_plan(
    host: SimulatedHost, ctx: Context, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """All else is seen as before, and the failure is kept by its name; who keeps none hears of it."""
    stopped(host, ctx)
    (ctx.paths.home / ".x.tmp").touch()
    ctx.ledger.add("begun", 1.0, release="v7")
    before = survey.inspect(ctx)
    assert before.down and before.debris and before.open and not before.wanted and before.units

    def blind(*_: Any, **__: Any) -> Any:
        raise HostError("no answer")

    module, name, values = BLIND[what]
    monkeypatch.setattr(module, name, blind)
    with pytest.raises(HostError, match="no answer"):
        survey.inspect(ctx)
    failures = Failures(ctx)
    assert survey.inspect(ctx, failures=failures) == replace(before, **values)
    assert [error.message for error in failures.found] == [f"inspecting the host ({what}): no answer"]
