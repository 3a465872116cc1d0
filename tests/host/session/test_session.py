"""The strict boundary: whatever comes in is answered by events, and only what is well formed does anything."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.deployment import barrier
from deployer.host.errors import BadRequest, HostError
from deployer.host.job import events, lock
from deployer.host.session import requests
from deployer.host.session.session import Session
from deployer.host.state import masking
from deployer.host.state.app import AppSettings, Context
from deployer.host.system import runner, systemd
from deployer.wire.message import LISTS, LONGEST, SHORT, read_message
from deployer.wire.message import VALUES as MOST
from deployer.wire.protocol import MOST_MISSED, Exit
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import Entry
from tests.host.asking import BODY, DELTA, GOOD, SPEC, Host, line, make_host, refused


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return make_host(tmp_path, monkeypatch)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good request with one value replaced (``...``: taken away)."""
    message = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place: Any = message
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return message


def delta_of(*entries: list[Any], **changes: Any) -> dict[str, Any]:
    """The good request with other entries in its delta, all digests right."""
    found = [Entry(*one) for one in entries]
    try:
        digest = Entries.of(found).digest
    except (UnicodeEncodeError, TypeError):
        digest = "0" * 64
    message = changed("delta", {**DELTA, "add": list(entries), "digest": digest, **changes})
    message["spec"]["source"]["digest"] = message["delta"]["digest"]
    return message


def test_a_good_request_starts_one_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the request that all others here are made from is taken, stored for root only, and started once."""
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    assert host.serve(line(GOOD) + BODY) == Exit.OK
    assert host.events == []
    assert len(host.started) == 1
    (job,) = host.paths.jobs.iterdir()
    assert (job / "body").read_bytes() == BODY
    assert (job / "request.json").stat().st_mode & 0o777 == 0o600
    assert not any("DEBUG" in word or "ada" in word for command in host.commands for word in command)


def test_an_upload_that_broke_off_at_its_very_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bytes were there and nobody took them: no byte has to come again, and the job gets the whole of it."""
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    (host.paths.incoming / f"{DELTA['body']}.part").write_bytes(BODY)
    assert host.serve(line({**GOOD, "offset": len(BODY), "body": 0})) == Exit.OK
    (job,) = host.paths.jobs.iterdir()
    assert (job / "body").read_bytes() == BODY
    assert list(host.paths.incoming.iterdir()) == []


WIRE = {
    "not JSON": b"hello\n",
    "empty line": b"\n",
    "a list": b"[]\n",
    "a number": b"1\n",
    "cut short": b'{"op":"ask"}',
    "not UTF-8": b'{"op":"\xff\xfe"}\n',
    "NUL": b'{"op":"ask"\0}\n',
    "two objects": b'{"op":"ask"}{"op":"ask"}\n',
    "too deep": b"[" * 100_000 + b"\n",
    "too deep an object": b'{"op":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
    "too long": b" " * (SHORT + 1) + b"\n",
    "too long a question": b'{"op":"ask","x":"' + b"x" * SHORT + b'"}\n',
    "too long a release": b'{"op":"release","x":"' + b"x" * LONGEST + b'"}\n',
    "no op": b"{}\n",
    "one op and another": b'{"op":"ask","op":"status"}\n',
    "not a number": b'{"op":"wait","queue":NaN}\n',
    "without bounds": b'{"op":"wait","queue":-Infinity}\n',
    "beyond all bounds": b'{"op":"wait","queue":1e999}\n',
    "a number of 5,000 digits": b'{"op":"wait","queue":' + b"1" * 5000 + b"}\n",
    "UTF-16": '{"op":"ask"}'.encode("utf-16") + b"\n",
    "UTF-8 of half a character": b'{"op":"\xed\xa0\x80"}\n',
    "a deep release": b'{"op":"release","x":' + b'{"x":[' * 9 + b"]}" * 9 + b"}\n",
    "lists without end": b'{"op":"release","x":[' + b"[]," * 400_000 + b"[]]}\n",
    "objects without end": b'{"op":"release","x":[' + b"{}," * 6000 + b"{}]}\n",
    "keys without end": b'{"op":"release","x":{' + b",".join(b'"%d":0' % one for one in range(21_000)) + b"}}\n",
    "values without end": b'{"op":"release","x":[' + b"0," * 1_600_000 + b"0]}\n",
    "an unknown op": b'{"op":"setup"}\n',
    "an op that is a list": b'{"op":["ask"]}\n',
    "an attribute as op": b'{"op":"__class__"}\n',
}


@pytest.mark.parametrize("data", WIRE.values(), ids=WIRE.keys())
def test_what_is_not_a_message_is_refused(host: Host, data: bytes) -> None:
    """Bytes that are no request end the session with one failure, however long or deep they are."""
    refused(host, data)


RUN: dict[str, Any] = {
    "kind": "run", "argv": ["true"], "release": 0, "process": "", "timeout": 60, "input": False, "raw": False,
    "place": "web1", "terminal": None,
}  # fmt: skip
TERMINAL: dict[str, Any] = {"term": "xterm", "rows": 24, "columns": 80, "locale": {"LANG": "de_DE.UTF-8"}}
QUESTIONS = ("ask", "status", "releases", "history", "hold", "doctor", "wait", "attach", "abort", "logs", "calendars")


@pytest.mark.parametrize("op", [*QUESTIONS, "run", "phases", "release"])
def test_no_request_has_other_keys_than_its_own(host: Host, op: str) -> None:
    """What is not understood is not passed over: it may be what the laptop relies on."""
    good = {**GOOD, **PHASES_GOOD, **LOGS, "queue": True, "fix": False, "calendars": ["daily"]}
    reads = {
        "doctor": ("fix",), "wait": ("queue",), "attach": (), "abort": ("by",), "logs": ("process", "lines", "follow"),
        "calendars": ("calendars",), "phases": tuple(PHASES_GOOD), "release": tuple(GOOD),
    }  # fmt: skip
    message = {"op": op, **{key: good[key] for key in reads.get(op, ()) if key != "op"}}
    if op in ("phases", "release"):
        message = {"op": op, **(PHASES_GOOD if op == "phases" else GOOD)}
    if op == "run":
        message = {"op": op, **RUN}
    assert "surprise" in refused(host, line({**message, "surprise": 1}))["message"]


