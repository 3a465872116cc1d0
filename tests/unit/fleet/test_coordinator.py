"""A release is led through a fleet whose hosts are played by threads: who is told what, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from deployer import events
from deployer.config import Config
from deployer.config.tables.fleet import Hooks
from deployer.errors import ConfigError, Exit, Interrupted, Unreachable
from deployer.events import FleetFinished
from deployer.fleet import coordinator, hooks, worker
from deployer.fleet import release as releasing
from deployer.fleet.coordinator import follow
from deployer.fleet.hosts import Fleet
from deployer.fleet.messages import HostFailed, HostMet, Message
from deployer.fleet.release import begin, release, was_busy
from deployer.fleet.worker import HostWorker
from deployer.release.placement import Payload, Placement
from deployer.remote import job
from deployer.remote.decision import Decision
from deployer.remote.facts import Facts
from deployer.remote.job import Follower
from deployer.remote.program import host_program
from deployer.remote.session import Remote
from deployer.remote.site import Site
from deployer.rollout import Strategy
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.protocol import PROTOCOL

BUSY = {"by": "ada@laptop", "kind": "deploy", "since": 1.0, "phase": "check", "job": "7", "waits": "switch"}
BOUND = 20.0
"""Seconds within which what is waited for happens, however slow the machine."""
AT_ONCE = Strategy()


class Host:
    """A host that does as it is told. ``deaf`` is an op on which it says nothing; ``busy`` is who works on it.

    ``fails_in`` names the phase that fails, ``heard`` are all words that came over any connection.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy: dict[str, Any] | None = None
        self.deaf = ""
        self.fails_in = ""
        self.refuses = 0
        self.unreachable = False
        self.next = 2
        self.heard: list[dict[str, Any]] = []
        self.links: list[Link] = []
        self.log: list[dict[str, Any]] = []
        self.met = threading.Event()
        self.on: dict[str, Callable[[Link], None]] = {}
        """What is done in place of an answer to an op, or to a ``go switch``."""

    def connect(self) -> Link:
        if self.unreachable:
            raise Unreachable(message=f"{self.name} can't be reached", host=self.name)
        self.links.append(Link(self))
        return self.links[-1]

    def said(self, op: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["op"] == op]

    def take(self, link: Link, message: dict[str, Any]) -> None:
        self.heard.append(message)
        op = f"{message['op']} {message.get('barrier', '')}".strip()
        if op == self.deaf:
            return
        if op in self.on:
            self.on.pop(op)(link)
            return
        deed = getattr(self, "_" + op.replace(" ", "_"), None)
        if deed is not None:
            deed(link)

    def tell(self, link: Link, name: str, **fields: Any) -> None:
        event = {"event": name, "at": 1.0, **fields}
        self.log.append(event)
        link.say(event)

    def _ask(self, link: Link) -> None:
        link.say(
            {
                "event": "answer", "protocol": PROTOCOL, "next": self.next, "target": "", "usable": {},
                "program": host_program().digest,
                "app": "shop", "current": "v1", "spec": None, "busy": self.busy,
                "base": {"key": "", "digest": "", "altered": "", "ids": ""}, "partials": {}, "free": 1,
            }
        )  # fmt: skip
        self.met.set()

    def _wait(self, link: Link) -> None:
        link.say({"event": "answer"})

    def _hold(self, link: Link) -> None:
        link.say({"event": "holding"})

    def _release(self, link: Link) -> None:
        if self.refuses:
            self._end(link, self.refuses, "no", begun=False)
            return
        link.say({"event": "following", "job": "00000007"})
        self.become_ready(link)

    def become_ready(self, link: Link) -> None:
        self._phase(link, "check")
        if self.fails_in != "check":
            self.tell(link, "ready", phase="switch", release="v2")

    def _attach(self, link: Link) -> None:
        link.say({"event": "following", "job": "00000007"})
        for event in self.log:
            link.say(event)

    def _go_switch(self, link: Link) -> None:
        self.tell(link, "switched", to="v2", previous="v1")
        self._phase(link, "watch")
        if self.fails_in != "watch":
            self.tell(link, "ready", phase="keep", release="v2")

    def _go_keep(self, link: Link) -> None:
        self._end(link, 0, "")

    def _undo(self, link: Link) -> None:
        switched = any(event["event"] == "switched" for event in self.log)
        self._end(link, 6 if switched else 5, "undone")

    def _phase(self, link: Link, phase: str) -> None:
        self.tell(link, "phase.started", phase=phase, release="v2", detail="")
        if self.fails_in == phase:
            self.tell(link, "phase.failed", phase=phase, release="v2", seconds=1.0, detail="")
            self._end(link, 6 if phase == "watch" else 5, f"{phase} failed")

    def _end(self, link: Link, exit: int, message: str, *, begun: bool = True) -> None:
        serves = "v2" if not exit else "v1"
        release = "v2" if begun else ""
        if message:
            self.tell(link, "failed", exit=exit, message=message, state="", next="", logs=[])
        self.tell(link, "finished", exit=exit, release=release, serving=serves, seconds=1.0, summary=message or serves)


