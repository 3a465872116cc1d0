"""Work on all hosts of a fleet: every host has its own end, none waits for another, and a Ctrl-C waits for none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import events
from deployer.commands.console.run import run
from deployer.commands.console.session import Place
from deployer.commands.release import attach
from deployer.config import Config
from deployer.errors import Busy, ConfigError, Exit, Unreachable
from deployer.fleet.hosts import Fleet, HostResult, each
from deployer.fleet.results import conclude, most_severe
from deployer.remote.answers import StatusOf
from deployer.remote.session import Outcome, Over, Remote
from deployer.remote.site import Site
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.advice import do

NOBODY = Unreachable(message="web2 can't be reached", state="nothing was touched", next=do("check"), host="web2")


def fleet_of(*names: str, heard: list[events.Event] | None = None, **options: Any) -> Fleet:
    report = (heard if heard is not None else []).append
    config = Config(app="shop")
    sites = tuple(
        Site(root=Path(), config=config, target=Target.parse(name), ssh=SshOptions(), report=report) for name in names
    )
    return Fleet(sites=sites, config=config, report=report, **options)


def outcome(site: Site, exit: Exit = Exit.OK) -> Outcome:
    return Outcome(host=site.host, exit=exit, release="", serving="v3")


def test_each_host_has_its_own_end_in_the_order_of_the_fleet() -> None:
    """A host that can't be reached stops no other; its error is told at once, as its own."""
    heard: list[events.Event] = []

    def work(site: Site) -> str:
        if site.host == "web2":
            raise NOBODY
        return site.host.upper()

    ends = each(fleet_of("web1", "web2", "web3", heard=heard), work)
    assert [ended.value for ended in ends] == ["WEB1", None, "WEB3"]
    assert ends[1].error is NOBODY
    with pytest.raises(Unreachable):
        ends[1].result()
    told = {type(event): event for event in heard}
    failed, finished = told[events.Failed], told[events.Finished]
    assert isinstance(failed, events.Failed) and isinstance(finished, events.Finished)
    assert (failed.host, failed.exit, failed.message, str(failed.next)) == ("web2", 3, NOBODY.message, "check")
    assert (finished.host, finished.exit) == ("web2", 3)


def test_no_more_hosts_than_parallel_at_a_time() -> None:
    """With parallel = 2 never three are at work; what follows until Ctrl-C has all of them at once."""
    lock, now, most = threading.Lock(), 0, 0
    pair = threading.Barrier(2)

    def work(site: Site) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait(30)  # two are at work at the same time
        with lock:
            now -= 1

    each(fleet_of(*"abcdef", parallel=2), work)
    assert most == 2
    all_six = threading.Barrier(6)
    ends = each(fleet_of(*"abcdef", parallel=2), lambda _: all_six.wait(30), all_at_once=True)
    assert len(ends) == 6


def test_a_fleet_of_one_works_in_the_calling_thread() -> None:
    """So Ctrl-C is met there as before; its error is not reported, and is raised when its end is asked for."""
    heard: list[events.Event] = []
    fleet = fleet_of("web2", heard=heard)
    (ended,) = each(fleet, lambda _: threading.current_thread())
    assert ended.result() is threading.current_thread()

    def fails(_: Site) -> None:
        raise NOBODY

    with pytest.raises(Unreachable):
        conclude(fleet, each(fleet, fails))
    assert heard == []


def test_a_bug_is_the_end_of_its_host_with_its_traceback() -> None:
    """It is told where it happened, and no other host is cut short by it; the command ends with exit code 1."""
    heard: list[events.Event] = []
    done = []

    def work(site: Site) -> None:
        if site.host == "web1":
            raise ZeroDivisionError("oops")
        done.append(site.host)

    fleet = fleet_of("web1", "web2", "web3", heard=heard)
    assert conclude(fleet, each(fleet, work)) == Exit.BUG
    assert sorted(done) == ["web2", "web3"]
    failed = next(event for event in heard if isinstance(event, events.Failed))
    assert (failed.host, failed.exit) == ("web1", Exit.BUG)
    assert failed.message.startswith("this is a bug of deployer: ZeroDivisionError: oops; the whole traceback is in /")
    assert any('raise ZeroDivisionError("oops")' in line for line in failed.logs)
    assert Path(__file__).name in Path(failed.message.rpartition(" ")[2]).read_text()


