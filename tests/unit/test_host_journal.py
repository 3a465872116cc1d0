"""Which lines of a host's journal are an app's, and how they are followed from release to release."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.host import journal, systemd
from deployer.host.catalog import GOOD, Release
from deployer.host.context import Context, Settings
from deployer.host.errors import HostError
from deployer.host.paths import AppPaths
from deployer.host.process import Process, Timer
from deployer.host.protocol import Exit
from deployer.host.spec import Spec
from tests.host.asking import SPEC

WORKER = Process(name="worker", command=("x",), count=2, stop=60, overlap=True, check="", unit=())
CLEAR = Timer(name="clear", command=("x",), calendar="daily", persistent=True, timeout=0, unit=())
PLAIN = Spec.parse(SPEC)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    paths = AppPaths("shop", tmp_path)
    paths.releases.mkdir(parents=True)
    return Context(paths=paths, settings=Settings("deploy", "www-data"), emit=lambda *_, **__: None, clock=lambda: 0.0)


def add(ctx: Context, number: int, spec: Spec) -> None:
    ctx.paths.release(number).mkdir()
    ctx.catalog.save(Release(number=number, kind="deploy", of=0, by="ada", at=0.0, spec=spec, result=GOOD))


def test_all_that_any_release_has_run_has_logs(ctx: Context) -> None:
    """Also what runs no more; before there is a release, the web process is what there will be."""
    assert journal.kinds(ctx) == ["web"]
    add(ctx, 1, replace(PLAIN, processes=(WORKER,)))
    add(ctx, 2, replace(PLAIN, timers=(CLEAR,)))
    assert journal.kinds(ctx) == ["web", "clear", "worker"]


def test_a_host_that_never_had_a_web_process_names_none(ctx: Context) -> None:
    """There is nothing to be shown of it."""
    add(ctx, 1, replace(PLAIN, web=None, processes=(WORKER,)))
    assert journal.kinds(ctx) == ["worker"]


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
    patterns = journal.patterns("shop", journal.wanted(ctx, ""))
    assert any(matches(pattern, unit) for pattern in patterns) is shown


def test_one_process_alone(ctx: Context) -> None:
    """All its instances, and no other process."""
    add(ctx, 1, replace(PLAIN, processes=(WORKER,), timers=(CLEAR,)))
    assert journal.patterns("shop", journal.wanted(ctx, "worker")) == [
        "shop-worker@*.service",
        "shop-worker.*@*.service",
    ]
    assert journal.patterns("shop", journal.wanted(ctx, "web")) == ["shop-web@*.service"]


def test_a_process_that_there_is_not(ctx: Context) -> None:
    """Bad usage, with the names there are."""
    add(ctx, 1, replace(PLAIN, processes=(WORKER,), timers=(CLEAR,)))
    with pytest.raises(HostError) as caught:
        journal.wanted(ctx, "wroker")
    assert caught.value.exit == Exit.USAGE
    assert caught.value.message == "there is no process 'wroker' of shop here; there are: web, worker, clear"


def test_an_entry_is_a_line_as_journalctl_prints_it() -> None:
    """When, where, which process, and what; the lines of one message below each other."""
    record = {
        "__REALTIME_TIMESTAMP": "1795677238909760",
        "_HOSTNAME": "web1",
        "SYSLOG_IDENTIFIER": "shop-worker",
        "_PID": "41",
        "MESSAGE": "one\ntwo",
    }
    first, second = journal.told(record)
    assert re.fullmatch(r"2026-11-2\dT\d\d:\d\d:58[+-]\d{4} web1 shop-worker\[41\]: one", first)
    assert second == " " * first.index("one") + "two"
    bare = {"__REALTIME_TIMESTAMP": "1", "MESSAGE": [104, 105, 255], "_COMM": "sh"}
    assert [line[24:] for line in journal.told(bare)] == ["  sh: hi\ufffd"]
    assert [line[-9:] for line in journal.told({"__REALTIME_TIMESTAMP": "1"})] == ["unknown: "]


JOURNALCTL = """#!/bin/sh
echo "$@" >>"$0.called"
count=$(wc -l <"$0.called")
printf '{"__CURSOR":"c%s","__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"x","MESSAGE":"line %s"}\\n' $count $count
exec sleep 30
"""


def test_a_release_that_is_made_meanwhile_is_followed(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """journalctl knows only units that it has seen: it is begun anew with the new ones, behind the last line."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(JOURNALCTL)
    program.chmod(0o755)
    monkeypatch.setattr(systemd, "ENVIRONMENT", {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    monkeypatch.setattr(journal, "_LOOK", 0.05)
    add(ctx, 1, PLAIN)
    lines = journal.follow(ctx, "", 5)
    assert next(lines).endswith("x: line 1")
    began = time.monotonic()
    add(ctx, 2, replace(PLAIN, processes=(WORKER,)))
    assert next(lines).endswith("x: line 2")
    assert time.monotonic() - began < 15, "only when journalctl had ended by itself"
    lines.close()  # type: ignore[attr-defined]
    first, second = (call.split() for call in Path(f"{program}.called").read_text().splitlines())
    assert units(first) == ["shop-web@*.service", "shop-web@v1.service"]
    assert units(second)[:3] == ["shop-web@*.service", "shop-worker@*.service", "shop-worker.*@*.service"]
    assert {"shop-web@v2.service", "shop-worker@v2.service", "shop-worker.2@v2.service"} <= set(units(second))
    assert "-n 5" in " ".join(first) and "--after-cursor" not in " ".join(first)
    assert {"--after-cursor=c1", "--no-tail"} <= set(second)


def units(words: list[str]) -> list[str]:
    return [unit for option, unit in itertools.pairwise(words) if option == "-u"]


def test_nothing_to_follow_yet_is_waited_for(ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """journalctl ends when no unit has ever logged; the first line of the first release comes all the same."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    record = json.dumps({"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1", "MESSAGE": "at last"})
    program.write_text(f"#!/bin/sh\nif [ -e $0.went ]; then echo '{record}'; else touch $0.went; exit 1; fi\n")
    program.chmod(0o755)
    monkeypatch.setattr(systemd, "ENVIRONMENT", {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    monkeypatch.setattr(journal, "_LOOK", 0.05)
    assert next(journal.follow(ctx, "", 5)).endswith("at last")
