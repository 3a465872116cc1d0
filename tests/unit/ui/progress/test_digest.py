"""The reason of a failure in few lines: golden digests of what real servers said, and what holds for any text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import events as ev
from deployer.ui.progress.command import CommandProgress
from deployer.ui.progress.digest import LONGEST, MOST, digest, excerpt
from deployer.ui.progress.outcome import outcome_of
from deployer.ui.style.names import Names
from tests.support.screen import Live

SAID = Path(__file__).parent / "tracebacks"
"""What processes wrote to the journal when they failed on a Debian 12 host, line by line."""

CELERY = """\
ModuleNotFoundError: No module named 'shop.celery_missing'
  celery, click, importlib: 26 frames
  shop/tasks.py:1, in <module>: import shop.celery_missing
KeyError: 'BROKER_URL'
  celery, importlib: 10 frames
  shop/celery.py:5, in <module>: app = Celery("shop", broker=os.environ["BROKER_URL"])
  os: 1 frame
"""
GUNICORN = """\
KeyError: 'PAYMENT_KEY'   (×4)
  gunicorn, importlib: 14 frames
  shop/wsgi.py:9, in <module>: application = get_wsgi_application()
  django, importlib: 12 frames
  shop/settings.py:53, in <module>: PAYMENT_KEY = required("PAYMENT_KEY")
  shop/settings.py:50, in required: return os.environ[name]
  os: 1 frame
[2026-11-28 17:03:27 +0000] [535] [ERROR] Exception in worker process   (×4)
[2026-11-28 17:03:27 +0000] [524] [ERROR] Worker (pid:531) exited with code 3.   (×2)
[2026-11-28 17:03:28 +0000] [524] [ERROR] Shutting down: Master   (×2)
[2026-11-28 17:03:28 +0000] [524] [ERROR] Reason: Worker failed to boot.   (×2)
"""
UVICORN = """\
RuntimeError: set PAYMENT_KEY: fab env set PAYMENT_KEY=…   (×2)
  multiprocessing, uvicorn, asyncio, …: 20 frames
  shop/asgi.py:9, in <module>: django = get_asgi_application()
  django, importlib: 12 frames
  shop/settings.py:56, in <module>: raise RuntimeError("set PAYMENT_KEY: fab env set PAYMENT_KEY=…") from error
caused by KeyError: 'PAYMENT_KEY'
  shop/settings.py:54, in <module>: PAYMENT_KEY = required("PAYMENT_KEY")
  shop/settings.py:50, in required: return os.environ[name]
  os: 1 frame