HANGS = """
import threading
from tests.unit.fleet.test_hosts import fleet_of
from deployer.fleet.hosts import each

def work(site):
    if site.host == "b":
        print("hangs", flush=True)
        threading.Event().wait()

fleet = fleet_of("a", "b", "c", "d", parallel=2)
try:
    each(fleet, work)
except KeyboardInterrupt:
    print("heard", flush=True)
"""


def test_a_ctrl_c_is_heard_at_once_though_a_host_hangs() -> None:
    """The process ends without the thread that hangs."""
    argv = [sys.executable, "-c", HANGS]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline() != "hangs\n":
                pass
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert out == "heard\n"
    assert process.returncode == 0


def test_every_end_is_told() -> None:
    """One event names each host's result, whether all went well or not."""
    heard: list[events.Event] = []
    fleet = fleet_of("a", "b", "c", "d", "e", "f", heard=heard)

    def work(site: Site) -> Outcome | None:
        if site.host == "b":
            raise NOBODY
        if site.host == "c":
            raise Busy(message="busy")
        if site.host == "d":
            site.report(events.Failed(host="d", exit=2, message="why", logs=("line",)))
            raise Over(outcome(site, Exit.USAGE))
        if site.host == "e":
            return None
        return outcome(site, Exit.MIXED if site.host == "f" else Exit.OK)

    assert conclude(fleet, each(fleet, work), exit_of=lambda value: value.exit) == Exit.MIXED  # type: ignore[union-attr]
    told = heard[-1]
    assert isinstance(told, events.FleetFinished)
    assert [(end.host, end.result, end.exit) for end in told.hosts] == [
        ("a", "done", 0),
        ("b", "unreachable", 3),
        ("c", "busy", 4),
        ("d", "failed", 2),
        ("e", "untouched", 0),
        ("f", "failed", 7),
    ]
    assert told.hosts[0].serving == "v3"
    assert (told.hosts[3].detail, told.hosts[3].logs) == ("why", ("line",))
    assert told.summary == "2 of 6 hosts are done; not: b, c, d, f"
    heard.clear()
    assert conclude(fleet, each(fleet, outcome)) == 0
    (told,) = heard
    assert isinstance(told, events.FleetFinished)
    assert (told.exit, told.summary, {end.result for end in told.hosts}) == (0, "done on 6 hosts", {"done"})


@pytest.mark.parametrize(
    ("said", "summary"),
    [(("", ""), "done on 2 hosts"), (("up", "up"), "done on 2 hosts: up"), (("up", "down"), "done on 2 hosts")],
)
def test_what_hosts_say_at_their_end_is_told(said: Sequence[str], summary: str) -> None:
    """With each of them, and in the summary where all say the same."""
    heard: list[events.Event] = []
    fleet = fleet_of("a", "b", heard=heard)
    words = dict(zip("ab", said, strict=True))

    def work(site: Site) -> bool:
        site.report(events.Finished(host=site.host, exit=0, summary=words[site.host]))
        return True

    assert conclude(fleet, each(fleet, work)) == 0
    told = heard[-1]
    assert isinstance(told, events.FleetFinished)
    assert (told.summary, tuple(end.detail for end in told.hosts)) == (summary, tuple(said))