class Link:
    """A connection to a Host, and its one channel."""

    def __init__(self, host: Host) -> None:
        self.host, self.user, self.is_root = host.name, "deploy", False
        self._host = host
        self._lines: SimpleQueue[bytes | Exception] = SimpleQueue()
        self.closed = threading.Event()
        self.stderr = b""
        self.bytes_up = 0
        self.took = 0.0

    def open(self, argv: Sequence[str], *, terminal: bool = False) -> Link:
        return self

    def say(self, event: Mapping[str, Any]) -> None:
        self._lines.put(json.dumps(event).encode() + b"\n")

    def cut(self) -> None:
        self._lines.put(Unreachable(message=f"the connection to {self.host} was lost", host=self.host))

    def write(self, data: bytes) -> None:
        if not self.closed.is_set():
            self._host.take(self, json.loads(data))

    unread = b""

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        return b""

    def readline(self, deadline: float | None = None) -> bytes:
        line = self._lines.get(timeout=BOUND)
        if isinstance(line, Exception):
            raise line
        return line

    def exit_status(self, timeout: float | None = None) -> int:
        return 1

    def close(self) -> None:
        self.closed.set()
        self.cut()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Release:
    """The least release there is. ``facts`` are those that the hosts were asked to agree with."""

    again = "fab deploy"

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.facts: dict[str, Facts] = {}
        self.placements: dict[str, Placement] = {}

    def agree(self, facts: Mapping[str, Facts]) -> None:
        self.facts = dict(facts)
        if self.refuses:
            raise ConfigError(message=self.refuses)

    def migrator(self, hosts: Sequence[str], /) -> str:
        return ""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        self.placements[site.host] = placement
        return Payload(message={"op": "release"})


class Bed:
    """Hosts, and a fleet of them whose reports are ``told``."""

    def __init__(self, *names: str) -> None:
        self.hosts = {name: Host(name) for name in names}
        self.told: list[events.Event] = []
        self.display = threading.Lock()
        """Held by whoever has the terminal."""
        self.release = Release()
        self.decide: Callable[[str], Decision] | None = None
        self.hooks = Hooks()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def report(self, event: events.Event) -> None:
        with self.display:
            self.told.append(event)

    def fleet(self, **options: Any) -> Fleet:
        config = Config(app="shop", hooks=self.hooks)
        sites = tuple(
            Site(root=Path(), config=config, target=Target.parse(name), ssh=SshOptions(), report=self.report)
            for name in self.hosts
        )
        return Fleet(sites=sites, config=config, report=self.report, decide=self.decide, **options)

    def run(self, strategy: Strategy = AT_ONCE, *, wait: bool = False, **options: Any) -> FleetFinished:
        release(self.fleet(**options), lambda: self.release, strategy=strategy, wait=wait)
        (verdict,) = self.of(FleetFinished)
        assert isinstance(verdict, FleetFinished)
        return verdict

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


def results(verdict: FleetFinished) -> dict[str, str]:
    return {end.host: end.result for end in verdict.hosts}


@pytest.fixture
def bed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    made = Bed("web2", "web1", "web3")
    monkeypatch.setattr(worker, "connect", lambda target, _: made[target.name].connect())
    monkeypatch.setattr(job, "PAUSE", 0)
    monkeypatch.setattr(job, "PATIENCE", 0)
    monkeypatch.setattr(releasing, "BEAT", 0.02)
    monkeypatch.setattr(coordinator, "TICK", 0.01)
    yield made


