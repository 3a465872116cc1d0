"""Which lines of a host's journal are an app's, and how they are followed from release to release."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.errors import HostError
from deployer.host.inspect import logs
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import GOOD, Release
from deployer.host.system import journald, runner, systemd
from deployer.wire.protocol import Exit, dumps
from deployer.wire.release.processes import Process, Timer
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC

WORKER = Process(name="worker", command=("x",), count=2, stop=60, overlap=True, check="", unit=())
CLEAR = Timer(name="clear", command=("x",), calendar="daily", persistent=True, timeout=0, unit=())
PLAIN = Spec.parse(SPEC)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    paths = AppPaths("shop", tmp_path)
    paths.releases.mkdir(parents=True)
    return Context(
        paths=paths, settings=AppSettings("deploy", "www-data"), emit=lambda *_, **__: None, clock=lambda: 0.0
    )


def add(ctx: Context, number: int, spec: Spec) -> None:
    ctx.paths.release(number).mkdir()
    ctx.catalog.save(Release(number=number, kind="deploy", of=0, by="ada", at=0.0, spec=spec, result=GOOD))


def test_all_that_any_release_has_run_has_logs(ctx: Context) -> None:
    """Also what runs no more; before there is a release, the web process is what there will be."""
    assert logs.kinds(ctx) == ["web"]
    add(ctx, 1, replace(PLAIN, processes=(WORKER,)))
    add(ctx, 2, replace(PLAIN, timers=(CLEAR,)))
    assert logs.kinds(ctx) == ["web", "clear", "worker"]


def test_a_host_that_never_had_a_web_process_names_none(ctx: Context) -> None:
    """There is nothing to be shown of it."""
    add(ctx, 1, replace(PLAIN, web=None, processes=(WORKER,)))
    assert logs.kinds(ctx) == ["worker"]


def matches(pattern: str, unit: str) -> bool:
    """As fnmatch(3) does it for journalctl, of what is used here."""
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), unit))


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("shop-web@v1.service", True),
        ("shop-worker@v12.service", True),
        ("shop-worker.2@v1.service", True),
        ("shop-clear@v1.service", True),
        ("shop-web-web@v1.service", False),
        ("shop-worker-web@v1.service", False),
        ("shop-web-worker.2@v1.service", False),
        ("shop-workers@v1.service", False),
        ("shop-web.service", False),
        ("myshop-web@v1.service", False),
    ],
)
def test_no_other_app_is_read(ctx: Context, unit: str, shown: bool) -> None:
    """Not those whose name begins with this one's, as shop-web does with shop."""
    add(ctx, 1, replace(PLAIN, processes=(WORKER,), timers=(CLEAR,)))
    patterns = logs.patterns("shop", logs.wanted(ctx, ""))
    assert any(matches(pattern, unit) for pattern in patterns) is shown


def test_one_process_alone(ctx: Context) -> None:
    """All its instances, and no other process."""
    add(ctx, 1, replace(PLAIN, processes=(WORKER,), timers=(CLEAR,)))
    assert logs.patterns("shop", logs.wanted(ctx, "worker")) == [
        "shop-worker@*.service",
        "shop-worker.*@*.service",
    ]
    assert logs.patterns("shop", logs.wanted(ctx, "web")) == ["shop-web@*.service"]


def test_a_process_that_there_is_not(ctx: Context) -> None:
    """Bad usage, with the names there are."""
    add(ctx, 1, replace(PLAIN, processes=(WORKER,), timers=(CLEAR,)))
    with pytest.raises(HostError) as caught:
        logs.wanted(ctx, "wroker")
    assert caught.value.exit == Exit.USAGE
    assert caught.value.message == "there is no process 'wroker' of shop here; there are: web, worker, clear"


def entry(**fields: Any) -> bytes:
    """A line of ``journalctl -o json``."""
    return json.dumps({"__REALTIME_TIMESTAMP": "1", "_HOSTNAME": "web1", **fields}).encode()


def told(line: bytes) -> list[str]:
    """What is shown of an entry, without the time."""
    record = journald.parse(line)
    return [text.partition(" ")[2] for text in record.formatted()] if record else []


def test_an_entry_is_a_line_as_journalctl_prints_it() -> None:
    """When, where, which process, and what; the lines of one message below each other."""
    moment = "1795677238909760"
    record = journald.parse(
        entry(__REALTIME_TIMESTAMP=moment, SYSLOG_IDENTIFIER="shop-worker", _PID="41", MESSAGE="one\ntwo")
    )
    assert record is not None
    first, second = record.formatted()
    assert re.fullmatch(r"2026-11-2\dT\d\d:\d\d:58[+-]\d{4} web1 shop-worker\[41\]: one", first)
    assert second == " " * first.index("one") + "two"


