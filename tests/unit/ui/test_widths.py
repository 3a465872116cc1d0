# ruff: noqa: E501
"""Every view in windows of 40 to 120 columns: golden pictures, whole words, and hosts that can be told apart."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
from msgspec.structs import replace
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from deployer import events as ev
from deployer.remote.answers import Diagnosis, Finding, HeldRelease, ReleaseRow, Status, TimerRow, UnitRow
from deployer.remote.plan import Plan, PlannedProcess, PlannedTimer
from deployer.ui.answers.doctor import show_doctor
from deployer.ui.answers.plan import show_plan
from deployer.ui.answers.releases import show_releases
from deployer.ui.answers.status import show_status
from deployer.ui.live.reporter import LiveReporter
from deployer.ui.stream import safe
from deployer.ui.style.fit import flowing
from deployer.ui.style.text import middle
from tests.support.screen import ANSI, Clock, Terminal

SCREENS = Path(__file__).parent / "screens"
"""What each view looks like; written anew by ``SCREENS=write pytest tests/unit/ui/test_widths.py``."""
WIDTHS = (40, 60, 80, 120)
NOW = 1_800_000_000.0
HOSTS = (
    "deploy@web1.frankfurt.production.example.com",
    "deploy@web2.frankfurt.production.example.com",
    "deploy@worker1.singapore.production.example.com",
)
ROW = ReleaseRow(
    number="v43",
    state="current",
    kind="deploy",
    by="ada@laptop",
    at=NOW - 300,
    commit="a1b2c3d4e5",
    ref="main",
    size=9_400_000,
)
FAILED = replace(
    ROW,
    number="v42",
    state="rolled back",
    at=NOW - 9000,
    reason="v42 answered 500 on /healthz before the end of its watch",
)
UNIT = UnitRow(
    name="shop-web@v43.service", process="web", active="active", sub="running", pid=4242,
    memory_bytes=97_000_000, restarts=0, since=NOW - 300, ok=True,
)  # fmt: skip
STATUS = Status(
    app="shop", host=HOSTS[0], current="v43", standby="v41", since=NOW - 300, release=ROW, units=(UNIT, replace(UNIT, name="shop-worker@v43.service", process="worker", restarts=3)),
    timers=(TimerRow(process="clearsessions", next=NOW + 7200, last=NOW - 80000, result="success", ok=True, running=False),),
    healthy=True, health="200 in 4 ms", last=FAILED, held=HeldRelease(release="v44", seconds=50.0),
)  # fmt: skip
FINDING = Finding(
    kind="drifted", what="/etc/systemd/system/shop-web@v43.service", fix=True,
    text="the unit file is not the one that was installed: somebody has changed it since", repair="fab doctor --fix",
)  # fmt: skip
PLAN = Plan(
    app="shop", host=HOSTS[0], current="v43", release="v44", commit="a1b2c3d4e5", ref="main",
    processes=(PlannedProcess(process="web", runs="gunicorn shop.wsgi:application --threads 4", count=4),
               PlannedProcess(process="worker", runs="celery -A shop worker --concurrency 8", change="new")),
    timers=(PlannedTimer(process="clearsessions", runs="python manage.py clearsessions", calendar="Mon..Fri 03:00", next=NOW + 7200),),
)  # fmt: skip
LOST = ev.HostEnd(
    host=HOSTS[2], result="unreachable", exit=3, detail=f"{HOSTS[2]} can't be reached: no answer within 15 s"
)


def other(status: Status) -> Status:
    return replace(status, host=HOSTS[1], current="v41", healthy=False, health="502 before 30 s had passed")


ANSWERS: dict[str, Callable[[TextIO], object]] = {
    "status": lambda out: show_status([STATUS], now=NOW, stream=out),
    "status-fleet": lambda out: show_status([STATUS, other(STATUS)], [LOST], app="shop", hosts=HOSTS, now=NOW, stream=out),
    "releases": lambda out: show_releases({HOSTS[0]: [ROW, FAILED]}, app="shop", now=NOW, stream=out),
    "releases-fleet": lambda out: show_releases({HOSTS[0]: [ROW, FAILED], HOSTS[1]: [ROW]}, [LOST], app="shop", now=NOW, stream=out),
    "doctor": lambda out: show_doctor([Diagnosis(busy=None, app="shop", host=HOSTS[0], current="v43", findings=(FINDING,), next="fab doctor --fix")], stream=out),
    "plan": lambda out: show_plan([PLAN], now=NOW, stream=out),
}  # fmt: skip
DEPLOYED = tuple(
    event
    for host in HOSTS
    for event in (
        ev.Connecting(host=host),
        ev.Connected(host=host, seconds=0.6, detail="v42 serves"),
        ev.PhaseStarted(host=host, phase="build"),
        ev.Warn(host=host, text="the requirement shop-auth @ git+https://example.com/auth.git@main is not pinned"),
        ev.PhaseDone(host=host, phase="build", seconds=3.3, detail="dependencies unchanged, code built"),
        ev.PhaseStarted(host=host, phase="start"),
        ev.Failed(host=host, exit=5, message="v43 is not healthy: the process ended by itself (exit status 3)",
                  state="v42 serves, uninterrupted; v43 never got a request", next="fab logs -n 200",
                  logs=("Traceback (most recent call last):", '  File "/srv/shop/trees/0123456789abcdef0123/shop/settings.py", line 5, in <module>', "    KEY = os.environ['KEY']", "KeyError: 'KEY'")),
        ev.Finished(host=host, exit=5, serving="v42", seconds=9.0),
    )
)  # fmt: skip
FLEET_END = ev.FleetFinished(
    exit=5, seconds=12.0, summary="refused: v43 failed before the switch on 3 of 3 hosts", next="fab logs -n 200",
    state="v42 serves on all hosts, uninterrupted",
    hosts=tuple(ev.HostEnd(host=host, result="failed", exit=5, serving="v42", seconds=9.0) for host in HOSTS),
)  # fmt: skip


def answer(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    out = Terminal()
    ANSWERS[name](out)
    return ANSI.sub("", out.getvalue())


def command(name: str, width: int) -> tuple[list[str], str]:
    """What a deploy draws before its end, and all that stays."""
    hosts = HOSTS if name == "deploy-fleet" else HOSTS[:1]
    file, clock = Terminal(), Clock()
    console = Console(file=safe(file), width=width, height=24, force_terminal=True, _environ={"TERM": "xterm"})
    report = LiveReporter(console, title="deploy shop", hosts=hosts, clock=clock)
    drawn: list[str] = []
    for event in DEPLOYED if len(hosts) > 1 else DEPLOYED[: len(DEPLOYED) // 3]:
        if isinstance(event, ev.Failed):
            drawn = [line.plain.rstrip() for line in report._frame()]
        report(event)
    if len(hosts) > 1:
        report(FLEET_END)
    report.close()
    end = file.getvalue().rpartition("\x1b[?25h")[2]
    return drawn, ANSI.sub("", end).lstrip("\r")


def folded(text: str, width: int) -> str:
    """As a terminal shows it: it goes on in the next row where a line is too long."""
    rows = [row.rstrip() for line in text.split("\n") for row in (chop_cells(line, width) or [""])]
    return "\n".join(rows)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*ANSWERS, "deploy", "deploy-fleet"])
def test_each_view_in_each_window(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the picture; nothing is wider than the window, and no word is broken that would fit into it."""
    drawn: list[str] = []
    if name in ANSWERS:
        text, wide = answer(name, width, monkeypatch), answer(name, 400, monkeypatch)
    else:
        drawn, text = command(name, width)
        wide = command(name, 400)[1]
    assert all(cell_len(line) <= width for line in drawn)
    shown = folded(text, width)
    picture = "\n".join([*drawn, "-" * width, shown]) if drawn else shown
    file = SCREENS / f"{name}-{width}.txt"
    if os.environ.get("SCREENS") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(picture)
    assert picture == file.read_text()
    assert not words(shown) - words(wide)