@pytest.mark.parametrize(
    ("codes", "exit"),
    [((0, 0), 0), ((0, 4), 4), ((4, 3), 3), ((3, 2), 2), ((2, 5), 5), ((3, 7), 7), ((7, 130, 1), 130)],
)
def test_the_gravest_code_counts(codes: Sequence[int], exit: int) -> None:
    """Not the greatest number: what most wants a person's eye."""
    assert most_severe(codes) == exit
    assert most_severe(tuple(reversed(codes))) == exit


# A host that does not answer


class SilentChannel:
    """A program that was started and never says a word."""

    stderr = b""

    def write(self, data: bytes) -> None:
        assert json.loads(data)["op"] == "status"

    unread = b""

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        return b""

    def close_stdin(self) -> None: ...

    def __enter__(self) -> SilentChannel:
        return self

    def __exit__(self, *_: object) -> None: ...

    def readline(self, deadline: float | None = None) -> bytes:
        assert deadline is not None, "it would be waited for without end"
        raise TimeoutError


class SilentLink:
    host, user, is_root, by_hand = "deploy@web1", "deploy", False, "ssh deploy@web1"

    def open(self, _: Sequence[str], *, terminal: bool = False) -> SilentChannel:
        return SilentChannel()


def test_a_host_whose_program_never_answers_is_named() -> None:
    """Unreachable, with the host and the limit."""
    remote = Remote(SilentLink(), "shop", lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(Unreachable) as caught:
        remote.query({"op": "status"}, StatusOf)
    assert caught.value.host == "deploy@web1"
    assert "deploy@web1" in caught.value.message and "no command of ours begins" in caught.value.message


# Commands on hosts


def test_without_words_there_is_nothing_to_run() -> None:
    """It says what to type, before any host is connected to."""
    with pytest.raises(ConfigError) as caught:
        run(fleet_of("web1"), (), Place())
    assert str(caught.value.next) == "fab run -- python manage.py check"


def test_a_command_ends_with_the_highest_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that can't be reached is a 3 among them."""
    statuses: dict[str, int | Exception] = {"a": 0, "b": NOBODY, "c": 2}

    def runs(site: Site, *_: object, **options: object) -> int:
        status = statuses[site.host]
        if isinstance(status, Exception):
            raise status
        return status

    monkeypatch.setattr("deployer.commands.console.session._run", runs)
    assert run(fleet_of("a", "b", "c"), ["true"], Place()) == 3
    statuses["c"] = 130
    assert run(fleet_of("a", "b", "c"), ["true"], Place()) == 130


def follow_by(monkeypatch: pytest.MonkeyPatch, work: Callable[[Site], Outcome | None]) -> None:
    """What runs on a host, or None, is told by ``work``."""
    monkeypatch.setattr(attach, "follow", lambda fleet, plan, **_: each(fleet, work))


@pytest.mark.parametrize(("running", "exit"), [("a", 0), ("ab", 0)])
def test_hosts_without_a_deploy_are_passed_by(running: str, exit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abort of a fleet is done when what ran has ended."""
    follow_by(monkeypatch, lambda site: outcome(site) if site.host in running else None)
    assert attach.abort(fleet_of("a", "b")) == exit


def test_an_abort_where_nothing_runs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, as on a single host."""
    follow_by(monkeypatch, lambda _: None)
    with pytest.raises(ConfigError) as caught:
        attach.abort(fleet_of("a", "b"))
    assert caught.value.message == "no deploy is running on any of the 2 hosts"


def test_a_host_that_cannot_be_asked_is_no_host_without_a_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs on one, the other is unreachable: 3, and not that nothing runs."""

    def work(site: Site) -> None:
        if site.host == "b":
            raise replace(NOBODY)

    follow_by(monkeypatch, work)
    assert attach.abort(fleet_of("a", "b")) == 3


def test_an_end_without_an_error_has_a_value() -> None:
    """Nothing to say is a value, too."""
    ended: HostResult[None] = HostResult(site=fleet_of("a").sites[0])
    assert ended.answered
    assert ended.result() is None