# Orders


def test_every_host_is_told_to_switch_and_to_keep(bed: Bed) -> None:
    """One number, the same barriers, and each word once where no connection is lost."""
    bed["web3"].next = 9
    verdict = bed.run()
    assert (verdict.exit, set(results(verdict).values())) == (Exit.OK, {"done"})
    assert {placement.number for placement in bed.release.placements.values()} == {9}
    assert {placement.barriers for placement in bed.release.placements.values()} == {("switch", "keep")}
    for host in bed.hosts.values():
        assert [word["barrier"] for word in host.said("go")] == ["switch", "keep"]


def test_the_hosts_are_compared_in_the_order_in_which_they_were_named(bed: Bed) -> None:
    """Messages about them name them as the user did, not as they happened to answer."""
    bed.run()
    assert list(bed.release.facts) == ["web2", "web1", "web3"]


def test_the_refusal_of_one_dismisses_the_others(bed: Bed) -> None:
    """A host that is not reached: nothing is sent to any, and the others are untouched."""
    bed["web1"].unreachable = True
    verdict = bed.run()
    assert verdict.exit == Exit.UNREACHABLE
    assert results(verdict) == {"web2": "untouched", "web1": "unreachable", "web3": "untouched"}
    assert not any(host.said("release") for host in bed.hosts.values())


def test_a_refused_release_has_the_others_undone(bed: Bed) -> None:
    """A host that does not take the request: those whose jobs run are told to give up, and why."""
    bed["web3"].refuses = int(Exit.BUSY)
    verdict = bed.run()
    assert results(verdict)["web3"] == "busy"
    assert not any(host.said("go") for host in bed.hosts.values())
    assert all("web3" in word["why"] for host in bed.hosts.values() for word in host.said("undo"))


def test_hosts_that_do_not_agree_are_left_as_they_were(bed: Bed) -> None:
    """What is wrong with all of them together is one error, and no connection is left open."""
    bed.release.refuses = "the hosts serve different releases"
    with pytest.raises(ConfigError, match="different releases"):
        bed.run()
    assert not any(host.said("release") for host in bed.hosts.values())
    assert all(link.closed.wait(BOUND) for host in bed.hosts.values() for link in host.links)
    assert bed.of(events.Failed) == []


def test_few_are_prepared_at_a_time_and_all_get_their_turn(bed: Bed) -> None:
    """With room for one, the room is given on by a host that is ready, and none waits for ever."""
    assert bed.run(parallel=1).exit == Exit.OK


def test_room_is_given_on_by_one_that_fails(bed: Bed) -> None:
    """A host that cannot be reached keeps no room: the others are dismissed, and all is over."""
    bed["web2"].unreachable = True
    assert results(bed.run(parallel=1))["web2"] == "unreachable"


# Hosts that do not wait for each other


def unread() -> Release:
    raise ConfigError(message="nothing is committed")


@pytest.mark.parametrize("names", [("web1",), ("web1", "web2")])
def test_no_host_is_asked_before_the_project_was_read(names: tuple[str, ...], bed: Bed) -> None:
    """A mistake in the project is the only thing that is told, also where a host cannot be reached."""
    bed.hosts = {name: bed.hosts[name] for name in names}
    bed["web1"].unreachable = len(names) > 1
    with pytest.raises(ConfigError, match="nothing is committed"):
        release(bed.fleet(), unread, strategy=AT_ONCE)
    _until(lambda: all(link.closed.is_set() for host in bed.hosts.values() for link in host.links))
    assert not any(host.heard for host in bed.hosts.values())
    assert bed.of(events.Failed) == []


def begun(bed: Bed) -> int:
    """Begin a release, for phases that are run one by one, on hosts that take it and end at once."""
    for host in bed.hosts.values():
        host.on["release"] = lambda link, host=host: host._end(link, 0, "")
    return begin(bed.fleet(), lambda: bed.release)


def test_a_release_that_is_begun_has_one_number_and_no_barriers(bed: Bed) -> None:
    """Over one connection to each host, with nothing that any of them waits for."""
    bed["web3"].next = 9
    assert begun(bed) == Exit.OK
    assert set(map(str, bed.release.placements.values())) == {str(Placement(number=9))}
    for host in bed.hosts.values():
        assert [message["op"] for message in host.heard] == ["ask", "release"]
        assert len(host.links) == 1