def words(text: str) -> set[str]:
    """Those of prose: names of hosts and headings are shortened, and rules are as long as there is room."""
    found = (word.strip(",;:()") for word in text.split())
    return {word for word in found if re.fullmatch(r"[A-Za-z]+", word) and not any(word in host for host in HOSTS)}


def test_a_line_flows_between_words_and_stays_one_line() -> None:
    """Rows are filled with blanks: what is copied has no line break, and words longer than a row are left alone."""
    text = flowing(Text("! web1: run fab setup -H root@web1.example.com again"), 24)
    assert "\n" not in text.plain
    assert chop_cells(text.plain, 24) == [
        "! web1: run fab setup -H",
        "  root@web1.example.com ",
        "  again",
    ]
    assert text.plain.split() == ["!", "web1:", "run", "fab", "setup", "-H", "root@web1.example.com", "again"]
    long = f"fab logs {'x' * 60}"
    assert flowing(Text(long), 24).plain == long


@pytest.mark.parametrize("width", [10, 11, 24, 25])
def test_wide_characters_count_twice(width: int) -> None:
    """Emoji and Chinese in what a host says break no row."""
    text = flowing(Text("部署 失败 了 🚀 rocket 部署 失败 end"), width).plain
    rows = chop_cells(text, width)
    assert all(cell_len(row) <= width for row in rows)
    assert [word for row in rows for word in row.split()] == text.split()


def test_a_name_is_shortened_in_its_middle() -> None:
    """Its beginning and its end tell hosts apart."""
    assert middle("web1.frankfurt.example.com", 12) == "web1.f…e.com"
    assert middle("web1", 12) == "web1"
    assert len(middle("x" * 50, 9)) == 9
