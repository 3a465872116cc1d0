"""A host that is set up for the app ``shop``, and what a laptop and an admin do to it."""

from __future__ import annotations

import contextlib
import io
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host import service as unit_service
from deployer.host.build.code import clone
from deployer.host.deployment import barrier
from deployer.host.job import events as job_events
from deployer.host.job import main
from deployer.host.job.events import EventLog
from deployer.host.processes import probe, watch
from deployer.host.proxy.proof import proof
from deployer.host.session import operations, session
from deployer.host.session.session import Session
from deployer.host.state import lease
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths, stop_unit
from deployer.host.system import journald, proc, runner
from deployer.host.units import install
from deployer.host.units.text import app_unit, stopping_unit
from deployer.wire.protocol import BARRIERS, PROGRAM
from deployer.wire.site import ProxySite

from . import builds, generations, rules, service
from .background import Background
from .clock import Clock, FakeTime
from .faults import REMOVING, Fault, PowerCut, PowerLost
from .fleet import Laptop
from .laptop import line, make_delta, release_request
from .programs import DIED, Programs
from .seam import Seam, host_modules, replaced
from .systemd import FakeSystemd
from .units import Table
from .web import Web

APP = "shop"
SITE = ProxySite(static=(("/static/", "static"),))
_REAL_RUN, _REAL_STREAM, _REAL_REQUEST = runner.run, runner.stream, probe.request


@dataclass(frozen=True)
class Outcome:
    """How a command ended, as the laptop hears it. ``exit`` is None when it heard no end."""

    events: list[dict[str, Any]]

    @property
    def exit(self) -> int | None:
        return next((event["exit"] for event in reversed(self.events) if event["event"] == "finished"), None)

    @property
    def failure(self) -> dict[str, Any]:
        """What it says failed: in its own event, or, had the disk no room for that, in the last one."""
        kinds = [event for event in self.events if event["event"] in ("failed", "finished") and event.get("exit")]
        if kinds and kinds[0]["event"] == "finished":
            return {"message": kinds[0]["summary"], "state": kinds[0]["serving"] or "nothing serves"}
        return kinds[0] if kinds else {}

    def __str__(self) -> str:
        return f"exit {self.exit}: {self.failure.get('message', '')} | {self.failure.get('state', '')}"