def test_a_host_that_fails_stops_no_other_that_does_not_wait_for_it(bed: Bed) -> None:
    """It is that host's end, it is told, and the others go on."""
    bed["web1"].unreachable = True
    bed["web3"].busy = BUSY
    assert begun(bed) == Exit.UNREACHABLE
    (verdict,) = bed.of(FleetFinished)
    assert results(verdict) == {"web2": "done", "web1": "unreachable", "web3": "busy"}
    assert {event.host for event in bed.of(events.Failed)} == {"web1", "web3"}


def test_what_follows_jobs_is_stopped_by_ctrl_c(bed: Bed) -> None:
    """Of several hosts it is not told what each is at; no host hears of it, and the connections end."""

    def plan(*_: object) -> Payload:
        return Payload(message={"op": "attach"})

    bed["web3"].on["attach"] = follow_and_press
    for name in ("web1", "web2"):
        bed[name].deaf = "attach"
    with pytest.raises(KeyboardInterrupt):
        follow(bed.fleet(), plan, asks=True)
    assert all(link.closed.wait(BOUND) for host in bed.hosts.values() for link in host.links)
    assert bed.of(events.Failed) == []


# What is lost


def test_words_are_said_again_after_a_new_connection(bed: Bed) -> None:
    """A word that a broken connection has swallowed is repeated when the job is followed again."""
    bed["web1"].on["go switch"] = lambda link: link.cut()
    verdict = bed.run()
    assert verdict.exit == Exit.OK
    assert [word["barrier"] for word in bed["web1"].said("go")][:2] == ["switch", "switch"]


def test_no_word_comes_before_the_new_connection_is_attached(bed: Bed) -> None:
    """What a session hears first decides what it is: a sign of life before that would end it."""
    bed["web1"].on["go switch"] = lambda link: link.cut()
    openings: list[str] = []
    connect, take = bed["web1"].connect, bed["web1"].take

    def count() -> Link:
        openings.append("")
        return connect()

    def note(link: Link, message: dict[str, Any]) -> None:
        if not openings[-1]:
            openings[-1] = message["op"]
        take(link, message)

    bed["web1"].connect, bed["web1"].take = count, note  # type: ignore[method-assign]
    assert bed.run().exit == Exit.OK
    assert openings == ["ask", "attach"]