OPERATE: dict[str, dict[str, Any]] = {
    "lock": {"by": "ada", "why": "a sale", "until": 0},
    "unlock": {},
    "stop": {},
    "start": {},
    "restart": {"process": "worker"},
    "timer": {"name": "tidy"},
    "prune": {"by": "ada", "keep": 0, "dry": True},
    "maintenance.on": {"page": "", "allow": [], "retry_after": 60, "stop_workers": False, "by": "ada"},
    "maintenance.off": {},
    "discard": {"release": 2, "by": "ada"},
    "preview": {"release": 2},
}
"""Good requests of those that act on a running app."""


@pytest.mark.parametrize("op", OPERATE)
def test_what_acts_on_a_running_app_is_asked_for_strictly(host: Host, op: str) -> None:
    """Each key must be there, and no other; a name is a name, and never an option or a path."""
    refused(host, line({"op": op, **OPERATE[op], "surprise": 1}))
    for key in OPERATE[op]:
        refused(host, line({"op": op, **{name: value for name, value in OPERATE[op].items() if name != key}}))
        for value in (None, [], {}, "../x", "-x", "a\nb", "x" * 501, -1, 1e12, True if key == "keep" else 5.5):
            refused(host, line({"op": op, **OPERATE[op], key: value})) if (key, value) not in _FITS else None


_FITS = (("by", "../x"), ("by", "-x"), ("why", "../x"), ("why", "-x"), ("until", 5.5))


def test_nobody_says_since_when_a_lock_is(host: Host) -> None:
    """That is the host's to know: a lock from long ago would look older than it is."""
    refused(host, line({"op": "lock", **OPERATE["lock"], "since": 5}))


def test_every_request_is_declared_and_answered() -> None:
    """The keys of each are read in one place, and none is read that nobody answers."""
    ctx: Any = None
    assert Session(ctx, io.BytesIO(), print)._answers.keys() == requests.REQUESTS.keys()


def test_what_strings_hold_is_not_counted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may be JSON of any depth, with quotes and backslashes."""
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    value = json.dumps({"a": "[" * 30_000 + '\\"{' * 100})
    assert host.serve(line(changed("env", {"A": value, "B": "\\"})) + BODY) == Exit.OK
    (job,) = host.paths.jobs.iterdir()
    assert json.loads((job / "request.json").read_text())["environment"] == {"A": value, "B": "\\"}


STRUCTURES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.text(), STRUCTURES, max_size=4), st.booleans())
def test_what_is_well_formed_is_read_as_it_is(value: dict[str, Any], ascii: bool) -> None:
    """The counting before the parser takes nothing away and adds nothing, whatever strings hold."""
    text = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="utf-8"):
            read_message(io.BytesIO(text + b"\n"))
    else:
        assert read_message(io.BytesIO(text + b"\n")) == value


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_requests(data: bytes) -> None:
    """Whatever comes in: a message, the end, or a ValueError that says why."""
    stream = io.BytesIO(data)
    with contextlib.suppress(ValueError):
        while read_message(stream) is not None:
            pass


def test_the_largest_request_costs_root_little() -> None:
    """A release of 200,000 files is read, and so is the worst that is let through, in a fraction of what once was lost:
    the peak of a process that reads it stays below twelve times its longest line."""
    worst = b'{"op":"release","delta":["' + ("\U0001f600" + "a" * 100).encode() * (LONGEST // 105) + b'"]}\n'
    lists = b'{"op":"release","delta":[' + b",".join([b'[1,"ab",2,0.5]'] * (LISTS - 1)) + b"]}\n"
    names = b'{"op":"release","delta":["' + b'","'.join(b"%x" % one for one in range(MOST - 1)) + b'"]}\n'
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from deployer.wire.message import read_message\n"
        "def peak():\n"
        "    with open('/proc/self/status') as file:\n"
        "        return next(int(line.split()[1]) for line in file if line.startswith('VmHWM'))\n"
        "before = peak()\n"
        "assert read_message(sys.stdin.buffer)\n"
        "print((peak() - before) * 1024)\n"
    )
    for request in (worst, lists, names):
        argv = [sys.executable, "-c", program, str(Path(lock.__file__).parents[3])]
        done = subprocess.run(argv, input=request, capture_output=True, check=True)
        assert int(done.stdout) < 12 * LONGEST, f"{int(done.stdout) >> 20} MiB for {len(request) >> 20} MiB"


POISON = [2 + MOST_MISSED, 1_000_000, 999_999_999]


@pytest.mark.parametrize("number", POISON)
def test_no_request_leads_the_numbers_astray(host: Host, number: int) -> None:
    """Numbers only grow: one that is far beyond this host's next is refused, before anything is touched."""
    failed = refused(host, line(changed("number", number)) + BODY)
    assert failed["message"] == f"v{number} is no number for the next release: here that is v1"
    with pytest.raises(BadRequest):
        host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC), number)
    assert host.catalog.next_number() == 1


def test_a_host_may_have_missed_releases_of_its_fleet(host: Host) -> None:
    """One that joins late, or was away, takes up the number that the others have come to."""
    release = host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC), 5000)
    assert (release.number, host.catalog.next_number()) == (5000, 5001)


def test_there_is_a_last_number(host: Host) -> None:
    """What cannot be counted any further is said, and no name is written that nobody could read again."""
    (host.paths.private).mkdir(parents=True, exist_ok=True)
    (host.paths.private / "last-release").write_text("999999999\n")
    with pytest.raises(BadRequest, match="v1000000000"):
        host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC))


