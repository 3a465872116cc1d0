"""The plan that puts a host right: what is done about each kind of attempt that died, and about nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.recovery import survey as module
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
    Survey,
    plan,
)
from deployer.host.state.releases import (
    FAILED,
    GOOD,
    INTERRUPTED,
    PREPARING,
    READY,
    ROLLED_BACK,
    ROLLING_BACK,
    SERVED,
    Release,
)
from deployer.wire.protocol import PHASES
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC

WELL = Release(number=1, kind="deploy", of=0, by="ada", at=0.0, spec=Spec.parse(SPEC), result=GOOD, phase="watch")


def attempt(result: str, phase: str = "", previous: int = 1) -> Release:
    return replace(WELL, number=2, result=result, phase=phase, previous=previous)


def found(*releases: Release, current: int = 1, **changes: Any) -> Survey:
    """A host on which v1 serves."""
    survey = Survey(
        current=current,
        releases=(WELL, *releases),
        held=frozenset(),
        units=frozenset({current}),
        debris=(),
        open=frozenset(),
        down=False,
        wanted=True,
    )
    return replace(survey, **changes)


def done(survey: Survey) -> list[tuple[str, int]]:
    return [(step.do, step.number) for step in plan(survey)]


@pytest.mark.parametrize("result", [GOOD, FAILED, ROLLED_BACK, INTERRUPTED])
def test_a_host_where_all_has_ended_is_left_alone(result: str) -> None:
    """Nothing is planned for a release whose story is over."""
    assert plan(found(attempt(result))) == []


@pytest.mark.parametrize("phase", ["", *PHASES[: PHASES.index("switch")]])
@pytest.mark.parametrize("result", [PREPARING, READY])
def test_before_the_switch_it_is_discarded(result: str, phase: str) -> None:
    """Wherever it died: what serves is not touched."""
    assert done(found(attempt(result, phase), units=frozenset({1, 2}))) == [(DISCARD, 2)]


@pytest.mark.parametrize("phase", ["check", "switch", "drain"])
def test_behind_the_switch_it_is_judged(phase: str) -> None:
    """Its standby keeps its units meanwhile: it may be needed."""
    assert done(found(attempt(SERVED, phase), current=2, units=frozenset({1, 2}))) == [(FINISH, 2)]


def test_between_the_record_and_the_rename() -> None:
    """The record says that it was switched to, the link does not: the link is right; but whoever waits is answered."""
    assert done(found(attempt(SERVED, "check"), units=frozenset({1, 2}))) == [(REMOVE, 2)]


def test_a_way_back_that_was_cut_short() -> None:
    """Before the rename it is gone again from its start; behind it only what is left is cleared away."""
    assert done(found(attempt(ROLLING_BACK, "drain"), current=2, units=frozenset({1, 2}))) == [(ROLL_BACK, 2)]
    assert done(found(attempt(ROLLING_BACK, "drain"), current=1, units=frozenset({1, 2}))) == [(REMOVE, 2)]


@pytest.mark.parametrize("result", [PREPARING, READY, SERVED])
def test_a_lease_protects(result: str) -> None:
    """A candidate between two phases, with its units and its line in the ledger, is not touched."""
    survey = found(attempt(result), held=frozenset({2}), units=frozenset({1, 2}), open=frozenset({2}))
    assert plan(survey) == []


def test_units_that_neither_serve_nor_stand_by_are_stopped() -> None:
    """Those of a standby go once the watch is over; those of unknown releases at once."""
    assert done(found(attempt(GOOD), current=2, units=frozenset({1, 2, 7}))) == [(STOP, 1), (STOP, 7)]


def test_debris_and_gaps_in_the_ledger() -> None:
    """Each is a step of its own; an attempt under way has no end in the ledger yet."""
    path = Path("/srv/shop/.current.tmp")
    survey = found(attempt(SERVED, "switch"), current=2, units=frozenset({2}), debris=(path,), open=frozenset({2, 9}))
    assert [(step.do, step.number, step.path) for step in plan(survey)] == [
        (REMOVE_DEBRIS, 0, path),
        (COMPLETE_LEDGER, 9, None),
        (FINISH, 2, None),
    ]


def test_what_serves_comes_first_and_what_takes_long_last() -> None:
    """An app that is down is started before anything is cleared away."""
    two, three = attempt(PREPARING), replace(attempt(READY), number=3)
    steps = done(found(two, three, down=True, units=frozenset({1, 5})))
    assert steps == [(START, 1), (DISCARD, 2), (DISCARD, 3), (STOP, 5)]


def test_what_an_admin_has_stopped_stays_stopped() -> None:
    """``systemctl stop`` is an answer, not a fault."""
    assert plan(found(down=True, wanted=False)) == []


def test_every_step_has_a_reason_for_people() -> None:
    """``fab doctor`` prints it."""
    survey = found(attempt(PREPARING), down=True, units=frozenset({1, 5}), debris=(Path("/x"),), open=frozenset({9}))
    assert all(step.why for step in plan(survey))
    assert {step.do for step in plan(survey)} <= set(module._ORDER)


HELD = {"boot": "another", "until": 0.0}


@pytest.mark.cause("interrupted-before-switch")
@pytest.mark.cause("interrupted-after-traffic")
@pytest.mark.cause("interrupted-after-switch")
@pytest.mark.cause("interrupted-rollback")
@pytest.mark.parametrize(
    ("release", "current", "do", "why"),
    [
        (attempt(PREPARING), 1, DISCARD, "v2 was interrupted at upload and has no traffic"),
        (attempt(PREPARING, "build"), 1, DISCARD, "v2 was interrupted at install and has no traffic"),
        (replace(attempt(READY, "check"), held=HELD), 1, DISCARD, "v2 was left alone after check and has no traffic"),
        (attempt(SERVED, "check"), 1, REMOVE, "v2 was interrupted at switch and has no traffic"),
        (attempt(ROLLING_BACK, "watch"), 1, REMOVE, "v2 was interrupted at watch and has no traffic"),
        (attempt(SERVED, "switch"), 2, FINISH, "v2 serves, but was interrupted at drain"),
        (attempt(READY, "watch"), 2, FINISH, "v2 serves, but was interrupted at watch"),
        (replace(attempt(SERVED, "switch"), held=HELD), 2, FINISH, "v2 serves, but was left alone after switch"),
        (attempt(ROLLING_BACK, "switch"), 2, ROLL_BACK, "v2 failed, and its rollback was interrupted"),
    ],
)  # fmt: skip
def test_each_attempt_that_died_has_one_step(release: Release, current: int, do: str, why: str) -> None:
    """With what it is about, and why, in words that ``fab doctor`` and ``fab attach`` show."""
    assert plan(found(release, current=current)) == [Repair(do, why, number=2)]


@pytest.mark.cause("release-down")
@pytest.mark.cause("units-left")
@pytest.mark.cause("files-left")
@pytest.mark.cause("ledger-without-end")
def test_what_is_left_on_a_host_is_told_by_its_name() -> None:
    """Each thing by itself: an app that is down, units, files, a line that is not there."""
    paths = (Path("/srv/shop/.x.tmp"), Path("/srv/shop/y"))
    survey = found(down=True, units=frozenset({1, 9, 5}), debris=paths, open=frozenset({8, 7}))
    assert plan(survey) == [
        Repair(START, "v1 is current and does not run", number=1),
        Repair(STOP, "units of v5, which does not serve", number=5),
        Repair(STOP, "units of v9, which does not serve", number=9),
        *(Repair(REMOVE_DEBRIS, f"{path}: left by something that was interrupted", path=path) for path in paths),
        Repair(COMPLETE_LEDGER, "the ledger does not say how v7 ended", number=7),
        Repair(COMPLETE_LEDGER, "the ledger does not say how v8 ended", number=8),
    ]


def test_what_is_switched_to_waits_for_an_admin_who_has_stopped_the_app() -> None:
    """Nobody can judge what does not run; what has no traffic is cleared away all the same."""
    survey = found(attempt(SERVED, "switch"), replace(attempt(READY), number=3), current=2, wanted=False, down=True)
    assert [(step.do, step.number) for step in plan(replace(survey, units=frozenset({2})))] == [(DISCARD, 3)]


def test_an_app_that_is_being_finished_is_not_started_besides() -> None:
    """Whoever finishes it has it run."""
    assert done(found(attempt(SERVED, "switch"), current=2, down=True, units=frozenset({2}))) == [(FINISH, 2)]
    assert done(found(current=0, down=False, units=frozenset())) == []


@pytest.mark.parametrize("result", [SERVED, ROLLING_BACK, PREPARING])
def test_a_standby_keeps_its_units_for_as_long_as_it_may_be_needed(result: str) -> None:
    """While what serves is not judged; one whose record cannot be read is no standby of anything."""
    survey = found(attempt(result, "switch", previous=1), current=2, units=frozenset({1, 2, 3}))
    assert [step.number for step in plan(survey) if step.do == STOP] == [3]
    assert [step.number for step in plan(replace(survey, releases=(WELL,))) if step.do == STOP] == [1, 3]
