"""What a fleet says to one of its hosts: a request with barriers, words over the same stream, a place in the line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.job import events, lock, queue
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.releases import FAILED, Release
from deployer.host.state.releases import GOOD as KEPT
from deployer.host.system import proc, runner
from deployer.wire.protocol import BARRIERS, MOST_MISSED, PHASES, Exit
from deployer.wire.release.spec import Spec
from tests.host.asking import BODY, GOOD, SPEC, Host, line, make_host, refused

FLEET = {**GOOD, "barriers": list(BARRIERS), "number": 7}
HOLD, KEEP = {"op": "hold"}, {"op": "go", "barrier": "keep"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return make_host(tmp_path, monkeypatch)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ends once all words are heard that came with its request."""

    def follow(*_: Any) -> Iterator[dict[str, Any]]:
        for thread in threading.enumerate():
            if thread.name == "signals":
                thread.join(10)
                assert not thread.is_alive()
        yield {"event": "finished"}

    monkeypatch.setattr(events, "follow", follow)


def directory(host: Host) -> Path:
    (found,) = host.paths.jobs.iterdir()
    return found


def words(host: Host) -> list[str]:
    return sorted(path.name for path in directory(host).iterdir() if path.name.startswith(("go-", "heard", "abort")))


def told(host: Host) -> list[str]:
    return [event["event"] for event in host.events]


def say(*messages: Any) -> bytes:
    return b"".join(one if isinstance(one, bytes) else line(one) for one in messages)


# requests

GOOD_BARRIERS = [[], ["migrate"], ["switch", "keep"], ["check", "switch", "keep"], list(BARRIERS)]


@pytest.mark.parametrize("barriers", GOOD_BARRIERS, ids=[" ".join(one) or "none" for one in GOOD_BARRIERS])
@pytest.mark.parametrize("number", [0, 1, 7, 1 + MOST_MISSED])
@pytest.mark.usefixtures("job")
def test_barriers_and_a_number_go_with_a_request(host: Host, barriers: list[str], number: int) -> None:
    """Any of the barriers in their order, and any number: the job finds both."""
    assert host.serve(say({**GOOD, "barriers": barriers, "number": number}, BODY)) == Exit.OK
    stored = json.loads((directory(host) / "request.json").read_text())
    assert (stored["barriers"], stored["number"]) == (barriers, number)


@pytest.mark.parametrize("phases", [PHASES[:6], PHASES[:-1], PHASES[:1]], ids=lambda phases: phases[-1])
def test_barriers_go_with_all_phases(host: Host, phases: Sequence[str]) -> None:
    """Who runs phases one by one has them in his own hand: there is nothing to wait for."""
    failed = refused(host, say({**FLEET, "phases": list(phases)}, BODY))
    assert "barriers" in failed["message"]


# words


@pytest.mark.usefixtures("job")
def test_a_sign_of_life_is_answered(host: Host) -> None:
    """Each once, and the lease begins anew; the job's own events go on beside it."""
    assert host.serve(say(FLEET, BODY, HOLD, HOLD)) == Exit.OK
    assert told(host) == ["following", "holding", "holding", "finished"]
    assert words(host) == ["heard"]
    assert float((directory(host) / "heard").read_text()) > 0


@pytest.mark.parametrize("barrier", BARRIERS)
@pytest.mark.usefixtures("job")
def test_go_is_written_down(host: Host, barrier: str) -> None:
    """For that barrier and no other. It is a sign of life as well, and not answered: the job's next event does that."""
    assert host.serve(say(FLEET, BODY, {"op": "go", "barrier": barrier})) == Exit.OK
    assert words(host) == [f"go-{barrier}", "heard"]
    assert told(host) == ["following", "finished"]


@pytest.mark.usefixtures("job")
def test_what_is_said_after_all_is_over_is_no_request(host: Host) -> None:
    """A word that came too late, or anything else, is not taken for a request of its own."""
    assert host.serve(say(FLEET, BODY, HOLD, {"op": "ask"}, {"op": "status"}, {"op": "abort", "by": "ada"})) == Exit.OK
    assert told(host) == ["following", "holding", "finished"]
    assert not any("stop" in command for command in host.commands)


