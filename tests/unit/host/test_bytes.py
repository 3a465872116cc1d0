"""What comes from outside the host program is bytes: decoded without raising, and parsed strictly."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import deployer.host
import deployer.wire
from deployer.host.errors import BadRequest, Damaged
from deployer.host.processes import probe
from deployer.host.proxy import nginx
from deployer.host.setup.software import tools
from deployer.host.state import jobs
from deployer.host.state.catalog import Catalog
from deployer.host.state.ledger import Ledger, number_of
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import GOOD, Release
from deployer.host.system import files, proc
from deployer.host.system.runner import CommandResult
from deployer.host.units import overrides
from deployer.wire.protocol import dumps
from deployer.wire.release.health import Health
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC

HEALTH = Health(path="/", host="shop", status=((200, 399),), timeout=1, settle=0)


def sources() -> list[Path]:
    """All that runs on a host."""
    return [path for one in (deployer.host, deployer.wire) for path in Path(str(one.__file__)).parent.rglob("*.py")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


# an answer to the health check

ANSWERS = {
    "a status of 5,000 digits": b"HTTP/1.1 " + b"2" * 5000 + b" OK",
    "a status of four digits": b"HTTP/1.1 2000 OK",
    "a status of two digits": b"HTTP/1.1 20 OK",
    "a status that begins with 0": b"HTTP/1.1 020 OK",
    "a signed status": b"HTTP/1.1 +20 OK",
    "no status": b"HTTP/1.1",
    "another protocol": b"SSH-2.0-OpenSSH",
    "bytes": b"\xff\xfe\x00\x01",
}


@pytest.mark.parametrize("head", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_is_no_http_is_told_as_that(head: bytes) -> None:
    """It is the release's fault, and short enough to be read."""
    answer = probe._parse(head + b"\r\n\r\n", 0.1)
    assert (answer.status, answer.fault[:27]) == (0, "what came back is not HTTP:")
    assert len(answer.describe(HEALTH)) < 400


@given(st.binary(max_size=300))
def test_no_answer_breaks_the_health_check(head: bytes) -> None:
    """Whatever comes back: it is healthy, or there is a sentence about it that can be sent."""
    answer = probe._parse(head, 0.0)
    assert isinstance(answer.healthy(HEALTH), bool)
    assert json.loads(dumps({"text": answer.describe(HEALTH)}))


# files of the admin's