"""
SYNTAX = """\
SyntaxError: '[' was never closed   (×2)
  gunicorn, importlib: 14 frames
  shop/wsgi.py:9, in <module>: application = get_wsgi_application()
  django, importlib: 14 frames
  shop/settings.py:53: SITES = [1, 2
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
"""
MIGRATE = """\
django.db.utils.OperationalError: no such table: nowhere
  django: 13 frames
  django/db/backends/utils.py:103, in _execute: return self.cursor.execute(sql)
  django/db/backends/sqlite3/base.py:356, in execute: return super().execute(query)
"""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("gunicorn", GUNICORN),
        ("uvicorn", UVICORN),
        ("gunicorn-syntax", SYNTAX),
        ("migrate", MIGRATE),
        ("celery", CELERY),
    ],
)
def test_real_tracebacks_in_short(name: str, wanted: str) -> None:
    """The exception first, with how often it came, then the app's own frames by the project's paths."""
    told = digest((SAID / f"{name}.txt").read_text().splitlines())
    assert "".join(f"{line}\n" for line in told).startswith(wanted)
    assert len(told) <= MOST


FRAME = '  File "/srv/shop/trees/0123456789abcdef0123/shop/a.py", line 1, in f'
PIECES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        "  + Exception Group Traceback (most recent call last):",
        FRAME,
        '  File "/srv/shop/venvs/00/lib/python3.12/site-packages/x/y.py", line 2, in g',
        "    f(x)",
        "    ~^^^",
        "  [Previous line repeated 900 more times]",
        "",
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
        "[2026-11-28 17:03:27 +0000] [531] [ERROR] Exception in worker process",
        "INFO:     Waiting",
    ]
)
RAISED = st.from_regex(r"[A-Z][a-z]{1,8}Error: [a-z ]{0,30}", fullmatch=True)


@given(st.lists(st.one_of(PIECES, RAISED, st.text(max_size=40)), max_size=120), st.integers(6, 40))
def test_any_text_has_a_bounded_digest(lines: list[str], most: int) -> None:
    """It raises nothing, is never longer than was asked, and is never empty when there was something."""
    told = digest(lines, most)
    assert len(told) <= most
    assert all(len(line) <= LONGEST + 40 for line in told)
    assert bool(told) == any(line.strip() for line in lines) or any("Traceback" in line for line in lines)


@given(
    st.lists(st.one_of(PIECES, RAISED), max_size=60),
    st.integers(1, 30),
    RAISED,
    st.lists(st.sampled_from(["[2026-01-01 00:00:00] bye", "INFO: over"]), max_size=5),
)
def test_the_last_exception_is_never_lost(before: list[str], depth: int, last: str, after: list[str]) -> None:
    """Whatever came before it, however deep it is, and whatever a server says afterwards."""
    lines = [*before, "", "Traceback (most recent call last):", *[FRAME, "    f(x)"] * depth, last, *after]
    assert any(last.strip() in line for line in digest(lines))


def test_a_message_of_several_lines_is_kept() -> None:
    """Pydantic says in the second line which setting is missing."""
    said = ["Traceback (most recent call last):", FRAME, "pydantic.ValidationError: 1 error", "key", "  Field required"]
    assert digest(said)[:3] == ["pydantic.ValidationError: 1 error", "key", "  Field required"]


def test_what_is_logged_after_an_exception_is_no_part_of_it() -> None:
    """Django logs a line before each traceback: it is told once, and does not make two exceptions of one."""
    said = ["Internal Server Error: /", "Traceback (most recent call last):", FRAME, "NameError: x"] * 3
    assert digest(said) == ["NameError: x   (×3)", "  shop/a.py:1, in f", "Internal Server Error: /   (×3)"]


def test_what_is_no_traceback_is_told_once_each() -> None:
    """What four workers say is one line; the last lines are those that stay."""
    said = [f"[2026-01-01 00:00:0{n}] [{n}] Address in use" for n in range(4)]
    assert digest(["start", *said]) == ["start", "[2026-01-01 00:00:03] [3] Address in use   (×4)"]
    assert digest([f"line {n}" for n in range(99)], 10) == [f"line {n}" for n in range(89, 99)]


def test_the_heading_says_that_something_was_left_out() -> None:
    """Lines that are shown in whole have their plain heading."""
    assert excerpt("web", ["a", "b"]) == ("web", ["a", "b"])
    assert excerpt("web", ["a", "a"]) == ("web, in short", ["a   (×2)"])
    assert excerpt("", ["a", "a"], whole=True) == ("last log lines", ["a", "a"])


def failed(host: str, pid: int) -> list[ev.Event]:
    said = (SAID / "gunicorn.txt").read_text().replace("[497]", f"[{pid}]").replace("17:03:26", f"17:03:{pid % 60:02}")
    said = said if pid % 2 else said[len(said) // 4 :]
    logs = tuple(said.splitlines())
    return [ev.PhaseStarted(host=host, phase="start"), ev.Failed(host=host, exit=5, message="not healthy", logs=logs)]


def test_hosts_that_fail_in_the_same_way_are_told_once() -> None:
    """Times, process ids, and how often a worker was started differ between hosts, and do not make two failures."""
    hosts = ("web1", "web2", "web3")
    progress = CommandProgress(hosts)
    for at, host in enumerate(hosts):
        for event in failed(host, 500 + at):
            progress.apply(event, 0.0)
    ends = tuple(ev.HostEnd(host=host, result="failed", exit=5) for host in hosts)
    end = ev.FleetFinished(exit=5, hosts=ends)
    (panel,) = outcome_of(end, progress, Names(hosts)).panels
    assert panel.unit == "web1, web2, web3: last log lines, in short"
    assert panel.lines[0].startswith("KeyError: 'PAYMENT_KEY'")


def test_the_cause_is_on_the_screen() -> None:
    """On one host in a terminal of 24 lines the exception is not scrolled away; with --verbose all of it is shown."""
    text = Live().feed([*failed("web1", 497), ev.Finished(host="web1", exit=5)]).text()
    assert "KeyError: 'PAYMENT_KEY'   (×4)" in "\n".join(text.splitlines()[-20:])
    assert "site-packages" not in text
    whole = Live(verbose=True).feed([*failed("web1", 497), ev.Finished(host="web1", exit=5)]).text()
    assert whole.count("site-packages") > 20


def test_a_client_that_went_away_is_no_reason() -> None:
    """Such a traceback is told in a line, behind any other that there is."""
    gone = [
        "Traceback (most recent call last):",
        '  File "/srv/shop/releases/v2/code/shop/views.py", line 3, in stream',
        "    sock.send(part)",
        "BrokenPipeError: [Errno 32] Broken pipe",
    ]
    assert digest([*gone, "leaving now"]) == [
        "a reader went away: BrokenPipeError: [Errno 32] Broken pipe",
        "leaving now",
    ]
    shown = digest(["Traceback (most recent call last):", '  File "/usr/lib/python3.11/x.py", line 1, in <module>',
                    "    f()", "ValueError: the reason", *gone])  # fmt: skip
    assert shown.index("ValueError: the reason") < shown.index("BrokenPipeError: [Errno 32] Broken pipe")