ODD: dict[str, tuple[bytes, list[str]]] = {
    "bytes that are no UTF-8": (entry(MESSAGE=[104, 105, 255], _COMM="sh"), ["web1 sh: hi\ufffd"]),
    "no message": (entry(), ["web1 unknown: "]),
    "one that is too long for journalctl": (entry(MESSAGE=None, _COMM="sh"), ["web1 sh: "]),
    "two messages": (entry(MESSAGE=["a", "b"], _COMM="sh"), ["web1 sh: a", "b"]),
    "two, one of bytes": (entry(MESSAGE=[[104, 255], "b"], _COMM="sh"), ["web1 sh: h\ufffd", "b"]),
    "two, one too long": (entry(MESSAGE=[None, "b"], _COMM="sh"), ["web1 sh: b"]),
    "numbers that are no bytes": (entry(MESSAGE=[300, -1], _COMM="sh"), ["web1 sh: ,\ufffd"]),
    "an object": (entry(MESSAGE={"a": 1}, _COMM="sh"), ["web1 sh: "]),
    "half a character": (entry(MESSAGE="a\ud800", _COMM="sh"), ["web1 sh: a\ufffd\ufffd\ufffd"]),
    "a name of bytes": (entry(MESSAGE="a", SYSLOG_IDENTIFIER=[255, 254]), ["web1 \ufffd\ufffd: a"]),
    "a name of two lines": (
        entry(MESSAGE="a", SYSLOG_IDENTIFIER="x\n\x1b[2J"),
        ["web1 x\ufffd\ufffd[2J: a"],
    ),
    "two names": (entry(MESSAGE="a", SYSLOG_IDENTIFIER=["x", "y"]), ["web1 x y: a"]),
    "no time": (entry(MESSAGE="a", _COMM="x", __REALTIME_TIMESTAMP="9" * 5000), ["web1 x: a"]),
    "no JSON": (b"-- Journal begins --", []),
    "a list": (b"[1]", []),
    "deep": (b"[" * 100_000, []),
    "no UTF-8": (b'{"MESSAGE":"\xff"}', []),
    "huge": (entry(MESSAGE="x" * journald.LONGEST), ["unknown: (an entry of more than 1024 KiB is left out)"]),
}


@pytest.mark.parametrize(("line", "shown"), ODD.values(), ids=ODD.keys())
def test_an_entry_may_be_anything(line: bytes, shown: list[str]) -> None:
    """An app writes its entries as it likes: each is shown as far as it goes, and none ends a deploy."""
    assert [text.lstrip() for text in told(line)] == shown


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("MESSAGE", "SYSLOG_IDENTIFIER", "_COMM", "_PID", "_HOSTNAME", "__REALTIME_TIMESTAMP", "__CURSOR")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values) | json_values)
def test_no_entry_breaks_its_reader(value: Any) -> None:
    """Any JSON at all: it is told in lines that can be sent, or passed over."""
    record = journald.parse(json.dumps(value).encode())
    lines = list(record.formatted()) if record else []
    assert journald.last_lines([record] if record else [], 5) is not None
    assert json.loads(dumps({"lines": lines})) == {"lines": lines}


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_entries(line: bytes) -> None:
    """Whatever journalctl prints."""
    journald.parse(line)