NAMES = ["LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "HOME", "NOTIFY_SOCKET", "DEPLOYER_RELEASE", "PYTHONHOME", "BASH_ENV"]
VALUES: list[tuple[str, Any]] = [
    *((f"env.{name}", "x") for name in NAMES),
    *((f"env.{name}", "x") for name in ("", "1A", "A B", "A=B", "A\nB", "A\0", "É", "A;id")),
    ("env.A", 1),
    ("env.A", "nul\0"),
    ("env.A", "bell\a"),
    ("env.A", "return\r"),
    ("env.A", "delete\x7f"),
    ("env.A", "\ud800"),
    ("env.A", "x" * (128 * 1024 + 1)),
    ("env", []),
    ("env", ...),
    ("secret", "DEBUG"),
    ("secret", ["A B"]),
    ("secret", [1]),
    ("kind", "Deploy"),
    ("kind", "deploy\n"),
    ("kind", None),
    ("by", "a\nb"),
    ("by", "a\x1b[2Jb"),
    ("by", "x" * 257),
    ("by", 5),
    ("of", -1),
    ("of", "1"),
    ("of", True),
    ("of", 1.0),
    ("release", 1),
    ("yes", 1),
    ("no_migrate", "no"),
    ("surprise", 1),
    ("number", -1),
    ("number", "7"),
    ("number", 1.0),
    ("number", True),
    ("number", 10**9 + 1),
    ("number", ...),
    ("barriers", ...),
    ("barriers", None),
    ("barriers", [1]),
    ("barriers", [["switch"]]),
    ("barriers", ["keep", "done"]),
    ("barriers", ["Switch"]),
    ("barriers", "switch"),
    ("barriers", ["switch", "check"]),
    ("barriers", ["switch", "switch"]),
    ("barriers", ["upload"]),
    ("phases", []),
    ("phases", "upload"),
    ("phases", ["upload", "upload"]),
    ("phases", ["build", "upload"]),
    ("phases", ["upload", "switch"]),
    ("phases", ["switch"]),
    ("phases", ["start", "migrate", "check", "switch"]),
    ("phases", ["upload", "root"]),
    ("phases", [["upload"]]),
    ("offset", -1),
    ("offset", True),
    ("offset", "0"),
    ("offset", 1),
    ("body", -1),
    ("body", 1.5),
    ("body", len(BODY) + 1),
    ("body", 1 << 80),
    ("delta", None),
    ("delta", []),
    ("delta.digest", "0" * 64),
    ("delta.digest", "../../etc/passwd"),
    ("delta.body", "../../../etc/cron.d/x"),
    ("delta.body", DELTA["body"].upper()),
    ("delta.base", "../x"),
    ("delta.base", 0),
    ("delta.drop", "not base64"),
    ("delta.drop", "AAAA"),
    ("delta.length", -1),
    ("delta.length", True),
    ("delta.more", 1),
    ("spec", None),
    ("spec.more", 1),
    ("spec.source.digest", "0" * 63),
    ("spec.source.commit", "HEAD"),
    ("spec.source.ref", "a\nb"),
    ("spec.source.dirty", 0),
    ("spec.lock", {"kind": "uv", "path": "uv.lock", "files": []}),
    ("spec.lock", {"kind": "conda", "path": "", "files": []}),
    ("spec.lock", {"kind": "none", "path": "x", "files": ["x"]}),
    ("spec.lock", {"kind": "uv", "path": "a\nb", "files": ["a\nb"]}),
    ("spec.python", "3.12; id"),
    ("spec.python", "../../tmp/python"),
    ("spec.python", "3.12.1"),
    ("spec.build", "true"),
    ("spec.build", [""]),
    ("spec.build", ["a\0b"]),
    ("spec.build", ["\ud800"]),
    ("spec.build", ["x" * 16385]),
    ("spec.build", ["true"] * 257),
    ("spec.migrate", ["true"]),
    ("spec.migrate", "a\0"),
    ("spec.web.server", "bash"),
    ("spec.web.target", "a:b --config /tmp/x"),
    ("spec.web.target", "a:b\n"),
    ("spec.web.target", "--config:x"),
    ("spec.web.target", ""),
    ("spec.web.workers", 0),
    ("spec.web.workers", True),
    ("spec.web.args", ["a\nExecStartPre=/bin/sh"]),
    ("spec.web.args", ["a\rb"]),
    ("spec.web.args", ["a\0b"]),
    ("spec.web.args", ["\ud800"]),
    ("spec.web.args", [1]),
    ("spec.web.memory", -1),
    ("spec.health.path", "/ HTTP/1.1\r\nX: y"),
    ("spec.health.path", "/a b"),
    ("spec.health.path", "healthz"),
    ("spec.health.path", "/\x7f"),
    ("spec.health.host", "a\r\nX: y"),
    ("spec.health.host", "a b"),
    ("spec.health.host", "x" * 254),
    ("spec.health.status", [[200, 700]]),
    ("spec.health.status", [[300, 200]]),
    ("spec.health.status", []),
    ("spec.health.status", [["200", "300"]]),
    ("spec.health.status", [[200.5, 300]]),
    ("spec.health.status", "12"),
    ("spec.health.status", [200]),
    ("spec.health.timeout", 0),
    ("spec.health.timeout", True),
    ("spec.health.settle", -1),
    ("spec.health.settle", "3"),
    ("spec.watch", 3601),
    ("spec.drain", None),
    ("spec.keep", 1),
    ("spec.overlap", "yes"),
]


@pytest.mark.parametrize(("path", "value"), VALUES, ids=[f"{path}={str(value)[:24]!r}" for path, value in VALUES])
def test_a_value_that_may_not_be_is_refused(host: Host, path: str, value: Any) -> None:
    """One wrong value anywhere in a request: nothing is written, nothing is started."""
    message = {**GOOD, "env": {path[4:]: value}} if path.startswith("env.") else changed(path, value)
    refused(host, line(message) + BODY)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("path", ["spec.watch", "spec.health.timeout", "spec.health.status"])
def test_numbers_that_are_none_are_refused(host: Host, path: str, text: str) -> None:
    """JSON as Python reads it knows infinities: no wait may last for ever."""
    value = "@@" if path != "spec.health.status" else [["@@", 300]]
    refused(host, line(changed(path, value)).replace(b'"@@"', text.encode()) + BODY)


DIRECTIVES = [
    ("User", ["root"]),
    ("Group", ["root"]),
    ("ExecStartPre", ["+/bin/sh -c id"]),
    ("ExecStart", ["/bin/sh"]),
    ("AmbientCapabilities", ["CAP_SYS_ADMIN"]),
    ("CapabilityBoundingSet", ["~"]),
    ("EnvironmentFile", ["/etc/shadow"]),
    ("Environment", ["LD_PRELOAD=/tmp/x"]),
    ("LoadCredential", ["x:/etc/shadow"]),
    ("BindPaths", ["/etc:/srv"]),
    ("RootDirectory", ["/tmp"]),
    ("StateDirectory", ["../../etc"]),
    ("PermissionsStartOnly", ["yes"]),
    ("SupplementaryGroups", ["sudo"]),
    ("PAMName", ["su"]),
    ("NoNewPrivileges", ["no"]),
    ("StandardOutput", ["file:/etc/cron.d/x"]),
    ("OnFailure", ["x.service"]),
    ("MemoryMax", ["1G\nUser=root"]),
    ("MemoryMax", ["1G\\"]),
    ("MemoryMax", ["1G", "2G"]),
    ("MemoryMax", "1G"),
    ("ReadWritePaths", ["/srv\\"]),
    ("OOMScoreAdjust", ["-1000"]),
    ("Nice", ["-5"]),
    ("memoryMax", ["1G"]),
    ("Memory Max", ["1G"]),
    ("[Install]", ["x"]),
    ("X\nUser", ["root"]),
]


@pytest.mark.parametrize(("name", "values"), DIRECTIVES, ids=[f"{name}={value}" for name, value in DIRECTIVES])
def test_a_directive_that_gives_more_than_the_app_has_is_refused(host: Host, name: str, values: Any) -> None:
    """Unit overrides outside the allow-list, or with values that would begin another line, end the request at once."""
    failed = refused(host, line(changed("spec.web.unit", {name: values})) + BODY)
    assert "web.unit" in failed["message"]


WORKER: dict[str, Any] = {
    "name": "worker", "command": ["celery"], "count": 1, "stop": 5, "overlap": True, "check": "", "unit": {},
}  # fmt: skip
TIDY: dict[str, Any] = {
    "name": "tidy", "command": ["tidy"], "calendar": "daily", "persistent": True, "timeout": 0, "unit": {},
}  # fmt: skip
NO_NAMES = ["web", "a/../../x", "a@b", "a\nb", "a-b", "a.2", "../worker", "%n", "", "A", "x" * 25, ["worker"]]
NO_LINES = ["a\nExecStartPre=+/bin/sh", "a\rb", "a\0b", "\ud800"]
HOSTILE: list[tuple[str, dict[str, Any]]] = [
    *(("processes", {"name": name}) for name in NO_NAMES),
    *(("timers", {"name": name}) for name in NO_NAMES),
    *((key, {"command": [line]}) for key in ("processes", "timers") for line in NO_LINES),
    *((key, {"command": command}) for key in ("processes", "timers") for command in ([], [""], "celery", None)),
    *((key, {"unit": {name: values}}) for key in ("processes", "timers") for name, values in DIRECTIVES),
    *(("timers", {"calendar": f"daily{more}"}) for more in ("\nUnit=ssh.service", "\\", "\0", ";", "%n", "\r")),
    ("timers", {"calendar": ""}),
    ("timers", {"calendar": "-" * 201}),
    ("timers", {"timeout": -1}),
    ("processes", {"count": 1 << 20}),
    ("processes", {"stop": 1e9}),
    ("processes", {"check": "a\0b"}),
    ("processes", {"User": "root"}),
    ("timers", {"User": "root"}),
]


@pytest.mark.parametrize(("key", "changes"), HOSTILE, ids=[f"{key} {str(changes)[:50]}" for key, changes in HOSTILE])
def test_a_process_or_timer_that_would_be_more_than_one_is_refused(
    host: Host, key: str, changes: dict[str, Any]
) -> None:
    """Root makes a unit of each, named by it: no name, line or directive of another's gets into one."""
    part = {"processes": WORKER, "timers": TIDY}[key]
    refused(host, line(changed(f"spec.{key}", [{**part, **changes}])) + BODY)


def test_what_runs_in_the_background_is_taken(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the process and the timer that all above are made from; but not two of one name."""
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    message = changed("spec.processes", [WORKER])
    message["spec"]["timers"] = [{**TIDY, "name": "worker"}]
    refused(host, line(message) + BODY)
    message["spec"]["timers"] = [TIDY]
    assert host.serve(line(message) + BODY) == Exit.OK


def test_root_may_widen_the_list_of_directives(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root allowed at set-up passes; what was refused names the command that allows it."""
    failed = refused(host, line(changed("spec.web.unit", {"Slice": ["x.slice"]})) + BODY)
    assert "--allow-unit Slice" in failed["next"]
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    ctx = Context(
        paths=host.paths,
        settings=AppSettings("deploy", "www-data", units=("Slice",)),
        emit=lambda *_, **__: None,
        clock=lambda: 0.0,
    )
    cut = changed("spec.web.unit", {"Slice": ["x.slice\\"]})
    assert Session(ctx, io.BytesIO(line(cut) + BODY), lambda _: None).serve() == Exit.USAGE
    message = changed("spec.web.unit", {"Slice": ["x.slice"]})
    assert Session(ctx, io.BytesIO(line(message) + BODY), lambda _: None).serve() == Exit.OK
    assert len(host.started) == 1


D = "0" * 64
ENTRIES: dict[str, list[list[Any]]] = {
    "absolute": [["/etc/cron.d/x", "f", 1, D]],
    "parent": [["../x", "f", 1, D]],
    "parent inside": [["a/../../x", "f", 1, D]],
    "dot": [["./x", "f", 1, D]],
    "empty": [["", "f", 1, D]],
    "empty part": [["a//b", "f", 1, D]],
    "NUL": [["a\0b", "f", 1, D]],
    "newline": [["a\nb", "f", 1, D]],
    "surrogate": [["a\ud800", "f", 1, D]],
    "below a link": [["a", "l", 4, D], ["a/b", "f", 1, D]],
    "below a file": [["a", "f", 4, D], ["a/b", "f", 1, D]],
    "twice": [["a", "f", 1, D], ["a", "f", 1, D]],
    "a device": [["a", "c", 1, D]],
    "negative": [["a", "f", -1, D]],
    "huge": [["a", "f", 1 << 70, D]],
    "a fraction": [["a", "f", 1.5, D]],
    "a wrong digest": [["a", "f", 1, "x"]],
    "a long link": [["a", "l", 5000, D]],
    "an empty link": [["a", "l", 0, D]],
    "a long name": [["a" * 256, "f", 1, D]],
    "a long path": [["a/" * 600 + "a", "f", 1, D]],
}


@pytest.mark.parametrize("entries", ENTRIES.values(), ids=ENTRIES.keys())
def test_files_that_could_land_elsewhere_are_refused(host: Host, entries: list[list[Any]]) -> None:
    """A tree may not reach outside of its directory, nor hold what is neither a file nor a link."""
    refused(host, line(delta_of(*entries)) + BODY)


PHASE_REQUESTS: list[dict[str, Any]] = [
    {"phases": ["upload"]},
    {"phases": ["switch", "check"]},
    {"phases": ["build", "start"]},
    {"phases": []},
    {"phases": ["../x"]},
    {"release": -1},
    {"release": "v1"},
    {"by": "a\nb"},
    {"no_migrate": 1},
    {"no_migrate": ...},
    {"barriers": None},
    {"barriers": ["switch", "keep"]},
    {"barriers": ["keep"], "phases": ["switch", "drain", "watch"]},
    {"barriers": ["check", "switch", "keep"], "phases": ["switch", "drain", "watch"]},
    {"more": 1},
]
PHASES_GOOD: dict[str, Any] = {"op": "phases", "phases": ["build"], "release": 0, "by": "ada", "no_migrate": False}


@pytest.mark.parametrize("change", PHASE_REQUESTS, ids=[str(one) for one in PHASE_REQUESTS])
def test_phases_are_asked_for_strictly(host: Host, change: dict[str, Any]) -> None:
    """Phases of a release under way: their order and their release are checked before any job starts."""
    message = {key: value for key, value in {**PHASES_GOOD, **change}.items() if value is not ...}
    assert "not acceptable" in refused(host, line(message))["message"]


@pytest.mark.parametrize("no_migrate", [True, False])
def test_phases_of_what_is_under_way(host: Host, monkeypatch: pytest.MonkeyPatch, no_migrate: bool) -> None:
    """The control: the newest unfinished release goes on, with or without its migration, as asked."""
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    refused(host, line(PHASES_GOOD))
    host.catalog.create("deploy", 0, "ada", 0.0, Spec.parse(SPEC))
    assert host.serve(line({**PHASES_GOOD, "no_migrate": no_migrate})) == Exit.OK
    (job,) = host.paths.jobs.iterdir()
    stored = json.loads((job / "request.json").read_text())
    assert (stored["release"], stored["phases"], stored["no_migrate"]) == (1, ["build"], no_migrate)


LOGS = {"op": "logs", "process": "", "lines": 5, "follow": False}


@pytest.mark.parametrize(
    "message",
    [
        {"lines": -1},
        {"lines": "5"},
        {"lines": 10**9},
        {"follow": 1},
        {"unit": "ssh"},
        {"process": None},
        {"process": "ssh.service"},
        {"process": "web@*"},
        {"process": "../web"},
        {"process": "web\n"},
        {"process": "w" * 25},
        {"process": "worker"},
    ],
)
def test_logs_are_asked_for_strictly(host: Host, message: dict[str, Any]) -> None:
    """The journal of the app's own processes and nothing else, so many lines and no more."""
    refused(host, line({**LOGS, **message}))
    assert host.commands == []


@pytest.mark.parametrize(("process", "unit"), [("", "shop"), ("web", "web")])
def test_logs_name_their_units_exactly(host: Host, process: str, unit: str) -> None:
    """The control: the lines come as one event, then the answer."""
    assert host.serve(line({**LOGS, "process": process})) == Exit.OK
    (argv,) = (command for command in host.commands if command[0] == "journalctl")
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-u"] == ["shop-web@*.service"]
    logs, answer = host.events
    assert (logs["event"], logs["unit"], answer["event"]) == ("logs", unit, "answer")


def test_the_answer_to_ask_names_what_has_logs(host: Host) -> None:
    """A laptop need not ask twice to know that there is no such process."""
    assert host.serve(line({"op": "ask"})) == Exit.OK
    assert host.events[0]["processes"] == ["web"]


@pytest.mark.parametrize(
    "calendars", [None, "daily", [5], ["daily; reboot"], ["a\nb"], ["$(x)"], ["d"] * 51, ["x" * 201]]
)
def test_calendars_are_asked_for_strictly(host: Host, calendars: Any) -> None:
    """What is handed to systemd-analyze is what a timer could have."""
    refused(host, line({"op": "calendars", "calendars": calendars}))
    assert host.commands == []


def test_calendars_are_looked_up_one_by_one(host: Host) -> None:
    """None of them is taken for an option."""
    assert host.serve(line({"op": "calendars", "calendars": ["daily", "-1"]})) == Exit.OK
    assert host.commands == [["systemd-analyze", "calendar", "--", one] for one in ("daily", "-1")]
    assert [one["calendar"] for one in host.events[0]["calendars"]] == ["daily", "-1"]


COMMANDS: dict[str, dict[str, Any]] = {
    "nothing": {"argv": None},
    "a text": {"argv": "ls -l"},
    "no words": {"argv": []},
    "an empty program": {"argv": ["", "x"]},
    "a number": {"argv": ["ls", 1]},
    "a NUL": {"argv": ["ls", "a\0b"]},
    "half a character": {"argv": ["ls", "\ud800"]},
    "a word that is too long": {"argv": ["ls", "x" * 16385]},
    "too many words": {"argv": ["ls"] * 1001},
    "too many bytes": {"argv": ["é" * 16000] * 3},
    "a user": {"argv": ["ls"], "user": "root"},
    "an environment": {"argv": ["ls"], "env": {"A": "b"}},
    "another kind": {"kind": "sudo"},
    "a shell with words": {"kind": "shell"},
    "a release that is a name": {"release": "v1"},
    "a release below all": {"release": -1},
    "a process that is a path": {"process": "../x"},
    "no time at all": {"timeout": 0},
    "more than a week": {"timeout": 604801},
    "a text for a switch": {"raw": "yes"},
    "a place with a command in it": {"place": "$(id)"},
    "a terminal that is a path": {"terminal": {**TERMINAL, "term": "../../etc/passwd"}},
    "a window without rows": {"terminal": {**TERMINAL, "rows": 0}},
    "a locale that is a path": {"terminal": {**TERMINAL, "locale": {"LANG": "/tmp/x"}}},
    "another variable": {"terminal": {**TERMINAL, "locale": {"LD_PRELOAD": "x"}}},
    "a terminal without a locale": {"terminal": {"term": "xterm", "rows": 24, "columns": 80}},
    "more of a terminal": {"terminal": {**TERMINAL, "user": "root"}},
}


@pytest.mark.parametrize("message", COMMANDS.values(), ids=COMMANDS.keys())
def test_what_is_no_command_is_refused(host: Host, message: dict[str, Any]) -> None:
    """Nothing is started, nothing is written."""
    refused(host, line({"op": "run", **RUN, **message}))


def test_before_the_first_release_there_is_nothing_to_run_it_in(host: Host) -> None:
    """Exit 2, and what to type."""
    failed = refused(host, line({"op": "run", **RUN}))
    assert failed["message"] == "nothing of shop is deployed yet"
    assert failed["next"] == "fab deploy"


def test_a_failure_is_the_last_thing_a_session_does(host: Host) -> None:
    """What follows a bad request is not looked at: it may be the rest of it."""
    refused(host, b"nonsense\n" + line(GOOD) + BODY)


def test_a_damaged_upload_is_thrown_away(host: Host) -> None:
    """Bytes that are not those announced are refused, and do not stay for the next try to build on."""
    assert host.serve(line(GOOD) + bytes(len(BODY))) == Exit.REFUSED
    assert "digest" in host.events[0]["message"]
    assert list(host.paths.incoming.iterdir()) == []
    assert host.started == []


def test_an_upload_goes_on_where_it_was_cut(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived before the connection ended is kept, is told to whoever asks, and is not sent twice."""
    assert host.serve(line(GOOD) + BODY[:7]) == Exit.REFUSED
    assert "connection ended" in host.events[0]["message"]
    host.serve(line({"op": "ask"}))
    assert host.events[0]["partials"] == {DELTA["body"]: 7}
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    refused(host, line(GOOD) + BODY)
    assert host.serve(line({**GOOD, "offset": 7, "body": len(BODY) - 7}) + BODY[7:]) == Exit.OK
    assert len(host.started) == 1


def test_a_full_disk_is_told_before_anything_is_taken(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload for which there is no room is refused with what is missing, and leaves nothing."""
    monkeypatch.setattr("deployer.host.build.upload.free_bytes", lambda _: 1024)
    assert host.serve(line(GOOD) + BODY) == Exit.REFUSED
    assert "disk is full" in host.events[0]["message"]
    assert list(host.paths.incoming.iterdir()) == []


def test_a_disk_that_fails_is_told_as_an_event(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the host's own is an event for the laptop too, not a traceback."""

    def fails(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("deployer.host.job.lock.submit", fails)
    assert host.serve(line(GOOD) + BODY) == Exit.REFUSED
    assert "Input/output error" in host.events[0]["message"]


def test_a_bug_is_told_as_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of is an event with exit code 1 and the lines a report needs."""
    monkeypatch.setattr("deployer.host.session.session.status_report", lambda _: 1 / 0)
    assert host.serve(line({"op": "status"})) == Exit.BUG
    assert "bug" in host.events[0]["message"]
    assert any("ZeroDivisionError" in text for text in host.events[0]["logs"])


def test_a_listener_that_has_gone_is_not_answered(host: Host) -> None:
    """When nobody takes the answer the session ends by that error, which its caller knows."""

    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    ctx = Context(paths=host.paths, settings=AppSettings("deploy", "www-data"), emit=gone, clock=lambda: 0.0)
    with pytest.raises(BrokenPipeError):
        Session(ctx, io.BytesIO(line({"op": "ask"})), lambda _: None).serve()


@pytest.mark.parametrize("target", ["/etc", "releases/../../x", "releases/v0", "releases/v1/"])
def test_a_current_that_nobody_wrote_is_told(host: Host, target: str) -> None:
    """A ``current`` that leads elsewhere is named, and not followed."""
    host.paths.current.symlink_to(target)
    host.serve(line({"op": "ask"}))
    assert "which deployer did not write" in host.events[0]["message"]
    assert [event["event"] for event in host.events] == ["failed", "finished"]


@pytest.mark.parametrize("kind", ["reload", "rollback"])
def test_nothing_to_reload_is_bad_usage(host: Host, kind: str) -> None:
    """A reload or a rollback before the first deploy touches nothing."""
    message = {**GOOD, "kind": kind, "delta": None, "body": 0}
    assert "nothing of shop is deployed yet" in refused(host, line(message))["message"]


def test_a_unit_name_that_another_still_has_is_tried_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd has another's unit for a moment before its job shows, and after it has ended: that is no failure."""
    real, refusals = runner.run, iter([True, True, False])

    def run(argv: Sequence[str], **options: Any) -> runner.CommandResult:
        done = real(argv, **options)
        refused = argv[0] == "systemd-run" and next(refusals)
        return runner.CommandResult(1, "", "already loaded or has a fragment file") if refused else done

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr("deployer.host.session.session.events.follow", lambda *_: iter([{"event": "finished"}]))
    assert host.serve(line(GOOD) + BODY) == Exit.OK
    assert len(host.started) == 3


def test_a_unit_that_systemd_never_starts_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd said is told, nothing was touched, and no half of a job is left."""
    real = runner.run

    def run(argv: Sequence[str], **options: Any) -> runner.CommandResult:
        done = real(argv, **options)
        return runner.CommandResult(1, "", "out of luck") if argv[0] == "systemd-run" else done

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr("deployer.host.job.lock._POLL", 0.001)
    assert host.serve(line(GOOD) + BODY) == Exit.REFUSED
    assert host.events[0]["logs"] == ["out of luck"]
    assert list(host.paths.jobs.iterdir()) == []


@pytest.mark.parametrize(
    ("written", "left"), [("", False), ('{"event":"phase.started","phase":"build","release":"v1"}\n', True)],
    ids=["it never said a word", "it had begun: what puts it right takes that away"],
)  # fmt: skip
def test_a_job_that_was_ended_before_its_program_ran_leaves_no_upload(host: Host, written: str, left: bool) -> None:
    """An undo may come while Python is still starting: whoever follows the job takes away what it would have."""
    directory = host.paths.jobs / "00000003"
    directory.mkdir()
    (directory / "events.jsonl").write_text(written)
    (directory / "body").write_bytes(b"the upload")
    *_, last = events.follow(session(host, b"").ctx, directory)
    assert last["event"] == "finished"
    assert (directory / "body").exists() is left


@pytest.mark.parametrize(
    ("events", "inhabited", "busy"),
    [("", True, True), ("", False, False), ('{"event":"finished","exit":0}\n', True, False)],
    ids=["a process is left", "no process is left", "it has said its last word"],
)
def test_a_unit_that_stays_active_is_no_job(
    host: Host, monkeypatch: pytest.MonkeyPatch, events: str, inhabited: bool, busy: bool
) -> None:
    """Where an admin has set RemainAfterExit, its unit is active for ever after: nobody waits for what has ended."""
    (host.paths.jobs / "00000008").mkdir()
    (host.paths.jobs / "00000008" / "events.jsonl").write_text(events)
    group = "".join(Path("/proc/self/cgroup").read_text().strip().splitlines()[-1].split(":", 2)[2:])
    shown = {
        "ActiveState": "active",
        "SubState": "exited",
        "ControlGroup": group if inhabited else f"{group}/nobody",
        "Description": "deployer job 00000008: deploy shop",
    }
    text = "".join(f"{name}={value}\n" for name, value in shown.items())
    monkeypatch.setattr(systemd, "systemctl", lambda *_, **__: runner.CommandResult(0, text, ""))
    assert (lock.running(session(host, b"").ctx) is not None) is busy


def session(host: Host, data: bytes) -> Session:
    def emit(name: str, **fields: Any) -> None:
        host.events.append({"event": name, **fields})

    ctx = Context(paths=host.paths, settings=AppSettings("deploy", "www-data"), emit=emit, clock=lambda: 0.0)
    return Session(ctx, io.BytesIO(data), host.events.append)


def heard(host: Host, *words: Any) -> set[str]:
    """The files that these words to a job have left, once it has heard them all."""
    directory = host.paths.jobs / "00000007"
    directory.mkdir()
    before = set(threading.enumerate())
    session(host, b"".join(line(word) for word in words))._receive_signals(directory)
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize(
    "word",
    [
        {"op": "undo", "by": "ada@laptop", "why": "two\nlines"},
        {"op": "undo", "by": "ada@laptop"},
        {"op": "go", "barrier": "../../x"},
        {"op": "go"},
        {"op": "sing"},
    ],
)
def test_a_word_that_is_not_understood_is_not_the_last(host: Host, word: dict[str, Any]) -> None:
    """It does nothing, and those that come after it are heard: an undo among them must not be lost."""
    assert heard(host, word, {"op": "go", "barrier": "switch"}) == {"heard", "go-switch"}


def test_an_undo_ends_no_job_but_its_own(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that has ended may have made way for somebody else's: that one goes on."""
    (host.paths.jobs / "00000008").mkdir()
    shown = "ActiveState=active\nDescription=deployer job 00000008: deploy shop\n"
    monkeypatch.setattr(systemd, "systemctl", lambda *_, **__: runner.CommandResult(0, shown, ""))
    stopped: list[object] = []
    monkeypatch.setattr(systemd, "require", lambda *what, **_: stopped.append(what))
    assert heard(host, {"op": "undo", "by": "ada@laptop", "why": "web2: no"}) == set()
    assert stopped == []


def test_a_laptop_that_has_not_made_up_its_mind_may_say_so(host: Host) -> None:
    """A sign of life before any request is no request: it is not answered, and ends nothing."""
    assert host.serve(line({"op": "hold"}) + line({"op": "history"})) == Exit.OK
    assert [event["event"] for event in host.events] == ["answer"]


@pytest.mark.parametrize("disk", ["full", "not full"])
def test_a_word_to_go_on_needs_hardly_any_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str) -> None:
    """A full disk has no room for the time of the last sign; the word itself is an empty file."""

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if disk == "full":
        monkeypatch.setattr(barrier, "keep_alive", no_room)
        with pytest.raises(OSError):
            barrier.allow(tmp_path, "switch")
    else:
        barrier.allow(tmp_path, "switch")
    assert barrier.BarrierSignal(tmp_path).allows("switch")


def test_a_job_that_was_swept_before_its_first_word_never_began(host: Host) -> None:
    """Whoever followed it hears that nothing was touched, as after any refusal; it is no bad usage."""
    assert host.serve(line({"op": "attach", "job": "00000007"})) == Exit.REFUSED
    failed = host.events[0]
    assert "never began" in failed["message"] and "nothing was touched" in failed["state"]
    assert failed["next"] == "fab deploy"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"by": "ada", "why": "web2: the disk is full"}, "web2: the disk is full"),
        ({"by": "ada", "why": ""}, "aborted by ada"),
        (None, "the deploy ended on the host without reporting how"),
    ],
)
def test_a_job_that_was_ended_before_its_first_word(
    host: Host, monkeypatch: pytest.MonkeyPatch, asked: Any, told: str
) -> None:
    """SIGTERM may reach it before it can say anything: whoever follows it is told why it was sent."""
    monkeypatch.setattr(Session, "_follow", lambda *_: None)
    host.serve(line(GOOD) + BODY)
    (directory,) = host.paths.jobs.glob("0*")
    if asked is not None:
        (directory / "abort.json").write_text(json.dumps(asked))
    monkeypatch.undo()
    monkeypatch.setattr(runner, "run", lambda *_, **__: runner.CommandResult(0, "", ""))
    context = Context(
        paths=host.paths, settings=AppSettings("deploy", "www-data"), emit=lambda *_, **__: None, clock=time.time
    )
    failed, finished = list(events.follow(context, directory))
    assert told in failed["message"]
    assert failed["state"] == "nothing was touched"
    assert finished["exit"] == Exit.REFUSED


