"""What a host keeps of an app's environment: taken by each release, and changed by one only when that is good."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deployer.host.state.operator import environment
from tests.host.simulation import service
from tests.host.simulation.faults import Kill, PowerCut
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.laptop import line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


def change(put: dict[str, str] | None = None, *remove: str, version: int = -1) -> dict[str, Any]:
    return {"put": put or {}, "remove": list(remove), "version": version}


def stage(host: SimulatedHost, put: dict[str, str] | None = None, *remove: str, version: int = -1) -> Outcome:
    return host.session(line({"op": "stage", "change": change(put, *remove, version=version), "by": "bob@laptop"}))


def answer(host: SimulatedHost, op: str, **asked: Any) -> dict[str, Any]:
    outcome = host.session(line({"op": op, **asked}))
    assert outcome.events[-1]["event"] == "answer", outcome
    return outcome.events[-1]


def kept(host: SimulatedHost) -> dict[str, str]:
    found: dict[str, str] = answer(host, "variables", names=[])["kept"]
    return found


def serves(host: SimulatedHost) -> dict[str, str]:
    """The environment of what serves."""
    found: dict[str, str] = json.loads((host.paths.release(host.web.current()) / "env.json").read_text())
    return found


def sources(host: SimulatedHost) -> dict[str, tuple[str, ...]]:
    return environment.sources_of(host.paths, host.web.current())


def test_a_release_takes_what_the_host_keeps_and_records_where_it_is_from(host: SimulatedHost) -> None:
    """The host's own wins over all that the laptop sends; what it hides is recorded. It is masked from then on."""
    assert stage(host, {"KEY": "of the host", "ONLY": "here"}).exit is None
    sent = {"env": {"KEY": "of the file", "PLAIN": "1"}, "sources": {"KEY": ["env_file", "env"]}}
    assert host.deploy(**sent).exit == 0
    assert serves(host) == {"KEY": "of the host", "ONLY": "here", "PLAIN": "1"}
    assert sources(host) == {"KEY": ("host", "env_file", "env"), "ONLY": ("host",), "PLAIN": ("env",)}
    secret = json.loads((host.paths.release(1) / "secret.json").read_text())
    assert secret == ["KEY", "ONLY"]


def test_what_is_kept_is_root_s_alone(host: SimulatedHost) -> None:
    """And so is what a release records of it."""
    stage(host, {"KEY": "x"})
    assert host.deploy().exit == 0
    assert host.reload(change=change({"KEY": "y"})).exit == 0
    files = [host.paths.environment, *(host.paths.release(2) / name for name in ("env", "env.json", "sources.json"))]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    assert not (host.paths.release(2) / "change.json").exists()


def test_a_change_comes_with_a_release_that_is_good(host: SimulatedHost) -> None:
    """What it does not name stays, with who set it and when."""
    stage(host, {"A": "1", "B": "2", "C": "3"})
    assert host.deploy().exit == 0
    assert host.reload(change=change({"B": "two", "D": "4"}, "C")).exit == 0
    assert kept(host) == serves(host) == {"A": "1", "B": "two", "D": "4"}
    rows = {row["name"]: row for row in answer(host, "environment", salt="0" * 32)["variables"]}
    assert {name: row["by"] for name, row in rows.items()} == {"A": "bob@laptop", "B": "ada@laptop", "D": "ada@laptop"}


@pytest.mark.parametrize("code", [service.BROKEN, service.CRASHES])
def test_a_change_of_a_release_that_is_refused_is_nowhere(host: SimulatedHost, code: str) -> None:
    """Neither in what is kept, nor in what serves, nor in what is left of the release."""
    stage(host, {"A": "1"})
    assert host.deploy(text="one").exit == 0
    (
        host.paths.trees / json.loads((host.paths.release(1) / "release.json").read_text())["tree"] / service.FILE
    ).write_text(f"{code}\n")
    outcome = host.reload(change=change({"A": "hunter2", "B": "2"}))
    assert outcome.exit == 5
    assert kept(host) == serves(host) == {"A": "1"}
    assert "hunter2" not in json.dumps(outcome.events)
    assert [path.name for path in host.paths.release(2).iterdir()] == ["release.json"]


def test_a_fleet_that_undoes_a_change_leaves_what_was_kept(host: SimulatedHost) -> None:
    """The host was through its watch, and waited for the others."""
    stage(host, {"A": "1"})
    assert host.deploy().exit == 0
    outcome = host.fleet(host.reload, {"keep": "undo"}, change=change({"A": "2"}))
    assert outcome.exit == 6
    assert kept(host) == serves(host) == {"A": "1"}


def test_two_people_do_not_take_each_others_changes_back(host: SimulatedHost) -> None:
    """What one stages while the other's change is on its way is refused; what was staged before is taken by it."""
    assert host.deploy().exit == 0
    stage(host, {"MINE": "1"})
    assert host.reload(change=change({"YOURS": "2"})).exit == 0
    assert kept(host) == serves(host) == {"MINE": "1", "YOURS": "2"}