GARBLED = {
    "not JSON": b"hello\n",
    "a list": b"[]\n",
    "cut short": b'{"op":"hold"',
    "too deep": b"[" * 100_000 + b"\n",
}
NONSENSE = {
    "go where": line({"op": "go"}),
    "go nowhere": line({"op": "go", "barrier": "drain"}),
    "go elsewhere": line({"op": "go", "barrier": "../../../etc/x"}),
    "go and more": line({"op": "go", "barrier": "switch", "more": 1}),
    "go to a list": line({"op": "go", "barrier": ["switch"]}),
    "undo by nobody": line({"op": "undo", "why": "it failed"}),
    "undo by two lines": line({"op": "undo", "by": "a\nb", "why": "it failed"}),
    "undo and more": line({"op": "undo", "by": "ada", "why": "it failed", "job": "00000009"}),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.usefixtures("job")
def test_a_word_that_is_not_understood_is_passed_over(
    host: Host, monkeypatch: pytest.MonkeyPatch, nonsense: bytes
) -> None:
    """It is not obeyed, and the next one is heard: it may be the one that takes everything back."""
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    assert host.serve(say(FLEET, BODY, HOLD, nonsense, KEEP)) == Exit.OK
    assert words(host) == ["go-keep", "heard"]
    assert not any("stop" in command for command in host.commands)
    assert died == []


@pytest.mark.parametrize("nonsense", GARBLED.values(), ids=GARBLED.keys())
@pytest.mark.usefixtures("job")
def test_what_is_no_message_is_the_last_word(host: Host, monkeypatch: pytest.MonkeyPatch, nonsense: bytes) -> None:
    """It is not obeyed, and nothing after it is; the job is followed to its end. No thread dies of it."""
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    assert host.serve(say(FLEET, BODY, HOLD, nonsense, KEEP)) == Exit.OK
    assert told(host) == ["following", "holding", "finished"]
    assert words(host) == ["heard"]
    assert not any("stop" in command for command in host.commands)
    assert died == []


@pytest.mark.usefixtures("job")
def test_a_word_that_finds_the_disk_full_is_not_the_last(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host still answers, and hears the word that takes everything back."""
    monkeypatch.setattr("deployer.host.deployment.barrier.os.replace", _no_room)
    undone: list[str] = []
    monkeypatch.setattr(lock, "abort", lambda _, by, job, why: undone.append(why))
    assert host.serve(say(FLEET, BODY, HOLD, HOLD, KEEP, {"op": "undo", "by": "ada", "why": "web2: full"})) == Exit.OK
    assert told(host) == ["following", "holding", "holding", "finished"]
    assert undone == ["web2: full"]
    assert "go-keep" in words(host)


def _no_room(source: str, target: str) -> None:
    if target.endswith("heard"):
        raise OSError(28, "No space left on device")
    Path(source).rename(target)


ENDED: list[int] = []
"""The processes that were sent a SIGTERM."""


def _runs(monkeypatch: pytest.MonkeyPatch, host: Host, *names: str) -> None:
    """Have a job run under the app's lock, the one of that directory; of several, each is seen once, the last for
    good."""
    real, left = runner.run, [*names]

    def run(argv: Sequence[str], **options: Any) -> runner.CommandResult:
        done = real(argv, **options)
        if not host.started or "show" not in argv:
            return done
        name = left.pop(0) if len(left) > 1 else left[0]
        shown = f"ActiveState=active\nDescription=deployer job {name}: deploy shop\nMainPID={int(name)}\n"
        return runner.CommandResult(0, shown, "")

    def terminate(pid: int, still: Callable[[], bool]) -> bool:
        if not still():
            return False
        ENDED.append(pid)
        return True

    ENDED.clear()
    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(proc, "terminate", terminate)


@pytest.mark.usefixtures("job")
def test_undo_ends_its_own_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is told; why is written where the job looks for it before it tells."""
    _runs(monkeypatch, host, "00000001")
    assert host.serve(say(FLEET, BODY, {"op": "undo", "by": "ada@laptop", "why": "web2: it failed"})) == Exit.OK
    assert ENDED == [1]
    written = json.loads((directory(host) / "abort.json").read_text())
    assert (written["by"], written["why"]) == ("ada@laptop", "web2: it failed")


@pytest.mark.usefixtures("job")
def test_undo_ends_no_other_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own may have made way for the next meanwhile: that one is not stopped, and listening goes on."""
    (host.paths.jobs / "00000001").mkdir()
    _runs(monkeypatch, host, "00000001")
    assert host.serve(say(FLEET, BODY, {"op": "undo", "by": "ada", "why": "late"}, HOLD)) == Exit.OK
    assert ENDED == []
    assert not list(host.paths.jobs.glob("*/abort.json"))
    assert "holding" in told(host)


@pytest.mark.parametrize("looks", [1, 2])
@pytest.mark.usefixtures("job")
def test_an_abort_hits_no_job_that_comes_meanwhile(host: Host, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """The job that it looked at ends, and the next person's begins under the same name, at whatever moment."""
    assert host.serve(say(FLEET, BODY)) == Exit.OK
    for number in (2, 3):
        (host.paths.jobs / f"{number:08d}").mkdir()
    _runs(monkeypatch, host, *["00000002"] * looks, "00000003")
    ctx = Context(paths=host.paths, settings=AppSettings("deploy", "www-data"), emit=print, clock=lambda: 0.0)
    with pytest.raises(HostError, match="no deploy is running"):
        lock.abort(ctx, "ada")
    assert ENDED == []


REASONS: dict[str, tuple[Any, str]] = {
    "lines": ("web2: it failed\nsecond line\r\n", "web2: it failed second line"),
    "a terminal's colours": ("web2: \x1b[31mred", "web2:  [31mred"),
    "half a character": ("web2: \udcff", "web2:"),
    "a long one": ("x" * 9000, "x" * 2000),
    "none": (None, ""),
    "a number": (7, ""),
}


@pytest.mark.parametrize(("why", "written"), REASONS.values(), ids=REASONS.keys())
@pytest.mark.usefixtures("job")
def test_undo_is_not_refused_for_its_wording(
    host: Host, monkeypatch: pytest.MonkeyPatch, why: Any, written: str
) -> None:
    """It quotes whatever failed on another host. Refused, it would leave this one on the new release alone."""
    _runs(monkeypatch, host, "00000001")
    assert host.serve(say(FLEET, BODY, {"op": "undo", "by": "ada", "why": why})) == Exit.OK
    assert ENDED == [1]
    assert json.loads((directory(host) / "abort.json").read_text())["why"] == written


@pytest.mark.usefixtures("job")
def test_a_job_without_barriers_has_no_words(host: Host) -> None:
    """What follows its request is the next request, as ever."""
    assert host.serve(say(GOOD, BODY, KEEP)) == Exit.USAGE
    assert told(host) == ["following", "finished", "failed", "finished"]
    assert words(host) == []


@pytest.mark.usefixtures("job")
def test_whoever_attaches_can_give_the_words(host: Host) -> None:
    """A laptop whose connection was cut goes on where it was; to follow a job without barriers gives nothing."""
    for name, barriers in (("00000001", ["switch", "keep"]), ("00000002", [])):
        (host.paths.jobs / name).mkdir()
        (host.paths.jobs / name / "request.json").write_text(json.dumps({"kind": "deploy", "barriers": barriers}))
        (host.paths.jobs / name / "events.jsonl").write_text("{}\n")
    assert host.serve(say({"op": "attach", "job": "00000001"}, HOLD, KEEP)) == Exit.OK
    assert told(host) == ["following", "holding", "finished"]
    assert (host.paths.jobs / "00000001" / "go-keep").exists()
    assert host.serve(say({"op": "attach", "job": "00000002"}, KEEP)) == Exit.USAGE
    assert not (host.paths.jobs / "00000002" / "go-keep").exists()


# a place in the line


def test_the_first_need_not_wait(host: Host) -> None:
    """Nothing runs and nobody is ahead: it is answered at once, and the place is given back at the end."""
    assert host.serve(say({"op": "wait", "queue": False})) == Exit.OK
    assert told(host) == ["answer"]
    assert list(host.paths.tickets.iterdir()) == []


def test_with_somebody_ahead_it_is_busy(host: Host) -> None:
    """Exit code 4 at once, and no place is kept; the other one's is."""
    with queue.ticket(host.paths.tickets) as other:
        assert host.serve(say({"op": "wait", "queue": False})) == Exit.BUSY
        assert list(host.paths.tickets.iterdir()) == [other]
    assert told(host) == ["failed", "finished"]
    assert "busy" in host.events[0]["message"]
    assert host.events[0]["state"] == "nothing was touched"


def test_while_a_job_runs_it_is_busy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4 at once, with who it is."""
    running = {"by": "bob@desk", "kind": "deploy", "since": 0.0, "phase": "build", "waits": "", "job": "00000001"}
    monkeypatch.setattr(lock, "running", lambda _: running)
    assert host.serve(say({"op": "wait", "queue": False})) == Exit.BUSY
    assert "bob@desk" in host.events[0]["message"]
    assert list(host.paths.tickets.iterdir()) == []


@pytest.mark.parametrize("message", [{}, {"queue": 1}, {"queue": None}, {"queue": True, "more": 1}], ids=str)
def test_a_place_is_asked_for_strictly(host: Host, message: dict[str, Any]) -> None:
    """Whether to wait or not must be said."""
    refused(host, say({"op": "wait", **message}))


# what a fleet must agree on


def _release(host: Host, result: str, digest: str, **more: Any) -> Release:
    spec = {**SPEC, "source": {**SPEC["source"], "digest": digest * 64}}
    made = host.catalog.create(more.pop("kind", "deploy"), more.pop("of", 0), "ada", 0.0, Spec.parse(spec))
    return host.catalog.update(made, result=result, **more)


def _answer(host: Host) -> dict[str, Any]:
    assert host.serve(say({"op": "ask"})) == Exit.OK
    return host.events[0]


def test_a_host_without_releases_says_so(host: Host) -> None:
    """The first number is the next one, and there is nothing to go back to."""
    found = _answer(host)
    assert (found["next"], found["target"], found["usable"]) == (1, "", {})


def test_what_a_host_tells_of_its_releases(host: Host) -> None:
    """The next number counts failed ones, too; only good ones can be gone back to, the newest before what serves."""
    for result, digest in ((KEPT, "a"), (KEPT, "b"), (FAILED, "c"), (KEPT, "d"), (FAILED, "e")):
        _release(host, result, digest)
    host.paths.current.symlink_to("releases/v4")
    found = _answer(host)
    assert found["next"] == 6
    assert found["target"] == "v2"
    assert found["usable"] == {"v1": "a" * 64, "v2": "b" * 64, "v4": "d" * 64}


def test_a_release_that_is_known_to_be_damaged_is_passed_by(host: Host) -> None:
    """A rollback goes to the next older one, and says what is wrong; it can be gone back to by no name either."""
    _release(host, KEPT, "a")
    _release(host, KEPT, "b", tree="b" * 64)
    _release(host, KEPT, "c")
    host.paths.current.symlink_to("releases/v3")
    found = _answer(host)
    assert (found["target"], found["passed"]) == ("v1", {"v2": "its code is gone from the host"})
    assert list(found["usable"]) == ["v1", "v3"]


def test_a_number_of_the_fleet_is_taken(host: Host) -> None:
    """It skips those that the host has missed, counts from then on, and is never given twice nor gone below."""
    _release(host, KEPT, "a")
    made = host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC), 7)
    assert (made.name, _answer(host)["next"]) == ("v7", 8)
    for number in (1, 6, 7):
        before = host.files()
        with pytest.raises(lock.HostError, match=f"has made v{number} here"):
            host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC), number)
        assert host.files() == before
    assert host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC)).name == "v8"


def test_a_fleet_that_comes_too_late_is_refused_before_it_sends(host: Host) -> None:
    """Another fleet has used the number since this one asked: that is busy, no failure, and no job begins."""
    host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC), 7)
    assert host.serve(say(FLEET, BODY)) == Exit.BUSY
    failed = next(event for event in host.events if event["event"] == "failed")
    assert "another command was quicker, and has made v7 here" in failed["message"]
    assert failed["state"] == "nothing was touched"
    assert not host.paths.jobs.exists() or not list(host.paths.jobs.iterdir())