class SimulatedHost:
    """``root`` is the host's disk; ``settings`` are what its deploy.toml says besides what all do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = AppPaths(APP, root)
        self.clock = Clock()
        self.programs = Programs(self.clock, watch=self._watch)
        self.seam = Seam(root, self.programs)
        self.table = Table(self.paths.units)
        self.web = Web(APP, self.paths.home, self.table, self.clock)
        self.web.going_down = lambda: self.programs.stopping
        self.background = Background(self.table, self.clock, self.paths.stamps)
        self.background.starts = lambda name: self._note(generations.may_start(self, name))
        self.background.ended = lambda name: self._note(generations.has_all_it_needs(self, name))
        self.background.cut = lambda name: self._note(generations.may_be_cut_off(self, name))
        self.systemd = FakeSystemd(
            APP, self.table, self.web, self.background, self.programs, self._main, self.paths.state
        )
        self.systemd.synced = self.seam.cache.sync_all
        self.time = FakeTime(self.clock, self.programs.sleep)
        self.boots = 1
        self.is_on, self.is_off, self.stays_off = True, False, False
        self.forgets = False
        self.broken: list[str] = []
        self.last_current = 0
        self.looked_at = (0, 0)
        self.seen: tuple[Any, dict[str, Any]] = (None, {})
        self.home, self.units = str(self.paths.home), str(self.paths.units)
        self.said: list[dict[str, Any]] = []
        self.settings: dict[str, Any] = {}
        self.laptop = Laptop(self.clock, self.programs, {}, 0)

    # what is there

    def set_up(self) -> None:
        """What ``fab setup`` leaves."""
        paths = self.paths
        for path in (paths.releases, paths.trees, paths.venvs, paths.incoming, paths.jobs, paths.tickets, paths.units):
            path.mkdir(parents=True)
        paths.stamps.mkdir(parents=True)
        paths.state.mkdir(parents=True)
        (paths.units / f"{APP}.service").write_text(app_unit(APP, PROGRAM))
        (paths.units / stop_unit(APP)).write_text(stopping_unit(APP, PROGRAM))
        self.table.enabled.add(f"{APP}.service")
        self.table.load(f"{APP}.service")

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The host program finds this host instead of the one that the test runs on."""
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            for module in host_modules():
                if vars(module).get("time") is not None and getattr(module.time, "__name__", "") == "time":
                    enter(_patched(module, "time", self.time))
            enter(replaced(_REAL_RUN, self.systemd.run))
            enter(replaced(_REAL_STREAM, self.systemd.stream))
            enter(replaced(_REAL_REQUEST, self._ask))
            enter(_patched(journald, "tell", self.systemd.tell))
            enter(_patched(proof, "visits", lambda *_, **__: []))
            enter(_patched(proc, "of_unit", lambda _: []))
            enter(_patched(journald, "entries", self.systemd.records))
            enter(_patched(lease, "boot_id", lambda: f"boot {self.boots}"))
            for module in (session, operations):
                enter(_patched(module, "end_with_laptop", contextlib.nullcontext))
            enter(_patched(Session, "_receive_signals", self._hear_words))
            enter(_patched(install, "alongside", _at_once))
            enter(_patched(barrier, "_POLL", 0.5))
            enter(_patched(job_events, "_POLL", 0.03))
            enter(_patched(watch, "_TICK", 0.1))
            enter(_patched(proc, "terminate", self.systemd.terminate))
            enter(_patched(proc, "memory", lambda: proc.Memory(8 << 30, 16 << 30)))
            enter(_patched(proc, "resident", lambda _: 50 << 20))
            enter(_patched(proc, "workers", lambda pid: {pid + 1, pid + 2}))
            enter(self.seam.in_place())
            stack.callback(self.seam.cache.close)
            yield

    def _ask(self, path: str, health: Any, timeout: float, tick: Any) -> probe.Response:
        self.programs.check_alive()
        return self.web.ask(path, timeout, tick, self.programs.sleep)

    @property
    def _hear_words(self) -> Callable[[Session, Path], None]:
        """A method of a session: the fleet's laptop of this moment is heard."""

        def hear(session: Session, directory: Path) -> None:
            self.laptop.follow(session, directory)

        return hear

    def context(self, emit: Any) -> Context:
        settings = AppSettings(deploy_user=builds.BUILDER, socket_group="www-data", proxy="nginx", site=SITE)
        return Context(paths=AppPaths(APP, self.root), settings=settings, emit=emit, clock=lambda: self.clock.wall)

    def _main(self, argv: Sequence[str]) -> int:
        """``deployer-host`` as systemd runs it, and what removes old content."""
        if argv[0] == "/bin/rm":
            return subprocess.run(list(argv), check=False).returncode
        command, rest = argv[1], argv[3:]
        if command == clone.COMMAND:
            clone.make(self.context(lambda *_, **__: None))
            return 0
        if command == "job":
            directory = self.paths.jobs / rest[0]
            log = EventLog(directory / "events.jsonl")
            try:
                return main.run_job(self.context(self._heard(log)), directory, recovering="recover" in rest[1:])
            finally:
                log._file._file.close() if hasattr(log._file, "_file") else log._file.close()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return int(getattr(unit_service, command)(self.context(lambda *_, **__: None)))

    def _heard(self, log: EventLog) -> Any:
        def emit(name: str, **fields: Any) -> None:
            if name == "failed":
                self.said.append({"event": name, **fields})
            log(name, **fields)

        return emit

    # what must hold at every moment

    def _watch(self) -> None:
        self.web.age()
        if not self.is_on:
            return
        self.web.call()
        self._note(rules.at_every_moment(self))

    def may_have_lost_something(self) -> bool:
        """Since it was asked before."""
        trace, seen = self.programs.trace, self.looked_at
        self.looked_at = (self.boots, len(trace))
        return seen[0] != self.boots or len(trace) < seen[1] or any(one.what in REMOVING for one in trace[seen[1] :])

    def _note(self, wrong: Iterable[str]) -> None:
        if self.is_on:
            self.broken += [f"at change {self.programs.count}: {text}" for text in wrong]

    # what a laptop does

    def session(self, *messages: bytes) -> Outcome:
        """One SSH channel: what is said, and what is answered."""
        events: list[dict[str, Any]] = []

        def serve() -> int:
            def emit(name: str, **fields: Any) -> None:
                events.append({"event": name, **fields})

            return int(Session(self.context(emit), io.BytesIO(b"".join(messages)), events.append).serve())

        self._top(lambda: self.programs.run("session", serve))
        self.said += [event for event in events if event["event"] == "failed"]
        return Outcome(events)

    def _top(self, function: Any) -> Any:
        """What is done from outside; when the host loses its power meanwhile, it is switched on again: at once, or, if
        it ``stays_off``, when the next thing is done."""
        if self.is_off:
            self.power_on()
        try:
            return function()
        except PowerLost:
            if self.programs.stack:
                raise
            self._power_off()
            if not self.stays_off:
                self.power_on()
            return DIED

    def ask(self) -> dict[str, Any]:
        answer = self.session(line({"op": "ask"})).events
        return answer[0] if answer and answer[0]["event"] == "answer" else {}

    def deploy(self, code: str = service.GOOD, text: str = "", **settings: Any) -> Outcome:
        """``fab deploy`` of code that behaves so; another ``text`` makes it another tree. Without build commands (an
        empty ``build``) it brings what they would make. ``files`` are more of the project's, by path."""
        base = self.ask().get("base") or {"key": "", "digest": "", "ids": ""}
        if base["digest"] and not base["ids"]:
            base = {**base, **self.session(line({"op": "base", "key": base["key"]})).events[-1]}
        contents = {
            "app.py": f"# {text}\n",
            service.FILE: f"{code}\n",
            "requirements.txt": f"gunicorn # {settings.pop('lock', '')}\n",
            **settings.pop("files", {}),
        }
        if settings.get("build") == []:
            contents.update(builds.committed(contents["app.py"]))
        delta, body = make_delta(contents, base)
        request = release_request("deploy", delta.digest, {**self.settings, **settings})
        request["delta"] = delta.as_json()
        return self.session(line({**request, "offset": 0, "body": len(body)}), body)

    def reload(self, **settings: Any) -> Outcome:
        """``fab reload``, with the settings and the environment of this moment."""
        return self.session(line(release_request("reload", "0" * 64, {**self.settings, **settings})))

    def rollback(self, to: int = 0, **settings: Any) -> Outcome:
        request = release_request("rollback", "0" * 64, {**self.settings, **settings})
        return self.session(line({**request, "of": to, "yes": True}))

    def fleet(
        self, command: Callable[..., Outcome], words: Mapping[str, str], *, ahead: int = 0, **more: Any
    ) -> Outcome:
        """``deploy``, ``reload`` or ``rollback`` as one host of a fleet, which is told ``words`` at the barriers.

        The fleet is ``ahead`` of this host by so many releases.
        """
        number = max(1, self.ask().get("next", 1) + ahead)
        self.laptop = Laptop(self.clock, self.programs, words, number)
        return command(number=number, **{"barriers": BARRIERS, **more})

    def phases(self, *names: str, release: int = 0) -> Outcome:
        asked = {"release": release, "by": "ada", "phases": list(names), "no_migrate": False}
        return self.session(line({"op": "phases", **asked}))

    def doctor_fix(self) -> Outcome:
        return self.session(line({"op": "doctor", "fix": True}))

    def doctor(self) -> Outcome:
        return self.session(line({"op": "doctor", "fix": False}))

    def status(self) -> Outcome:
        return self.session(line({"op": "status"}))

    def abort(self) -> Outcome:
        return self.session(line({"op": "abort", "by": "bob"}))

    # what happens to a host

    def systemctl(self, *words: str) -> runner.CommandResult:
        """What an admin types."""

        def act() -> runner.CommandResult:
            result = self.programs.outside(lambda: self.systemd._run(["systemctl", *words]))
            assert isinstance(result, runner.CommandResult)
            return result

        return self._top(act)

    def wait(self, seconds: float) -> None:
        """Time passes, and clients call: each second, but once two have passed in which nothing happened, when
        something is due."""
        until, quiet = self.clock.now + seconds, 0
        while self.clock.now < until:
            happened, step = self.clock.happened, 1.0 if quiet < 2 else max(1.0, self.clock.next)
            self._sleep(min(step, until - self.clock.now))
            if self.clock.idle:
                return
            quiet = quiet + 1 if self.clock.happened == happened else 0

    def _sleep(self, seconds: float) -> None:
        self._top(lambda: self.programs.sleep(seconds))

    def _power_off(self) -> None:
        """The power has gone: all that ran is gone, and what the disk has not written."""
        self.is_on, self.is_off = False, True
        self.programs.dark = self.programs.stopping = False
        self.programs.stack.clear()
        self.seam.cache.lose() if self.forgets else self.seam.cache.clear()

    def power_on(self) -> None:
        if not self.is_off:
            self._power_off()
        self.is_off = False
        self.boots += 1
        self.clock.switched_on()
        self._top(lambda: self.programs.outside(self.systemd.boot))
        self.is_on = True

    def reboot(self) -> None:
        """``systemctl reboot``: APP.service is stopped, then all is."""
        self.programs.stopping = True
        self.is_on = False
        self.systemctl("stop", f"deployer-{APP}.service")
        self.systemctl("stop", f"{APP}.service")
        self.power_on()

    def recover(self) -> None:
        """Give the host the time that it has to put itself right."""
        self.wait(150.0)

    @contextlib.contextmanager
    def suffering(self, *faults: Fault) -> Iterator[None]:
        """Changes are counted anew, and these faults strike meanwhile."""
        self.programs.count, self.programs.faults = 0, list(faults)
        self.programs.trace.clear()
        self.forgets = self.seam.cache.on = any(isinstance(one, PowerCut) and one.forgets for one in faults)
        try:
            yield
        finally:
            self.programs.faults = []
            self.forgets = self.seam.cache.on = False
            self.seam.cache.clear()

    @property
    def ledger(self) -> bytes:
        return self.paths.ledger.read_bytes() if self.paths.ledger.exists() else b""


def _at_once(function: Callable[[], Any], _: str) -> Callable[[], Any]:
    """Stands in for ``alongside``, where the other thread would run a command: the clock goes for one alone."""
    ended = function()
    return lambda: ended


@contextlib.contextmanager
def _patched(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
