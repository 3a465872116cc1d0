"""The simulated host itself: without faults it behaves as a real one does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.host import service as unit_service
from deployer.host.errors import HostError
from deployer.host.job import queue
from deployer.host.state import lease, masking
from deployer.host.state.content import contents
from deployer.host.state.content.damage import mark_damaged
from deployer.host.state.content.records import Record
from deployer.host.state.content.store import Store
from deployer.host.state.paths import AppPaths
from deployer.host.system import files
from tests.host.simulation import rules, service
from tests.host.simulation.faults import Kill, PowerCut
from tests.host.simulation.host import Outcome, SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


def test_a_good_release_serves(host: SimulatedHost) -> None:
    """Deploy, reload and rollback end well, and leave nothing but what they should."""
    assert host.deploy(text="one").exit == 0
    assert host.web.current() == 1
    assert host.deploy(text="two").exit == 0
    assert host.reload(env={"A": "1"}).exit == 0
    assert host.rollback().exit == 0
    host.recover()
    assert list(rules.in_the_end(host)) == []
    assert host.web.current() == 4
    assert host.web.answered > 100


@pytest.mark.parametrize("code", service.BEHAVIOURS[1:])
def test_a_bad_release_does_not(host: SimulatedHost, code: str) -> None:
    """Refused before the switch, or taken back after it."""
    assert host.deploy(text="one").exit == 0
    outcome = host.deploy(code)
    assert outcome.exit == (5 if code in service.NEVER_HEALTHY else 6), outcome
    host.recover()
    assert list(rules.in_the_end(host)) == []
    assert host.web.current() == 1


def test_code_that_lost_its_seal_is_not_taken_from_under_what_runs(host: SimulatedHost) -> None:
    """The same code again is built beside it, not in its place."""
    assert host.deploy(text="one").exit == 0
    (seal,) = host.paths.trees.glob("*.json")
    seal.write_text("spoilt")
    assert host.deploy(text="one").exit == 0
    assert (host.paths.releases / "v1/code").resolve().is_dir()
    assert (host.paths.releases / "v1/code").resolve() != (host.paths.releases / "v2/code").resolve()


@pytest.mark.parametrize("what", ["trees", "venvs"])
@pytest.mark.parametrize("how", ["its seal is spoilt", "it is known to be damaged"])
def test_content_in_use_is_never_rebuilt_in_place(host: SimulatedHost, what: str, how: str) -> None:
    """The same again is built beside it: what runs from it keeps every file that it has."""
    assert host.deploy(text="one").exit == 0
    store = Store(getattr(host.paths, what))
    (key,) = store.all_keys()
    if how == "its seal is spoilt":
        store.seal_path(key).write_text("spoilt")
    else:
        mark_damaged(store, key, "in a test")
    before = {path: path.stat().st_ino for path in store.path(key).rglob("*")}
    assert host.deploy(text="one").exit == 0
    assert {path: path.stat().st_ino for path in store.path(key).rglob("*")} == before
    assert len(store.all_keys()) == 2


def rebuilt(host: SimulatedHost, release: Path) -> None:
    """Other code under the same key, under a seal of its own that fits it."""
    store, key = Store(host.paths.trees), (release / "code").resolve().name
    (release / "code/app.py").write_text("# another\n")
    place = os.fsencode(store.path(key))
    text = Record(contents.digests(place, contents.listing(place), {})).text
    store.sums_path(key).write_bytes(text)
    record = {**(store.record(key) or {}), "sums": contents.text_digest(text)}
    store.seal_path(key).write_text(json.dumps(record))


DAMAGE: dict[str, Callable[[SimulatedHost, Path], object]] = {
    "a file of the code": lambda host, release: (release / "code/app.py").write_text("# another\n"),
    "a file of the environment": lambda host, release: (release / "venv/bin/gunicorn").write_text("another\n"),
    "the variables": lambda host, release: (release / "env").write_text("A=1\n"),
    "the code, rebuilt in place": rebuilt,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_switched_to_and_is_not_what_it_was_is_taken_back(host: SimulatedHost, damage: str) -> None:
    """The power goes right after the switch, and the disk comes back with something else: the old release serves."""
    assert host.deploy(text="one").exit == 0
    with host.suffering():
        assert host.deploy(text="two").exit == 0
        trace = list(host.programs.trace)
    switch = next(one.number for one in trace if one.words[1:] == (str(host.paths.current),))
    boot = host.systemd.boot

    def damaged() -> None:
        DAMAGE[damage](host, host.paths.release(3))
        boot()

    host.systemd.boot = damaged  # type: ignore[method-assign]
    with host.suffering(PowerCut(switch + 3)):
        host.deploy(text="three")
    host.recover()
    assert host.web.current() == 2
    assert rules.record(host, 3)["result"] == "rolled back"
    assert list(rules.in_the_end(host, tidy=False)) == []


def test_an_upload_that_is_running_is_not_swept(host: SimulatedHost) -> None:
    """Another laptop's, however long ago its last byte came; one that nobody sends is."""
    sent, left = (host.paths.incoming / f"{digit * 64}.part" for digit in "ab")
    for path in (sent, left):
        path.write_bytes(b"half")
        os.utime(path, (host.clock.wall - 3600, host.clock.wall - 3600))
    descriptor = files.lock(sent)
    assert descriptor is not None
    try:
        assert host.deploy(text="one").exit == 0
        assert (sent.exists(), left.exists()) == (True, False)
    finally:
        os.close(descriptor)
    assert host.deploy(text="two").exit == 0
    assert not sent.exists()


