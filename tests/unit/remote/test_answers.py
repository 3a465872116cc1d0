"""What a host says is taken only as far as its program could have said it; the rest names the host."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import host as host_package
from deployer.commands.inspect.releases import merge
from deployer.errors import BadAnswer, ConfigError, DeployerError, Exit, Mixed
from deployer.release import placement
from deployer.release.placement import number_of
from deployer.remote import answers, decode
from deployer.remote.console import execute
from deployer.remote.facts import Facts
from deployer.remote.job import Follower
from deployer.remote.session import Over, Remote
from deployer.wire import protocol
from deployer.wire.advice import NOTHING, Next
from deployer.wire.protocol import MOST_MISSED
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC, make_host
from tests.unit.remote.test_job import HOST, FakeChannel, FakeLink

ASK: dict[str, Any] = {
    "event": "answer", "at": 1.0, "protocol": protocol.PROTOCOL, "program": "0" * 64, "app": "shop", "current": "v1",
    "spec": SPEC, "busy": None,
    "base": {"key": "b" * 64, "digest": "d" * 64, "altered": "AQEBAQE=", "ids": "AAAAAAA="},
    "partials": {"a" * 64: 5}, "free": 1, "next": 2, "target": "", "usable": {"v1": "0" * 64}, "processes": ["web"],
}  # fmt: skip
ROW = {"number": "v1", "state": "current", "kind": "deploy", "by": "ada", "at": 1.0, "switched": 1.0, "dirty": False}
STATUS: dict[str, Any] = {
    "event": "answer",
    "status": {
        "app": "shop", "current": "v1", "standby": "", "busy": None, "healthy": True, "health": "200 in 3 ms",
        "units": [{"process": "web", "name": "shop-web@v1.service", "active": "active", "sub": "running", "pid": 7,
                   "restarts": 0, "memory": 5, "since": 1.0, "ok": True}],
        "timers": [{"process": "t", "name": "shop-t@v1.timer", "ok": True, "next": 5.0, "last": 0.0}],
        "lingering": [], "release": ROW, "last": None, "held": {"release": "v2", "seconds": 5.0},
    },
}  # fmt: skip
FINISHED = {"event": "finished", "exit": 0, "release": "v2", "serving": "v2", "seconds": 1.0, "summary": "v2 serves"}
EVIL: list[Any] = [
    "x",
    "\x1b[2J",
    -1,
    10**9,
    10**30,
    1.5,
    None,
    True,
    [],
    {},
    ["v1"],
    {"a": 1},
    "v0",
    "v1\n",
    "v" + "9" * 50,
]

ANSWERS: dict[str, type[msgspec.Struct]] = {
    "ask": answers.AskAnswer,
    "status": answers.StatusOf,
    "releases": answers.Releases,
    "history": answers.History,
    "doctor": answers.Diagnosis,
    "calendars": answers.Calendars,
    "run": answers.Run,
    "abort": answers.Aborted,
    "preview": answers.Previewed,
    "lock": answers.LockAnswer,
    "unlock": answers.LockAnswer,
    "stop": answers.Stopped,
    "start": answers.Started,
    "restart": answers.Restarted,
    "timer": answers.Run,
    "prune": answers.Prunable,
    "maintenance.on": answers.MaintenanceBegun,
    "maintenance.off": answers.MaintenanceEnded,
    "environment": answers.Environment,
    "variables": answers.Variables,
    "stage": answers.Staged,
}
"""What an answer holds, by the ``op`` of the question; to others, nothing."""


class RawChannel(FakeChannel):
    """Says bytes as they are."""

    def __init__(self, *lines: bytes) -> None:
        super().__init__()
        self.lines = list(lines)

    def readline(self, deadline: float | None = None) -> bytes:
        return self.lines.pop(0) if self.lines else b""


def remote(*lines: Any) -> Remote:
    said = [one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines]
    link: Any = FakeLink(RawChannel(*said))
    return Remote(link, "shop", lambda _: None)


def changed(value: Any, path: str, new: Any) -> Any:
    found = copy.deepcopy(value)
    *parents, last = path.split(".")
    place = found
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if new is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = new
    return found


BAD_ASK: list[tuple[str, Any]] = [
    *((key, ...) for key in ASK if key not in ("event", "at", "app", "processes")),
    *((key, value) for key in ("current", "target") for value in ("x", "v0", "v1 ", 5, None)),
    *(("next", value) for value in (0, -1, "2", 1.5, None, True, 10**9, 10**30)),
    *(("free", value) for value in (-1, "1", 1.5, None, 1 << 70)),
    ("spec", {}), ("spec", []), ("spec.web", 5), ("spec.keep", "5"), ("spec.surprise", 1),
    ("busy", []), ("busy", "ada"), ("busy", {"since": "now"}), ("busy", {"since": 1e300}), ("busy", {"job": "../x"}),
    ("base", []), ("base.ids", "???"), ("base.ids", "AAAA"), ("base.ids", 5), ("base.key", None),
    ("base.altered", "!"), ("base.altered", "AAAA"), ("base.altered", ...), ("base.digest", "d"), ("base.digest", ...),
    ("partials", []), ("partials", {"x": 1}), ("partials", {"a" * 64: -1}), ("partials", {"a" * 64: "1"}),
    ("usable", {"x": "0" * 64}), ("usable", {"v1": "x"}), ("usable", ["v1"]),
    ("processes", "web"), ("processes", [1]), ("program", 5), ("protocol", "4"), ("protocol", None), ("protocol", 4.5),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), BAD_ASK, ids=[f"{path}={value!r}"[:50] for path, value in BAD_ASK])
def test_what_a_host_says_of_itself_is_read_strictly(path: str, value: Any) -> None:
    """A key that is not there, of another type or out of all bounds: the host is named, nothing was touched."""
    with pytest.raises(BadAnswer) as caught:
        remote(changed(ASK, path, value)).ask()
    error = caught.value
    assert (error.exit, error.host, error.state) == (Exit.UNREACHABLE, HOST, "nothing was touched")
    assert error.message.startswith(f"{HOST} said what its program never says: its answer to 'ask'")
    assert Next.of(error.next).commands == ("fab setup -H root@web1",)


def test_what_a_host_says_of_itself_is_taken_as_it_is() -> None:
    """The control; a key that this version does not know is passed over."""
    facts = remote(b"Welcome to web1\n", b"{}\n", b"[1]\n", {**ASK, "more": [1]}).ask()
    assert (facts.current, facts.next, facts.free, facts.processes) == ("v1", 2, 1, ("web",))
    assert (facts.base.told, facts.base.altered) == ((bytes(5),), {b"\1" * 5})
    assert (facts.base.key, facts.base.digest, dict(facts.partials)) == ("b" * 64, "d" * 64, {"a" * 64: 5})


@pytest.mark.parametrize(("theirs", "says"), [(3, "an older"), (99, "a newer"), (-5, "an older")])
def test_another_version_is_told_as_that(theirs: int, says: str) -> None:
    """Whatever else it says: that is another version's."""
    with pytest.raises(ConfigError, match=f"was set up by {says} version"):
        remote({"event": "answer", "protocol": theirs, "next": "?"}).ask()