def test_what_the_admin_wrote_may_be_of_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Latin-1 byte is a comment's, or a value's that is handed on as it is."""
    environment = tmp_path / "environment"
    environment.write_bytes(
        b"# f\xfcr alle\nexport HTTPS_PROXY='http://proxy:3128'\nNAME=J\xfcrgen\nno assignment\n1A=x\nB\xfc=x\nC=a\0b\n"
    )
    monkeypatch.setattr(tools, "_ENVIRONMENT", environment)
    found = tools.login_environment()
    assert found == {"HTTPS_PROXY": "http://proxy:3128", "NAME": "J\udcfcrgen"}
    assert found["NAME"].encode("utf-8", "surrogateescape") == b"J\xfcrgen"
    (tmp_path / "nginx.conf").write_bytes(b"# gr\xfc\xdfe\nuser www;\n")
    assert nginx.worker_user(tmp_path) == "www"


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_the_environment(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    """What is taken of them can be handed to a command."""
    path = tmp_path_factory.mktemp("etc") / "environment"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "_ENVIRONMENT", path)
        for name, value in tools.login_environment().items():
            assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
            assert "\0" not in value


def test_no_file_is_decoded_by_the_locale_or_by_luck() -> None:
    """The host program reads text by files.read_text, and decodes with a rule for what is no UTF-8."""
    theirs = {"proc.py", "lease.py", "barrier.py"}  # the kernel's ASCII, and our own numbers
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                bare = node.func.attr == "read_text" and not ast.unparse(node.func.value).endswith("files")
                assert not bare or path.name in theirs, f"{path.name}:{node.lineno}: use files.read_text"


# records of our own


def record(tmp_path: Path, **changes: Any) -> Catalog:
    """A catalog with one release, whose record was changed by hand."""
    paths = AppPaths("shop", tmp_path)
    paths.release(1).mkdir(parents=True)
    catalog = Catalog(paths)
    catalog.save(
        Release(number=1, kind="deploy", of=0, by="ada", at=1.0, spec=Spec.parse(SPEC), result=GOOD, phases={"a": 1.0})
    )
    assert catalog.find(1) is not None
    path = paths.release(1) / "release.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return catalog


DAMAGE: list[dict[str, Any]] = [
    {"number": 2}, {"number": "1"}, {"number": True}, {"of": -1}, {"of": 10**10}, {"of": "v1"}, {"at": "yesterday"},
    {"at": None}, {"result": "splendid"}, {"result": []}, {"result": None}, {"spec": []}, {"spec": None}, {"spec": {}},
    {"phases": [1]}, {"phases": {"a": "x"}}, {"sealed": 5}, {"held": "x"}, {"by": 5}, {"same": "no"}, {"surprise": 1},
    {"previous": 1.5}, {"switched": []},
]  # fmt: skip


@pytest.mark.parametrize("change", DAMAGE, ids=str)
def test_a_record_that_is_not_as_it_was_written_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    """It is told as that, and the releases beside it are not lost for it."""
    catalog = record(tmp_path, **change)
    with pytest.raises(Damaged):
        catalog.find(1)
    assert catalog.all() == []


@given(
    st.dictionaries(st.sampled_from(("at", "what", "release", "releases", "result")), JSON) | JSON,
    st.binary(max_size=50),
)
def test_no_line_breaks_the_ledger(tmp_path_factory: pytest.TempPathFactory, entry: Any, torn: bytes) -> None:
    """Neither another line nor what a power cut left."""
    ledger = Ledger(tmp_path_factory.mktemp("state") / "ledger.jsonl")
    ledger.path.write_bytes(json.dumps(entry).encode() + b"\n" + torn + b"\n")
    ledger.add("begun", 1.0, release="v7")
    assert ledger.last_number() >= 7
    assert 7 in ledger.open_numbers()
    assert all(number_of(one) < 10**9 for one in ledger.entries())


@pytest.mark.parametrize("name", ["v" + "9" * 5000, "v1000000000", "v01", "v1\n", "v\u0661", 7, None, ["v1"]])
def test_a_number_in_the_ledger_is_one_that_was_given(name: Any) -> None:
    """Else the next one would follow it."""
    assert number_of({"release": name}) == 0


@given(JSON | st.binary(max_size=80))
def test_no_line_breaks_a_glance_at_a_job(tmp_path_factory: pytest.TempPathFactory, line: Any) -> None:
    """Its request, its events and why it was aborted are whatever the disk gives back."""
    directory = tmp_path_factory.mktemp("job")
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    for name in ("request.json", "abort.json"):
        (directory / name).write_bytes(text)
    (directory / "events.jsonl").write_bytes(
        text + b'\n{"event":"phase.started","at":' + text.replace(b"\n", b"") + b',"phase":"build"}\n'
    )
    assert isinstance(jobs.request_of(directory), dict)
    assert isinstance(jobs.why_aborted(directory), str)
    assert isinstance(jobs.status_of(directory).since, float)
    assert all(isinstance(event, dict) for event in jobs.events_of(directory))


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"5", b'"x"', b"\xff", b"[" * 100_000])
def test_a_file_of_ours_is_an_object_or_damaged(tmp_path: Path, text: bytes) -> None:
    """Never something else."""
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(Damaged):
        files.read_object(tmp_path / "x")


# directives


@pytest.mark.parametrize("name", overrides.ALLOWED)
@pytest.mark.parametrize("more", ["\n", "\nExecStartPre=+/bin/sh", " \n", "\0", "\\", "x\ny"])
def test_no_value_of_a_directive_goes_on_behind_its_end(name: str, more: str) -> None:
    """A second line in a unit file would be a directive of its own, which nobody has allowed."""
    good = next(one for one in GOOD_VALUES if re.fullmatch(overrides.ALLOWED[name], one))
    overrides.check([("web", ((name, (good,)),))]) if name != "TimeoutStopSec" else None
    with pytest.raises(BadRequest):
        overrides.check([("processes.w", ((name, (good + more,)),))])


GOOD_VALUES = (
    "100%", "yes", "always", "SIGTERM", "mixed", "10", "continue", "strict", "invisible", "private", "AF_UNIX",
    "native", "@system-service", "0077", "auto", "all", "any", "/var/lib/x", "10M",
)  # fmt: skip


def test_no_pattern_is_matched_at_its_beginning_only() -> None:
    """``match`` takes whatever goes on behind the pattern: only where that is meant."""
    meant = {("message.py", "_LONG.match"), ("versions.py", "re.match"), ("advice.py", "re.match")}
    found = {
        (path.name, ast.unparse(node.func))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "match"
    }
    assert found == meant, "use fullmatch"


# other people's processes

NAMES = {
    "no text": b"\xff\xfe",
    "what follows a name": b") S 1 (",
    "lines": b"a\nb) R 2\n",
    "a bracket and no text": b"\xff)",
    "nothing": b"",
}
_CALLED = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_process_may_call_itself_anything(name: bytes) -> None:
    """It is told whose child it is all the same, and nobody else's family is lost for it."""
    argv = [sys.executable, "-c", _CALLED, name.hex()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert Path(f"/proc/{process.pid}/comm").read_bytes() == name + b"\n"
            assert process.pid in proc.children()[os.getpid()]
            assert process.pid in proc.workers(os.getpid())
            assert proc.resident(process.pid) > 0
        finally:
            process.kill()


@given(st.binary(max_size=200))
def test_no_line_of_the_kernels_raises(text: bytes) -> None:
    """What cannot be parsed tells nothing."""
    assert isinstance(proc._kibibytes(text), dict)
    parent = proc._parent(text)
    assert parent is None or parent >= 0


QUEUES = {
    "one that waits": ("u_str LISTEN 3 128 /run/web.sock 7 * 0\n", 3),
    "none": ("", 0),
    "another path": ("u_str LISTEN 3 128 /run/other.sock 7 * 0\n", 0),
    "the path elsewhere in the line": ("u_str LISTEN 3 128 /run/other.sock /run/web.sock * 0\n", 0),
    "no number": ("u_str LISTEN \u0663 128 /run/web.sock 7 * 0\n", 0),
}


@pytest.mark.parametrize(("out", "count"), QUEUES.values(), ids=QUEUES.keys())
def test_connections_that_wait_are_counted(monkeypatch: pytest.MonkeyPatch, out: str, count: int) -> None:
    """Those of that socket; and a table that could not be read is no empty queue."""
    monkeypatch.setattr(proc, "run", lambda *_, **__: CommandResult(0, out, ""))
    assert proc.waiting_connections("/run/web.sock") == count
    monkeypatch.setattr(proc, "run", lambda *_, **__: CommandResult(1, out, ""))
    assert proc.waiting_connections("/run/web.sock") is None