def test_the_turn_of_one_who_waits_is_not_swept(host: SimulatedHost) -> None:
    """Another laptop stands in line while a deploy runs and clears up; a ticket that nobody holds is thrown away."""
    left = host.paths.tickets / "00000007"
    left.touch()
    with queue.ticket(host.paths.tickets) as own:
        assert host.deploy(text="one").exit == 0
        assert own.exists()
    assert not left.exists()


def test_nothing_begins_that_nobody_would_look_after(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the dead-man's switch a candidate would outlive its lease: the deploy is refused before it does anything;
    what is to be put right does not wait for the switch."""
    assert host.deploy(text="one").exit == 0

    def fails(_: AppPaths) -> None:
        raise HostError("systemd did not start the timer")

    with monkeypatch.context() as patched:
        patched.setattr(lease, "start_watchdog", fails)
        outcome = host.deploy(text="two")
        assert (outcome.exit, outcome.failure["state"]) == (5, "nothing was touched")
        assert "did not start the timer" in outcome.failure["message"]
        assert host.doctor_fix().exit == 0
    assert host.web.current() == 1
    assert host.deploy(text="two").exit == 0


SECRET = {"env": {"TOKEN": "a very secret word"}, "secret": ["TOKEN"]}


@pytest.mark.parametrize("command", ["systemctl reload", "rollback", "fab reload"])
def test_a_secret_stays_one(host: SimulatedHost, command: str) -> None:
    """Whatever makes the next release of it: its value is masked in what that one prints, too."""
    assert host.deploy(text="one", **SECRET).exit == 0
    if command == "systemctl reload":
        assert host.programs.run("shop.service", lambda: unit_service.reload(host.context(lambda *_, **__: None))) == 0
    elif command == "rollback":
        assert host.deploy(text="two").exit == 0
        assert host.rollback().exit == 0
    else:
        assert host.reload(**SECRET).exit == 0
    number = host.web.current()
    assert rules.record(host, number)["kind"] in command
    assert "a very secret word" in masking.stored_values(host.paths, number)


def everything_told(host: SimulatedHost, outcome: Outcome) -> str:
    """To whoever asked, and to whoever follows the job later; what is kept as the reason, too."""
    logs = [path.read_text() for path in host.paths.jobs.glob("*/events.jsonl")]
    records = [path.read_text() for path in host.paths.releases.glob("v*/release.json")]
    return "\n".join([json.dumps(outcome.events), *logs, *records, host.ledger.decode(), *host.systemd.told])


ENDS: dict[str, tuple[int, dict[str, Any]]] = {
    "it serves": (0, {}),
    "it is not healthy": (5, {"code": service.BROKEN}),
    "it crashes": (5, {"code": service.CRASHES}),
    "it dies once it serves": (6, {"code": service.DIES_LATER}),
    "its worker dies": (6, {"code": service.WORKER_DIES}),
    "its build fails": (5, {"build": ["false"]}),
    "its migration fails": (5, {"migrate": "false"}),
}


@pytest.mark.parametrize("end", ENDS)
def test_no_secret_is_told(host: SimulatedHost, end: str) -> None:
    """However a release ends: what its commands and processes print, and where its answers lead, is masked."""
    exit, settings = ENDS[end]
    assert host.deploy(text="one", env={"A": "1"}).exit == 0
    host.systemd.prints = ["the token is: a very secret word"]
    host.web.leads_to = "/a very secret word"
    outcome = host.deploy(text="two", **SECRET, **settings)
    assert outcome.exit == exit, outcome
    told = everything_told(host, outcome)
    assert "the token is: ****" in told
    assert told.count("a very secret word") == 0
    if exit:
        assert outcome.failure["logs"][-1] == "the token is: ****"
    if settings.get("code") == service.BROKEN:
        assert "answered 500 to /****" in outcome.failure["message"]


def test_no_secret_is_told_by_a_deploy_that_goes_on(host: SimulatedHost) -> None:
    """Its job was killed: whoever takes it up again has no request with secrets in it, and knows them all the same."""
    assert host.deploy(text="one").exit == 0
    host.systemd.prints = ["the token is: a very secret word"]
    with host.suffering():
        assert host.deploy(service.DIES_LATER, **SECRET).exit == 6
        switch = next(one.number for one in host.programs.trace if one.words[1:] == (str(host.paths.current),))
    with host.suffering(Kill(switch + 3)):
        outcome = host.deploy(service.DIES_LATER, text="two", **SECRET)
    host.recover()
    assert host.web.current() == 1
    told = everything_told(host, outcome)
    assert "the token is: ****" in told
    assert "a very secret word" not in told


CHANGED: dict[str, Any] = {
    "drain": 7,
    "watch": 5,
    "keep": 9,
    "overlap": False,
    "health": {"path": "/other", "host": "localhost", "status": [[200, 299]], "timeout": 6, "settle": 2},
    "processes": [],
    "timers": [],
    "web": {"server": "gunicorn", "target": "app:app", "workers": 3, "args": [], "memory": 0, "unit": {}},
    "migrate": "other",
}


@pytest.mark.parametrize("setting", CHANGED)
def test_a_reload_takes_every_setting_of_today(host: SimulatedHost, setting: str) -> None:
    """Only the code, and how it was built, are those of the release that serves."""
    assert host.deploy(text="one").exit == 0
    before = rules.record(host, 1)["spec"]
    assert host.reload(**{setting: CHANGED[setting]}).exit == 0
    found = rules.record(host, 2)
    assert found["spec"] == {**before, setting: CHANGED[setting]}
    assert not found["same"]


def test_a_job_is_on_the_disk_before_it_begins(host: SimulatedHost) -> None:
    """Were its directory lost with the power, nobody would know after it that something is to be put right."""
    with host.suffering():
        assert host.deploy(text="one").exit == 0
        trace = list(host.programs.trace)
    written = [one.number for one in trace if one.what == "fsync" and one.words == (str(host.paths.jobs),)]
    begun = [one.number for one in trace if "Description=deployer job" in " ".join(one.words)]
    assert written
    assert written[0] < begun[0]


def test_the_power_goes_while_a_killed_job_is_put_right(host: SimulatedHost) -> None:
    """Twice struck, the second time before the disk has all of the clearing up: the boot sees to the rest."""
    assert host.deploy(text="one").exit == 0
    with host.suffering():
        assert host.deploy(text="two").exit == 0
        trace = list(host.programs.trace)
    built = next(one.number for one in trace if one.what == "waits")
    for later in range(2, 30, 3):
        with host.suffering(Kill(built), PowerCut(built + later, forgets=True)):
            host.deploy(text=f"three {later}")
        host.recover()
        assert list(rules.in_the_end(host, tidy=False)) == []