def test_a_change_of_what_was_seen_is_refused_once_that_is_another(host: SimulatedHost) -> None:
    """A push removes what its author never saw otherwise. A change by name alone goes through."""
    stage(host, {"A": "1"})
    assert host.deploy().exit == 0
    seen = answer(host, "environment", salt="0" * 32)["version"]
    stage(host, {"B": "2"})
    for outcome in (stage(host, {}, "A", version=seen), host.reload(change=change({}, "A", version=seen))):
        assert outcome.exit == 5
        assert "somebody else has changed the environment" in outcome.failure["message"]
        assert outcome.failure["state"].startswith(("nothing was touched", "v1 serves"))
    assert kept(host) == {"A": "1", "B": "2"}
    assert host.web.current() == 1
    assert host.reload(change=change({}, "A")).exit == 0
    assert kept(host) == serves(host) == {"B": "2"}


def test_a_required_variable_that_is_missing_is_found_by_the_host_too(host: SimulatedHost) -> None:
    """The laptop looks first; somebody may have taken it away in between. No release is made."""
    outcome = host.deploy(required=["KEY", "OTHER"], env={"OTHER": ""})
    assert outcome.exit == 5
    assert outcome.failure["message"].endswith("KEY, OTHER")
    assert host.ask()["next"] == 1
    stage(host, {"KEY": "1", "OTHER": "2"})
    assert host.deploy(required=["KEY", "OTHER"]).exit == 0


def test_a_rollback_has_its_own_values_and_says_which_differ(host: SimulatedHost) -> None:
    """By name. What is kept stays, and the next release takes it."""
    stage(host, {"A": "1", "B": "same"})
    assert host.deploy(text="one").exit == 0
    assert host.reload(change=change({"A": "hunter2", "C": "3"})).exit == 0
    outcome = host.rollback(to=1)
    assert outcome.exit == 0
    told = [event["text"] for event in outcome.events if event["event"] == "warn"]
    assert [text for text in told if "differ from those set on this host: A, C;" in text]
    assert "hunter2" not in json.dumps(outcome.events)
    assert serves(host) == {"A": "1", "B": "same"}
    assert kept(host) == {"A": "hunter2", "B": "same", "C": "3"}
    assert host.reload().exit == 0
    assert serves(host) == kept(host)


def test_an_admins_reload_keeps_the_environment_as_it_is(host: SimulatedHost) -> None:
    """`systemctl reload` reuses all parts of what serves: what is staged waits for a release of a laptop's."""
    from deployer.host import service as unit_service

    stage(host, {"A": "1"})
    assert host.deploy().exit == 0
    stage(host, {"A": "2"})
    assert host.programs.run("shop.service", lambda: unit_service.reload(host.context(lambda *_, **__: None))) == 0
    assert serves(host) == {"A": "1"}
    assert sources(host) == {"A": ("host",)}
    assert kept(host) == {"A": "2"}


def test_no_answer_but_one_has_values(host: SimulatedHost) -> None:
    """What tells where variables come from has marks; the values are for who asks for them."""
    stage(host, {"A": "hunter2"})
    assert host.deploy(env={"PLAIN": "seen", "FILE": "hunter3"}, secret=["FILE"]).exit == 0
    stage(host, {"A": "hunter4"})
    told = answer(host, "environment", salt="0" * 32)
    assert "hunter" not in json.dumps(told)
    rows = {row["name"]: row for row in told["variables"]}
    assert rows["PLAIN"]["value"] == "seen"
    assert (rows["A"]["serves"] == rows["A"]["kept"], rows["A"]["sources"]) == (False, ["host"])
    assert "hunter" not in json.dumps(host.ask())
    assert answer(host, "variables", names=["A", "FILE", "NONE"]) == {
        "event": "answer", "version": 2, "kept": {"A": "hunter4"}, "serves": {"A": "hunter2", "FILE": "hunter3"},
    }  # fmt: skip


def test_what_is_kept_and_damaged_is_said_with_what_to_do(host: SimulatedHost) -> None:
    """No release takes it for nothing; questions are answered all the same, and a rollback works."""
    stage(host, {"A": "1"})
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two").exit == 0
    host.paths.environment.write_text("{")
    outcome = host.reload()
    assert outcome.exit == 5
    assert "environment.json is damaged" in outcome.failure["message"]
    assert "fab env.push FILE" in outcome.failure["next"]
    assert host.web.current() == 2
    assert host.ask()["current"] == "v2"
    assert host.rollback().exit == 0
    assert serves(host) == {"A": "1"}


BOUNDARIES = range(0, 400, 7)
"""Every seventh change of a reload: the steps beside them differ by a file that is written or a link that is made."""


@pytest.mark.parametrize("accident", [Kill, PowerCut])
def test_what_is_kept_goes_with_what_serves_wherever_it_dies(tmp_path: Path, accident: Any) -> None:
    """The host program is killed, or the power goes, at any step of a change: afterwards the host keeps the change if,
    and only if, the release that serves has it."""
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        stage(host, {"A": "0"})
        assert host.deploy().exit == 0
        with host.suffering():
            assert host.reload(change=change({"A": "1"})).exit == 0
            steps = len(host.programs.trace)
        ends = set()
        for number, step in enumerate(one for one in BOUNDARIES if one < steps):
            value = f"value {number}"
            with host.suffering(accident(step)):
                host.reload(change=change({"A": value}))
            host.recover()
            assert serves(host)["A"] == kept(host)["A"], f"after {accident.__name__} at {step}"
            ends.add(kept(host)["A"] == value)
        assert ends == {True, False}