def test_a_host_that_is_silent_while_it_begins_is_given_up(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the request and then hangs, before there is a job to follow, does not hang the run."""
    monkeypatch.setattr(releasing, "BEGINS", 0.2)
    bed["web3"].deaf = "release"
    verdict = bed.run()
    assert (verdict.exit, results(verdict)["web3"]) == (Exit.REFUSED, "lost")
    assert not any(host.said("go") for host in bed.hosts.values())


def test_a_host_to_which_much_is_still_sent_is_not_silent(bed: Bed) -> None:
    """A long request takes its time over a slow line; the signs of life of SSH itself are not taken for that."""
    site = bed.fleet().sites[0]
    one = HostWorker(site, lambda _: None, threading.BoundedSemaphore(1))
    link = bed["web2"].connect()
    one.remote = Remote(link, "shop", bed.told.append)  # type: ignore[arg-type]
    one.silent_since = 100.0
    link.bytes_up = 200
    assert one.silence(150.0) == 50.0
    link.bytes_up = 100_000
    assert one.silence(150.0) == 0.0


def test_a_host_that_falls_silent_is_given_up(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to switch, and is never heard again: the others stay, and it is named."""
    monkeypatch.setattr(releasing, "DEAD", 0.2)
    bed["web3"].on["go switch"] = lambda _: setattr(bed["web3"], "deaf", "hold")
    verdict = bed.run()
    assert verdict.exit == Exit.MIXED
    assert results(verdict) == {"web2": "done", "web1": "done", "web3": "lost"}


def test_a_display_that_breaks_leaves_no_host_waiting(bed: Bed) -> None:
    """Whatever a thread dies of is that host's end: the others are told, and the run is over."""

    def report(event: events.Event) -> None:
        if event.host == "web1" and not isinstance(event, events.Connecting):
            raise RuntimeError("the display is broken")
        bed.told.append(event)

    fleet = bed.fleet()
    sites = tuple(
        Site(root=site.root, config=site.config, target=site.target, ssh=site.ssh, report=report)
        for site in fleet.sites
    )
    broken = Fleet(sites=sites, config=fleet.config, report=bed.told.append)
    release(broken, lambda: bed.release, strategy=AT_ONCE)
    (verdict,) = bed.of(FleetFinished)
    assert results(verdict)["web1"] == "failed"


def test_a_bug_behind_the_sending_leaves_it_unknown_what_the_host_does(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its job, or may have it: it is not told as untouched, and where the bug is stands in the report."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("who would have thought")

    send = worker.Follower.send

    def sends(run: Any, *given: Any, **more: Any) -> Any:
        if run._remote.host == "web1":
            broken()
        return send(run, *given, **more)

    monkeypatch.setattr(worker.Follower, "send", sends)
    verdict = bed.run()
    assert results(verdict)["web1"] == "lost"
    assert "web1 discards its candidate without a word" in verdict.state
    failed = next(event for event in bed.told if isinstance(event, events.Failed) and event.host == "web1")
    assert failed.state == "what it serves, and whether something runs there, is not known"
    assert any("in broken" in line for line in failed.logs)


# Ctrl-C


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def follow_and_press(link: Link) -> None:
    """The host's job is followed, and Ctrl-C is pressed before it says anything."""
    link.say({"event": "following", "job": "00000007"})
    press()


def test_ctrl_c_with_nobody_to_ask_ends_it_on_all_hosts(bed: Bed) -> None:
    """Before the switch every candidate is discarded, and it says by whom."""
    bed["web3"].on["release"] = follow_and_press
    verdict = bed.run()
    assert verdict.exit == Exit.REFUSED
    assert "aborted by" in verdict.summary
    assert bed["web3"].said("undo")
    assert all(host.said("undo") or not host.said("release") for host in bed.hosts.values())


def test_leases_are_renewed_while_a_person_thinks(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answer takes, the hosts hear of the laptop. That nobody listened to one which had something to
    show meanwhile, while the terminal was taken, does not make that host a silent one."""
    monkeypatch.setattr(releasing, "DEAD", 0.3)

    def think(_: str) -> Decision:
        with bed.display:
            before = len(bed["web1"].said("hold"))
            _until(lambda: len(bed["web1"].said("hold")) > before + 20)  # longer than DEAD
        return Decision.FOLLOW

    bed.decide = think
    bed["web3"].on["release"] = follow_and_press
    bed["web3"].on["hold"] = bed["web3"].become_ready
    assert bed.run().exit == Exit.OK


def test_to_leave_is_told_and_nothing_else(bed: Bed) -> None:
    """Whoever leaves is told what becomes of the hosts; that the connections end is not news."""
    bed.decide = lambda _: Decision.LEAVE
    bed["web3"].on["release"] = follow_and_press
    with pytest.raises(Interrupted) as caught:
        bed.run()
    assert "discard it within a minute" in caught.value.state
    assert all(link.closed.wait(BOUND) for host in bed.hosts.values() for link in host.links)
    assert bed.of(events.Failed) + bed.of(events.Warn) == []
    assert not any(host.said("undo") for host in bed.hosts.values())


def test_a_second_ctrl_c_leaves(bed: Bed) -> None:
    """The hosts were told to abort; whoever presses again does not wait for them."""
    bed["web3"].on["release"] = follow_and_press
    bed["web3"].on["undo"] = lambda _: press()
    with pytest.raises(Interrupted):
        bed.run()
    assert bed["web3"].said("undo")


# Hooks


@pytest.fixture
def note(tmp_path: Path) -> Callable[[], list[str]]:
    path = tmp_path / "hooks"
    path.touch()
    return lambda: path.read_text().split()


def hooked(tmp_path: Path, *, fails: str = "") -> Hooks:
    """Hooks that note themselves; ``drain`` fails, with two lines, for the host of that name."""
    script = tmp_path / "hook.py"
    script.write_text(
        "import sys\n"
        f"open({str(tmp_path / 'hooks')!r}, 'a').write('-'.join(sys.argv[1:]) + '\\n')\n"
        f"sys.exit('it is\\nnot there' if sys.argv[1:] == ['drain', {fails!r}] else 0)\n"
    )
    command = f"{sys.executable} {script}"
    return Hooks(drain=f"{command} drain {{host}}", undrain=f"{command} undrain {{host}}")


def test_hooks_run_for_each_wave(bed: Bed, tmp_path: Path, note: Callable[[], list[str]]) -> None:
    """Each host is drained before it switches and undrained when it is good, one wave after the other."""
    bed.hooks = hooked(tmp_path)
    assert bed.run(Strategy(batch="1")).exit == Exit.OK
    assert note() == [f"{do}-{host}" for host in bed.hosts for do in ("drain", "undrain")]


def test_a_hook_that_fails_takes_all_back_with_a_word_that_hosts_accept(
    bed: Bed, tmp_path: Path, note: Callable[[], list[str]]
) -> None:
    """What it printed goes to the hosts as the reason: in one line, since they take no other."""
    bed.hooks = hooked(tmp_path, fails="web1")
    verdict = bed.run(Strategy(batch="1"))
    assert verdict.exit == Exit.ROLLED_BACK
    assert note() == ["drain-web2", "undrain-web2", "drain-web1", "undrain-web1"]
    (word,) = bed["web2"].said("undo")
    assert "it is not there" in word["why"] and word["why"].isprintable()


def test_a_reason_is_never_too_long_for_a_host() -> None:
    """A host refuses longer ones; an undo must not be lost for its reason."""
    said = worker._in_a_line("x\n\t\x00\x1b" * 5000)
    assert len(said) <= 2000
    assert said.isprintable()


def test_a_hook_that_breaks_is_told(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever running a hook meets is a failure of the hook; nobody waits for it for ever."""

    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("no memory")

    bed.hooks = hooked(tmp_path)
    monkeypatch.setattr(hooks, "run", broken)
    verdict = bed.run(Strategy(batch="1"))
    assert verdict.exit == Exit.REFUSED
    assert "no memory" in verdict.summary
    failed = next(event for event in bed.told if isinstance(event, events.Failed))
    assert failed.exit == Exit.BUG
    assert any("raise RuntimeError" in line for line in failed.logs), "where it happened is not lost"


def test_a_hook_has_a_session_of_its_own() -> None:
    """Ctrl-C at the terminal goes to all that has its session; a hook that is cut would leave a host drained."""
    argv = [sys.executable, "-c", f"import os, sys; sys.exit(os.getsid(0) == {os.getsid(0)})"]
    assert hooks.run(argv, timeout=BOUND) == ""


def test_a_hook_that_leaves_something_running_has_ended(tmp_path: Path) -> None:
    """A daemon of its keeps its output open: nobody waits for that, and it lives on."""
    pid = tmp_path / "pid"
    assert hooks.run(["sh", "-c", f"sleep 600 & echo $! > {pid}"], timeout=BOUND) == ""
    daemon = int(pid.read_text())
    try:
        os.kill(daemon, 0)
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_a_hook_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """Its time is up: nothing of it goes on, and nothing that it started is waited for."""
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    said = hooks.run(["sh", "-c", f"exec 9>{held}; sleep 600 & sleep 600"], timeout=1)
    assert "did not end within 1 s" in said
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the end: nobody has it open any more
    os.close(reader)


# Turns


def test_a_busy_host_sends_all_away(bed: Bed) -> None:
    """It is told who is at work, and at what; nothing is sent to any host."""
    bed["web3"].busy = BUSY
    verdict = bed.run()
    assert (verdict.exit, results(verdict)["web3"]) == (Exit.BUSY, "busy")
    (failed,) = bed.of(events.Failed)
    assert "waiting for its fleet before switch" in failed.message
    assert str(failed.next).endswith("fab deploy --wait   (waits for its turn)")
    assert not any(host.said("release") for host in bed.hosts.values())


def test_without_wait_a_place_is_taken_at_the_gate_only(bed: Bed) -> None:
    """The host that is first by name: one more exchange, with one host."""
    bed.run()
    assert {name: host.said("wait") for name, host in bed.hosts.items()} == {
        "web1": [{"op": "wait", "queue": False}], "web2": [], "web3": [],
    }  # fmt: skip


def test_with_wait_all_lines_are_joined_and_all_is_asked_again(bed: Bed) -> None:
    """Two fleets that share any host come one after the other; numbers that were told before are old by then."""

    def last(link: Link) -> None:
        for host in bed.hosts.values():
            host.next = 7
        bed["web3"]._wait(link)

    bed["web3"].on["wait"] = last
    assert bed.run(wait=True).exit == Exit.OK
    assert all(host.said("wait") == [{"op": "wait", "queue": True}] for host in bed.hosts.values())
    assert {placement.number for placement in bed.release.placements.values()} == {7}


def test_a_host_that_is_lost_in_the_line_ends_the_waiting(bed: Bed) -> None:
    """Nobody waits on for hosts behind it: exit 3, and nothing was touched."""
    bed["web2"].on["wait"] = lambda link: link.cut()
    verdict = bed.run(wait=True)
    assert verdict.exit == Exit.UNREACHABLE
    assert results(verdict)["web2"] == "unreachable"
    assert bed["web3"].said("wait") == []


def test_a_host_that_is_lost_after_its_turn_is_its_own_end(bed: Bed) -> None:
    """What it does not answer any more is told of it, beside the others."""

    def second(link: Link) -> None:
        bed["web2"].on["ask"] = lambda link: link.cut()
        bed["web2"]._wait(link)

    bed["web2"].on["wait"] = second
    verdict = bed.run(wait=True)
    assert results(verdict) == {"web2": "unreachable", "web1": "untouched", "web3": "untouched"}


def test_a_session_that_waits_gives_signs_of_life(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host ends a session that it hears nothing of for minutes, which others may take to get ready."""
    monkeypatch.setattr(worker, "SIGN", 0.01)
    messages: SimpleQueue[Message] = SimpleQueue()
    room = threading.BoundedSemaphore(1)
    one = HostWorker(bed.fleet().sites[0], messages.put, room)
    one.connect()
    one.ask()
    assert isinstance(messages.get(timeout=BOUND), HostMet)
    _until(lambda: len(bed["web2"].said("hold")) > 2)
    room.acquire()
    one.send(lambda *_: Payload(message={"op": "release"}))
    held = len(bed["web2"].said("hold"))
    _until(lambda: len(bed["web2"].said("hold")) > held + 2)
    one.undo("")
    assert isinstance(messages.get(timeout=BOUND), HostFailed)
    room.release()
    with pytest.raises(ValueError):
        room.release()  # it had taken none


def test_no_thread_goes_on_after_the_end(bed: Bed) -> None:
    """Neither one that passes words on, nor one that would be started for a host whose job begins just then."""
    before = threading.enumerate()  # other tests leave hosts that wait
    assert bed.run().exit == 0
    late = Follower(Remote(bed["web1"].connect(), "shop", bed.report), reconnect=pytest.fail)  # type: ignore[arg-type]
    late.leave()
    late.say({"op": "hold"})
    late._pass_on({"event": "following", "job": "00000007"}, dict)
    assert late.followed
    _until(lambda: not any(one.name == "to-the-job" for one in threading.enumerate() if one not in before))


def _until(reached: Callable[[], bool]) -> None:
    pause: SimpleQueue[None] = SimpleQueue()
    for _ in range(int(BOUND / 0.01)):
        if reached():
            return
        try:
            pause.get(timeout=0.01)
        except Empty:
            continue
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("exit", "results", "again"),
    [
        (4, ("busy", "untouched"), True),
        (5, ("busy", "discarded"), True),
        (5, ("busy", "failed"), False),
        (5, ("failed", "discarded"), False),
        (7, ("busy", "lost"), False),
        (0, ("done", "done"), False),
    ],
)
def test_who_waits_tries_again_when_nothing_but_another_was_in_the_way(
    exit: int, results: tuple[str, ...], again: bool
) -> None:
    """Also where some hosts had begun by then; not where any host has failed by itself."""
    hosts = tuple(events.HostEnd(host=f"web{at}", result=result) for at, result in enumerate(results))
    assert was_busy(events.FleetFinished(exit=exit, hosts=hosts)) is again
