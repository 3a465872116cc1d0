"""What workers and timers are judged by on real hosts sees a run that is lost or made twice, and two at a time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.faults.survey import Survey
from tests.support.jobs import Facts, never_two_at_a_time, not_once


def runs(*began: float) -> list[dict[str, Any]]:
    return [{"name": "tick", "release": "v1", "began": one} for one in began]


@pytest.mark.parametrize(
    ("began", "good"),
    [
        ((10.0, 12.3, 15.9, 16.0), True),
        ((9.99, 12.0), True),  # the kernel counts in hundredths
        ((10.0, 14.0), False),
        ((10.0, 10.4, 12.0), False),
        ((10.0, 11.9), False),
    ],
    ids=["each once", "begun in time", "one lost", "one twice", "one twice, late"],
)
def test_each_time_has_its_run(began: tuple[float, ...], good: bool) -> None:
    """Every two seconds one, however late within them."""
    assert (not_once(runs(*began), 2) == []) is good


@pytest.mark.parametrize(
    ("lives", "good"),
    [
        (((1.0, 2.0), (2.0, 3.0), (3.5, 0)), True),
        (((1.0, 2.0), (1.5, 3.0)), False),
        (((1.0, 0), (2.0, 3.0)), False),
    ],
    ids=["one after the other", "side by side", "one that never ended"],
)
def test_who_lives_at_the_same_time(lives: tuple[tuple[float, float], ...], good: bool) -> None:
    """The last may live on; nobody else may."""
    told = [{"began": began, "ended": ended} for began, ended in lives]
    if good:
        never_two_at_a_time(told)
    else:
        with pytest.raises(AssertionError):
            never_two_at_a_time(told)


def test_a_job_that_was_done_twice_is_seen() -> None:
    """And so is one that was not done at all."""
    done = [{"job": "a"}, {"job": "a"}, {"job": "b"}]
    facts = Facts(jobs=[], taken=[], done=done, lives=[], runs=[])
    assert facts.job("b") == {"job": "b"}
    for name in ("a", "c"):
        with pytest.raises(AssertionError):
            facts.job(name)


RECORD = {
    "result": "good", "tree": "", "venv": "", "web": True, "instances": ["worker", "worker.2"], "timers": ["tick"],
}  # fmt: skip
SERVICES = ["shop-web@v2.service", "shop-worker@v2.service", "shop-worker.2@v2.service"]
ACTIVE = [*SERVICES, "shop-web@v2.socket", "shop-tick@v2.timer"]


def found(**changes: Any) -> Survey:
    """A host at rest; ``changes`` to what is found there."""
    contents = ["code", "env", "env.json", "release.json", "run", "secret.json"]
    at_rest: dict[str, Any] = {
        "current": "releases/v2", "records": {"v2": RECORD}, "contents": {"v2": contents}, "trees": [], "venvs": [],
        "litter": [], "incoming": [], "links": [], "processes": [], "lock": {},
        "files": [*ACTIVE, "shop-tick@v2.service"], "stamps": ["stamp-shop-tick@v2.timer"],
        "lives": [], "runs": runs(2.0, 4.0),
        "loaded": [
            *([name, "loaded", "active", "running"] for name in ACTIVE),
            ["shop-tick@v2.service", "loaded", "inactive", "dead"],
            ["shop-worker@v1.service", "not-found", "inactive", "dead"],
            ["system-shop\\x2dworker.slice", "loaded", "active", "active"],
        ],
    }  # fmt: skip
    return Survey("shop", {**at_rest, **changes})


def loaded(name: str, active: str) -> list[list[str]]:
    """What systemd has, but for one unit that is in another state."""
    return [[name, "loaded", active, ""], *(one for one in found().found["loaded"] if one[0] != name)]


def test_a_host_at_rest_has_nothing_left_over() -> None:
    """All that the release asks for is there, and nothing else."""
    assert found().leftovers() == []
    assert found().doubled(2) == []
    assert found(loaded=loaded("shop-tick@v2.service", "activating")).leftovers() == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loaded": loaded("shop-worker.2@v2.service", "inactive")}, "not active: shop-worker.2@v2.service"),
        ({"loaded": loaded("shop-worker.2@v2.service", "deactivating")}, "not active: shop-worker.2@v2.service"),
        ({"loaded": loaded("shop-tick@v2.timer", "inactive")}, "not active: shop-tick@v2.timer"),
        ({"loaded": loaded("shop-tick@v2.service", "failed")}, "failed: shop-tick@v2.service"),
        ({"loaded": loaded("shop-worker@v1.service", "active")}, "unit: shop-worker@v1.service"),
        ({"loaded": loaded("shop-worker.3@v2.service", "active")}, "unit: shop-worker.3@v2.service"),
        ({"loaded": found().found["loaded"][1:]}, "not loaded: shop-web@v2.service"),
        ({"files": ACTIVE}, "no unit file: shop-tick@v2.service"),
        ({"files": [*found().found["files"], "shop-tick@v1.timer"]}, "unit file: shop-tick@v1.timer"),
        ({"stamps": ["stamp-shop-tick@v1.timer"]}, "stamp: stamp-shop-tick@v1.timer"),
        ({"records": {"v2": {**RECORD, "web": False}}}, "unit file: shop-web@v2.service"),
    ],
)
def test_what_should_not_be_there_is_told(changes: dict[str, Any], told: str) -> None:
    """A process or a timer that is down, one too many, one of an older release; what systemd remembers of one."""
    assert any(one.startswith(told) for one in found(**changes).leftovers()), found(**changes).leftovers()


def test_a_run_that_was_made_twice_is_told() -> None:
    """Whichever releases made it."""
    assert found(runs=runs(2.0, 3.5, 4.0)).doubled(2) == ["tick has run 2 times at once: ['v1 2.00', 'v1 3.50']"]