# what is known of the host when something fails


def begun(host: Host, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> dict[str, Any]:
    """What is said when following a job that has begun fails."""

    def follow(*_: Any) -> Any:
        raise error
        yield

    monkeypatch.setattr(events, "follow", follow)
    host.serve(line(GOOD) + BODY)
    assert len(host.started) == 1
    return next(event for event in host.events if event["event"] == "failed")


@pytest.mark.parametrize(
    "error", [OSError(5, "I/O error"), HostError("no"), ValueError("x"), RuntimeError("x")], ids=repr
)
def test_what_has_begun_is_not_told_as_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The job goes on, whatever becomes of this session: neither its state nor its code says that nothing was done."""
    failed = begun(host, monkeypatch, error)
    assert failed["state"].startswith("what runs on the host goes on by itself")
    assert failed["exit"] in (Exit.MIXED, Exit.BUG)


def test_a_systemd_that_does_not_answer_may_have_begun(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to start the job, and that took too long: nobody says that nothing was touched."""
    real = runner.run

    def run(argv: Sequence[str], **options: Any) -> runner.CommandResult:
        if argv[0] == "systemd-run":
            raise HostError("systemd-run did not end within 90 s")
        return real(argv, **options)

    monkeypatch.setattr(runner, "run", run)
    assert host.serve(line(GOOD) + BODY) == Exit.MIXED
    assert host.events[0]["state"] == "it is not known whether the deploy has begun"


def test_a_command_that_was_run_is_not_told_as_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have done anything by then."""

    def fails(*_: Any) -> int:
        raise RuntimeError("x")

    monkeypatch.setattr("deployer.host.session.session.run", fails)
    host.serve(line({"op": "run", **RUN}))
    assert host.events[0]["state"].startswith("the command may have run")


def test_a_job_that_was_told_to_abort_is_not_told_as_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd may have heard it, although its answer never came."""

    def fails(*_: Any) -> Any:
        raise HostError("systemctl did not end within 90 s")

    monkeypatch.setattr(lock, "abort", fails)
    host.serve(line({"op": "abort", "by": "ada"}))
    assert host.events[0]["state"].startswith("what runs may have been told to abort")


# secrets


@pytest.mark.parametrize("follow", [False, True])
def test_no_line_of_the_logs_shows_a_secret(host: Host, monkeypatch: pytest.MonkeyPatch, follow: bool) -> None:
    """Of any release that is there, looked at once or followed; in the answers that quote an app, too."""
    for number, secret in ((1, "hunter22-one"), (2, "hunter22-two")):
        directory = host.paths.release(number)
        directory.mkdir(parents=True)
        (directory / "env.json").write_text(json.dumps({"TOKEN": secret, "APP_ENV": "production"}))
        (directory / "secret.json").write_text(json.dumps(["TOKEN", "APP_ENV"]))
    said = ["in production: hunter22-one, hunter22-two"] * 3
    monkeypatch.setattr("deployer.host.inspect.logs.read", lambda *_: iter(said))
    monkeypatch.setattr("deployer.host.inspect.logs.follow", lambda *_: iter([said]))
    monkeypatch.setattr(
        "deployer.host.session.session.status_report", lambda _: {"health": said[0], "units": [{"name": said[0]}]}
    )
    monkeypatch.setattr("deployer.host.session.session.examine", lambda _: {"findings": [{"text": said[0]}]})
    host.serve(line({**LOGS, "follow": follow}))
    shown = [text for event in host.events if event["event"] == "logs" for text in event["lines"]]
    assert shown == ["in production: ****, ****"] * 3
    for op in ({"op": "status"}, {"op": "doctor", "fix": False}):
        host.serve(line(op))
        assert "hunter22" not in json.dumps(host.events)
        assert "in production: ****, ****" in json.dumps(host.events)


def test_the_secrets_are_looked_for_once_for_lines_that_come_together(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app may print thousands of lines a second, and each look goes through all releases."""
    looks: list[int] = []
    portions = [[f"{one}" for one in range(1000)], ["x" * 100_000] * 3, ["last"]]
    monkeypatch.setattr("deployer.host.inspect.logs.follow", lambda *_: iter(portions))
    monkeypatch.setattr(masking.Secrets, "values", lambda _: looks.append(1) or ())
    host.serve(line({**LOGS, "follow": True}))
    events = [event["lines"] for event in host.events if event["event"] == "logs"]
    assert len(looks) == 3
    assert [text for lines in events for text in lines] == [text for lines in portions for text in lines]
    assert len(events) == 5, "none is longer than a laptop takes"


def test_many_lines_of_logs_come_in_events_of_bounded_size(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop takes no line of any length; none is lost between two events, and none at all are one event, too."""
    said = [f"{one} " + "x" * 5000 for one in range(200)]
    monkeypatch.setattr("deployer.host.inspect.logs.read", lambda *_: iter(said))
    host.serve(line(LOGS))
    logs = [event["lines"] for event in host.events if event["event"] == "logs"]
    assert [text for lines in logs for text in lines] == said
    assert len(logs) > 1
    assert all(sum(map(len, lines)) <= 128 * 1024 for lines in logs)
    monkeypatch.setattr("deployer.host.inspect.logs.read", lambda *_: iter(()))
    host.serve(line(LOGS))
    assert [event["event"] for event in host.events] == ["logs", "answer"]