LINES: dict[str, bytes] = {
    "no number": b'{"event":"answer","protocol":4,"free":Infinity}\n',
    "not a number": b'{"event":"answer","protocol":NaN}\n',
    "beyond all bounds": b'{"event":"answer","protocol":1e999}\n',
    "deep": b'{"event":"answer","protocol":' + b"[" * 100_000 + b"\n",
    "deep, where nobody looks": b'{"event":"answer","x":' + b'{"x":' * 100_000 + b"\n",
    "cut": b'{"event":"answer","protocol":4\n',
    "bytes": b'{"event":"note","text":"\xff\xfe"}\n',
    "half a character": b'{"event":"note","text":"\\ud800"}\n',
    "an event that is a list": b'{"event":["answer"]}\n',
    "a digit of 5,000": b'{"event":"answer","protocol":' + b"4" * 5000 + b"}\n",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_a_line_that_is_no_event_names_its_host(line: bytes) -> None:
    """It begins as one, so it is no login banner."""
    with pytest.raises(BadAnswer):
        remote(line).ask()


@pytest.mark.parametrize("line", [b"noise\n", b"{}\n", b'{"at":1}\n', b"\xff\n", b"null\n"])
def test_once_the_host_has_spoken_all_is_an_event(line: bytes) -> None:
    """What greets comes first; later it would be something that nobody understands."""
    session = remote(line, ASK, line, ASK)
    assert session.ask().current == "v1"
    with pytest.raises(BadAnswer):
        session.ask()


BAD_EVENTS: list[dict[str, Any]] = [
    {"event": "finished"},
    *({**FINISHED, "exit": value} for value in (999, -1, "0", None, 1.5, True, 8, 10**30)),
    *({**FINISHED, "serving": value} for value in ("x", None, 5, "v0")),
    {**FINISHED, "seconds": "1"},
    {**FINISHED, "summary": ["x"]},
    {"event": "failed", "exit": 5},
    {"event": "failed", "exit": 5, "message": 5},
    {"event": "failed", "exit": 5, "message": "x", "logs": "x"},
    {"event": "failed", "exit": 5, "message": "x", "logs": [1]},
    {"event": "phase.started"},
    {"event": "phase.started", "phase": ["build"]},
    {"event": "phase.done", "phase": "build", "seconds": None},
    {"event": "switched"},
    {"event": "switched", "to": "current"},
    {"event": "logs", "unit": "web", "lines": "x"},
    {"event": "logs", "unit": "web"},
    {"event": "output", "phase": "build", "line": {}},
    {"event": "note"},
    {"event": "following"},
    {"event": "following", "job": "../../etc"},
    {"event": "note", "text": "x", "at": "now"},
    {"event": "note", "text": "x", "at": 1e300},
    {"event": "waiting", "since": -1},
]


@pytest.mark.parametrize("event", BAD_EVENTS, ids=str)
def test_an_event_that_is_none_leaves_it_unknown_what_the_host_does(event: dict[str, Any]) -> None:
    """It has the request: it may have done anything with it. It is not asked again, and not believed."""
    follower = Follower(remote(event), reconnect=lambda: pytest.fail("it is not asked again"))
    with pytest.raises(Mixed) as caught:
        follower.send({"op": "release"})
    assert caught.value.host == HOST
    assert "is not known" in caught.value.state
    assert "said what its program never says" in caught.value.message
    assert Next.of(caught.value.next).commands == ("fab setup -H root@web1",)


def test_a_host_that_talks_nonsense_during_the_upload_has_begun_with_nothing() -> None:
    """It cannot begin before it has all of it."""

    class Body:
        def read(self, _: int) -> bytes:
            raise BadAnswer.of(HOST, "nonsense")

    body: Any = Body()
    session: Any = remote()
    session._channel.write_file = lambda stream, *_: stream.read(1)
    with pytest.raises(BadAnswer) as caught:
        Follower(session, reconnect=lambda: pytest.fail("no")).send({"op": "release"}, body=body, total=10**6)
    assert caught.value.state == "nothing was touched"


@pytest.mark.parametrize("name", ["fleet.finished", "connecting", "progress", "surprise", "__class__", ""])
def test_an_event_that_no_host_tells_is_passed_over(name: str) -> None:
    """A newer host may tell more; one of the laptop's own events is not a host's to tell."""
    heard: list[Any] = []
    link: Any = FakeLink(RawChannel(*(json.dumps(one).encode() + b"\n" for one in ({"event": name, "x": 1}, ASK))))
    assert Remote(link, "shop", heard.append).ask().current == "v1"
    assert heard == []


BEGUN = {"what": "begun", "at": 1.0, "release": "v1"}
FINDING = {"kind": "down", "what": "x", "text": "y", "repair": "z", "fix": True}
QUESTIONS: dict[str, tuple[dict[str, Any], Callable[[Remote], Any]]] = {
    "status": (STATUS, lambda session: session.query({"op": "status"}, answers.StatusOf)),
    "releases": (
        {"event": "answer", "releases": [ROW]},
        lambda session: session.query({"op": "releases"}, answers.Releases),
    ),
    "history": (
        {"event": "answer", "entries": [BEGUN, {"what": "pruned", "releases": ["v1"]}]},
        lambda session: merge([], session.query({"op": "history"}, answers.History).entries),
    ),
    "doctor": (
        {"event": "answer", "current": "v1", "busy": {"by": "ada", "since": 1.0}, "findings": [FINDING]},
        lambda session: session.query({"op": "doctor", "fix": False}, answers.Diagnosis),
    ),
    "calendars": (
        {"event": "answer", "calendars": [{"calendar": "daily", "next": 1.0, "problem": ""}]},
        lambda session: session.query({"op": "calendars"}, answers.Calendars),
    ),
    "run": ({"event": "answer", "status": 3}, lambda session: execute(session, ["true"])),
    "abort": (
        {"event": "answer", "job": {"by": "ada", "job": "00000001"}},
        lambda session: session.query({"op": "abort"}, answers.Aborted),
    ),
    "ask": (ASK, lambda session: session.ask()),
    "base": ({"event": "answer", "ids": "AAAAAAA="}, lambda session: session.ids("b" * 64)),
}  # fmt: skip


def places(value: Any, path: str = "") -> list[str]:
    """Where something stands in a value."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if key not in ("event", "spec"):
            found += places(one, f"{path}.{key}" if path else str(key))
    return found


@pytest.mark.parametrize("op", QUESTIONS)
def test_whatever_stands_at_any_place_of_an_answer_is_no_bug_of_ours(op: str) -> None:
    """Each value replaced by each evil one, and taken away: it is understood, or the host is named."""
    answer, ask = QUESTIONS[op]
    ask(remote(answer))
    for path in places(answer):
        for value in (*EVIL, ...):
            if value is ... and path.rpartition(".")[2].isdigit():
                continue
            try:
                ask(remote(changed(answer, path, value)))
            except (BadAnswer, ConfigError) as error:
                assert error.host == HOST, (path, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*ASK, "exit", "message", "phase", "line", "lines", "to", "text", "job", "status"])
SAYS = st.builds(
    lambda name, rest: {**rest, "event": name},
    st.sampled_from([*decode.EVENTS, "answer"]) | JSON,
    st.dictionaries(KEYS, JSON, max_size=4),
)


@given(st.lists(st.one_of(SAYS.map(lambda one: json.dumps(one).encode() + b"\n"), st.binary(max_size=60)), max_size=4))
def test_no_host_ends_a_command_as_a_bug(lines: list[bytes]) -> None:
    """Whatever it says, in whatever order."""
    for do in (
        lambda session: session.ask(),
        lambda session: Follower(session, reconnect=lambda: pytest.fail("no")).send({"op": "release"}),
        lambda session: session.read({"op": "logs"}),
    ):
        with contextlib.suppress(DeployerError, Over):
            do(remote(*lines, json.dumps(FINISHED).encode() + b"\n"))


# numbers


def facts(number: int) -> Facts:
    return remote({**ASK, "next": number}).ask()


def test_one_host_does_not_lead_a_fleet_astray() -> None:
    """Numbers only grow: the host whose next is absurd is named, and nothing is sent to any."""
    with pytest.raises(ConfigError) as caught:
        number_of({"web1": facts(43), "web2": facts(44), "evil": facts(999_999_999)})
    assert caught.value.message.startswith("evil cannot be right about the number of the next release")
    assert Next.of(caught.value.next).commands == ("fab releases -H evil", "fab deploy -H web1,web2")


def test_a_host_that_joins_late_takes_up_the_numbers_of_its_fleet() -> None:
    """However many it has missed, within reason."""
    assert number_of({"web1": facts(1 + MOST_MISSED), "new": facts(1)}) == 1 + MOST_MISSED
    assert placement.number_of({}) == 0


def test_a_list_of_files_that_no_host_takes_is_not_sent() -> None:
    """The host would refuse it when it has all of it; what to do is known here."""
    session = remote()
    with pytest.raises(ConfigError, match="too many files for one request: their list has 33 MiB"):
        session.send({"op": "release", "delta": "x" * (33 << 20)})


@pytest.mark.parametrize(
    ("message", "state"),
    [
        ({"op": "status"}, "nothing was touched"),
        ({"op": "history"}, "nothing was touched"),
        ({"op": "doctor", "fix": False}, "nothing was touched"),
        ({"op": "abort", "by": "ada"}, "what web1 makes of it is not known"),
        ({"op": "run"}, "what web1 makes of it is not known"),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) else "",
)
def test_what_a_host_was_told_to_do_may_have_been_done(message: dict[str, Any], state: str) -> None:
    """Only of a question it is known that it changed nothing, whatever the answer is."""
    with pytest.raises(BadAnswer) as caught:
        remote({"event": "answer", "status": [], "entries": 5, "findings": 5, "job": 5}).query(
            message, ANSWERS[str(message["op"])]
        )
    assert caught.value.state == state


# both halves


def keys_of(kind: Any) -> dict[str, Any]:
    """The fields of a struct, with what is in each."""
    return {one.encode_name: one.type for one in msgspec.structs.fields(kind)}


def structs_in(kind: Any) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for inner in get_args(kind) for found in structs_in(inner)]


def unread(value: Any, kind: Any, path: str) -> set[str]:
    """What is said that the type has no place for."""
    if isinstance(value, list):
        return {found for one in value for found in unread(one, kind, path)}
    inner = structs_in(kind)
    if not isinstance(value, dict) or not inner:
        return set()
    known = keys_of(inner[0])
    found = {f"{path}.{key}" for key in value if key not in known}
    return found.union(*(unread(one, known[key], f"{path}.{key}") for key, one in value.items() if key in known))


NOT_NEEDED = {
    "ask.app", "status.status.release.ended", "status.status.release.seconds", "releases.releases.ended",
    "releases.releases.seconds",
}  # fmt: skip
"""What a host says that no laptop reads."""


def test_nothing_that_the_host_answers_is_lost_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the decoder has no field for vanishes silently: a new key of an answer is given one, or is named above."""
    host = make_host(tmp_path, monkeypatch)
    monkeypatch.setattr("deployer.host.inspect.preparation.findings", lambda _: [])
    host.catalog.update(host.catalog.create("deploy", 0, "ada", 1.0, Spec.parse(SPEC)), result="good")
    host.paths.current.symlink_to("releases/v1")
    more: dict[str, dict[str, Any]] = {"ask": {}, "status": {}, "releases": {}, "history": {}, "doctor": {"fix": False}}
    for op, keys in more.items():
        host.serve(json.dumps({"op": op, **keys}).encode() + b"\n")
        answer = next(event for event in host.events if event["event"] == "answer")
        lost = unread({key: one for key, one in answer.items() if key != "event"}, ANSWERS[op], op)
        assert lost <= NOT_NEEDED
        assert decode.answer(json.dumps(answer).encode(), ANSWERS[op], op, HOST)


@pytest.mark.source
def test_nothing_that_the_host_tells_is_lost_on_the_way() -> None:
    """The same of each event that is told anywhere in the host program."""
    told: dict[str, set[str]] = {}
    for path in Path(host_package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "emit" and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and name.value != "answer":
                    told.setdefault(str(name.value), set()).update(word.arg for word in node.keywords if word.arg)
    assert {"failed", "finished", "phase.done", "output", "logs", "warn"} <= told.keys() <= decode.EVENTS.keys()
    told["failed"] |= NOTHING.fields().keys()
    for event, keys in told.items():
        known = {one.name for one in dataclasses.fields(decode.EVENTS[event])}
        assert keys <= known | ({"steps"} if event == "failed" else set()), event


def test_threads_that_meet_types_at_once_make_each_decoder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one at a time: msgspec 0.22 has crashed where two threads read the hints of types together."""
    real, busy, made, together = msgspec.json.Decoder, threading.Lock(), [], []
    start = threading.Barrier(8)

    def watched(kind: type, **options: Any) -> Any:
        if not busy.acquire(timeout=0):
            together.append(kind)
        made.append(kind)
        time.sleep(0.01)  # room for another thread
        busy.release()
        return real(kind, **options)

    def hears() -> None:
        start.wait(10)
        for name in ("note", "warn", "logs"):
            line = {"event": name, "at": 1.0, "text": "x", "level": "info", "message": "x", "lines": ["x"]}
            with contextlib.suppress(BadAnswer):
                decode.event(json.dumps(line).encode(), HOST, begun=True)

    monkeypatch.setattr(decode, "_DECODERS", {})
    monkeypatch.setattr(msgspec.json, "Decoder", watched)
    threads = [threading.Thread(target=hears) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert together == []
    assert len(made) == len(set(made)) > 3