def test_a_process_is_told_by_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd says of it only when it said nothing itself; one odd entry hides no other."""
    said = [
        entry(_PID="1", SYSLOG_IDENTIFIER="systemd", MESSAGE="Started"),
        entry(_PID="7", MESSAGE=["KeyError:", "'SECRET_KEY'"]),
        b"\xff\xfe",
        entry(_PID="7", MESSAGE=None),
        entry(_PID="1", SYSLOG_IDENTIFIER="systemd", MESSAGE="Failed"),
    ]
    asked: list[Sequence[str]] = []

    def lines(argv: Sequence[str], *_: Any, **__: Any) -> Iterator[bytes]:
        asked.append(argv)
        return iter(said)

    monkeypatch.setattr(journald, "lines", lines)
    assert journald.own_lines("shop-web@v1.service", 5) == ["KeyError:", "'SECRET_KEY'"]
    del said[1]
    assert journald.own_lines("shop-web@v1.service", 5) == ["Started", "Failed"]
    assert "-a" in asked[0], "else a message of more than 4096 bytes is null"


UNIT = "shop-web@v1.service"
JOURNALCTL = """#!/bin/sh
echo "$@" >>"$0.called"
count=$(wc -l <"$0.called")
printf '{"__CURSOR":"c%s","__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"x","MESSAGE":"line %s"}\\n' $count $count
exec sleep 1000
"""


@pytest.mark.timeout(60)  # else it was followed only when journalctl had ended by itself
def test_a_release_that_is_made_meanwhile_is_followed(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """journalctl knows only units that it has seen: it is begun anew with the new ones, behind the last line."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(JOURNALCTL)
    program.chmod(0o755)
    monkeypatch.setattr(runner, "ENVIRONMENT", {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    monkeypatch.setattr(journald, "_LOOK", 0.05)
    add(ctx, 1, PLAIN)
    lines = logs.follow(ctx, "", 5)
    assert next(lines)[0].endswith("x: line 1")
    add(ctx, 2, replace(PLAIN, processes=(WORKER,)))
    assert next(lines)[0].endswith("x: line 2")
    lines.close()  # type: ignore[attr-defined]
    first, second = (call.split() for call in Path(f"{program}.called").read_text().splitlines())
    assert units(first) == ["shop-web@*.service", "shop-web@v1.service"]
    assert units(second)[:3] == ["shop-web@*.service", "shop-worker@*.service", "shop-worker.*@*.service"]
    assert {"shop-web@v2.service", "shop-worker@v2.service", "shop-worker.2@v2.service"} <= set(units(second))
    assert "-n 5" in " ".join(first) and "--after-cursor" not in " ".join(first)
    assert {"--after-cursor=c1", "--no-tail"} <= set(second)


def test_lines_that_come_together_are_followed_together(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message to the laptop, and one look at the releases, for all that journalctl prints at a time."""
    entries = [{"__CURSOR": f"c{one}", "SYSLOG_IDENTIFIER": "x", "MESSAGE": f"line {one}"} for one in range(300)]
    printed = "".join(f"{json.dumps(one)}\n" for one in entries).encode()
    (tmp_path / "printed").write_bytes(printed)
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho >>$0.called\ncat {tmp_path}/printed\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setattr(runner, "ENVIRONMENT", {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    add(ctx, 1, PLAIN)
    lines, found = logs.follow(ctx, "", 5), []
    while sum(map(len, found)) < len(entries):
        found.append(next(lines))
    lines.close()  # type: ignore[attr-defined]
    assert [text.partition("x: ")[2] for told in found for text in told] == [one["MESSAGE"] for one in entries]
    assert len(found) < 20


def units(words: list[str]) -> list[str]:
    return [unit for option, unit in itertools.pairwise(words) if option == "-u"]


def test_nothing_to_follow_yet_is_waited_for(ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """journalctl ends when no unit has ever logged; the first line of the first release comes all the same."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    record = json.dumps({"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1", "MESSAGE": "at last"})
    program.write_text(f"#!/bin/sh\nif [ -e $0.went ]; then echo '{record}'; else touch $0.went; exit 1; fi\n")
    program.chmod(0o755)
    monkeypatch.setattr(runner, "ENVIRONMENT", {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    monkeypatch.setattr(journald, "_LOOK", 0.05)
    assert next(logs.follow(ctx, "", 5))[0].endswith("at last")


def test_lines_of_workers_that_fail_at_once_are_untangled() -> None:
    """Each process's traceback is whole, and the one that spoke last comes last."""
    said = [
        ("2", "Traceback"),
        ("3", "Traceback"),
        ("2", "  File a"),
        ("1", "Started"),
        ("3", "  File a"),
        ("2", "KeyError"),
    ]
    records = [journald.JournalEntry(lines=(text,), pid=pid) for pid, text in said]
    told = ["Traceback", "  File a", "Traceback", "  File a", "KeyError"]
    assert journald.last_lines(records, 5) == told
    assert journald.last_lines(records, 3) == told[-3:]


OLD = ["Traceback (most recent call last):", "KeyError: 'OLD'"]


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("InvocationID=c\nNRestarts=0\n", ["Worker failed to boot."]),
        ("InvocationID=c\nNRestarts=1\n", ["MemoryError", "Worker failed to boot."]),
        ("InvocationID=d\nNRestarts=0\n", []),
        ("InvocationID=\nNRestarts=0\n", [*OLD, "MemoryError", "Worker failed to boot."]),
    ],
    ids=["this start", "started again by itself", "nothing written yet", "forgotten by systemd"],
)
def test_only_what_this_start_has_written_counts(monkeypatch: pytest.MonkeyPatch, shown: str, told: list[str]) -> None:
    """A traceback of last week explains no failure of today, nor does what others tell about the unit."""

    def line(start: str, text: str, **more: Any) -> bytes:
        return entry(**{"_PID": "7", "_SYSTEMD_UNIT": UNIT, "_SYSTEMD_INVOCATION_ID": start, "MESSAGE": text, **more})

    said = [
        *(line("a", text) for text in OLD),
        line("b", "MemoryError"),
        line("job", "drained", _SYSTEMD_UNIT="deployer-shop.service", _PID="9"),
        entry(_PID="1", SYSLOG_IDENTIFIER="systemd", INVOCATION_ID="c", MESSAGE="Started"),
        line("c", "Worker failed to boot."),
    ]
    kept = [one for one in said if b"drained" not in one] if "=c" not in shown else said
    monkeypatch.setattr(journald, "lines", lambda *_, **__: iter(kept))
    monkeypatch.setattr(systemd, "systemctl", lambda *_, **__: runner.CommandResult(0, shown, ""))
    assert journald.own_lines(UNIT, 9) == told
