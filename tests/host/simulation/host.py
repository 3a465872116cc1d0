"""A host that is set up for the app ``shop``, and what a laptop and an admin do to it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.host import handle, job, lease, manifest, probe, processes, session, systemd
from deployer.host.context import Context, Settings
from deployer.host.eventlog import EventLog
from deployer.host.manifest import Delta, Entry, difference, tree_digest
from deployer.host.paths import AppPaths
from deployer.host.protocol import PHASES, PROGRAM
from deployer.host.session import Session
from deployer.host.units import handle_unit

from . import builds, rules, service
from .clock import Clock, FakeTime
from .faults import Fault, PowerLost
from .programs import DIED, Programs
from .seam import Seam, host_modules, replaced
from .systemd import FakeSystemd
from .units import Table
from .web import Web

APP = "shop"
_REAL_RUN, _REAL_STREAM, _REAL_REQUEST = systemd.run, systemd.stream, probe.request


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
    """``root`` is the host's disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = AppPaths(APP, root)
        self.clock = Clock()
        self.programs = Programs(self.clock, watch=self._watch)
        self.seam = Seam(root, self.programs)
        self.table = Table(self.paths.units)
        self.web = Web(APP, self.paths.home, self.table, self.clock)
        self.systemd = FakeSystemd(APP, self.table, self.web, self.programs, self._main, self.paths.state)
        self.time = FakeTime(self.clock, self.programs.sleep)
        self.boots = 1
        self.is_on = True
        self.broken: list[str] = []
        self.last_current = 0
        self.seen: tuple[Any, dict[str, Any]] = (None, {})
        self.home, self.units = str(self.paths.home), str(self.paths.units)
        self.said: list[dict[str, Any]] = []

    # what is there

    def set_up(self) -> None:
        """What ``fab setup`` leaves."""
        paths = self.paths
        for path in (paths.releases, paths.trees, paths.venvs, paths.incoming, paths.jobs, paths.tickets, paths.units):
            path.mkdir(parents=True)
        paths.state.mkdir(parents=True)
        (paths.units / f"{APP}.service").write_text(handle_unit(APP, PROGRAM))
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
            enter(_patched(systemd, "tell", self.systemd.tell))
            enter(_patched(lease, "boot_id", lambda: f"boot {self.boots}"))
            enter(_patched(session, "_while_heard", contextlib.nullcontext))
            enter(_patched(processes, "memory", lambda: processes.Memory(8 << 30, 16 << 30)))
            enter(_patched(processes, "resident", lambda _: 50 << 20))
            enter(_patched(processes, "workers", lambda pid: {pid + 1, pid + 2}))
            enter(self.seam.in_place())
            yield

    def _ask(self, path: str, health: Any, timeout: float, tick: Any) -> probe.Answer:
        self.programs.check_alive()
        return self.web.ask(path, timeout, tick, self.programs.sleep)

    def context(self, emit: Any) -> Context:
        settings = Settings(deploy_user=builds.BUILDER, socket_group="www-data")
        return Context(paths=self.paths, settings=settings, emit=emit, clock=lambda: self.clock.wall)

    def _main(self, argv: Sequence[str]) -> int:
        """``deployer-host`` as systemd runs it."""
        command, rest = argv[1], argv[3:]
        if command == "job":
            directory = self.paths.jobs / rest[0]
            log = EventLog(directory / "events.jsonl")
            try:
                return job.run_job(self.context(self._heard(log)), directory, recovering="recover" in rest[1:])
            finally:
                log._file._file.close() if hasattr(log._file, "_file") else log._file.close()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return int(getattr(handle, command)(self.context(lambda *_, **__: None)))

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
        self.broken += [f"at change {self.programs.count}: {text}" for text in rules.at_every_moment(self)]

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
        """What is done from outside; when the host loses its power meanwhile, it is switched on again."""
        try:
            return function()
        except PowerLost:
            if self.programs.stack:
                raise
            self.power_on()
            return DIED

    def ask(self) -> dict[str, Any]:
        answer = self.session(_line({"op": "ask"})).events
        return answer[0] if answer and answer[0]["event"] == "answer" else {}

    def deploy(self, code: str = service.GOOD, text: str = "", **settings: Any) -> Outcome:
        """``fab deploy`` of code that behaves so; another ``text`` makes it another tree."""
        base = self.ask().get("base") or {"key": "", "ids": ""}
        contents = {
            "app.py": f"# {text}\n",
            service.FILE: f"{code}\n",
            "requirements.txt": f"gunicorn # {settings.pop('lock', '')}\n",
        }
        delta, body = make_delta(contents, base)
        request = release_request("deploy", delta.digest, settings)
        request["delta"] = delta.as_json()
        return self.session(_line({**request, "offset": 0, "body": len(body)}), body)

    def reload(self, **settings: Any) -> Outcome:
        """``fab reload``, with the settings and the environment of this moment."""
        return self.session(_line(release_request("reload", "0" * 64, settings)))

    def rollback(self, to: int = 0, **settings: Any) -> Outcome:
        request = release_request("rollback", "0" * 64, settings)
        return self.session(_line({**request, "of": to, "yes": True}))

    def phases(self, *names: str, release: int = 0) -> Outcome:
        return self.session(_line({"op": "phases", "release": release, "by": "ada", "phases": list(names)}))

    def doctor_fix(self) -> Outcome:
        return self.session(_line({"op": "doctor", "fix": True}))

    def doctor(self) -> Outcome:
        return self.session(_line({"op": "doctor", "fix": False}))

    def status(self) -> Outcome:
        return self.session(_line({"op": "status"}))

    def abort(self) -> Outcome:
        return self.session(_line({"op": "abort", "by": "bob"}))

    # what happens to a host

    def systemctl(self, *words: str) -> systemd.Result:
        """What an admin types."""

        def act() -> systemd.Result:
            result = self.programs.outside(lambda: self.systemd._run(["systemctl", *words]))
            assert isinstance(result, systemd.Result)
            return result

        return self._top(act)

    def wait(self, seconds: float) -> None:
        """Time passes, and clients call."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self._top(lambda: self.programs.sleep(min(1.0, max(0.0, until - self.clock.now))))
            if self.clock.idle:
                return

    def power_on(self) -> None:
        """After the power went: all that ran is gone."""
        self.programs.dark = self.programs.stopping = False
        self.programs.stack.clear()
        self.boots += 1
        self.is_on = False
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
        try:
            yield
        finally:
            self.programs.faults = []

    # keep and bring back

    def save(self, place: Path) -> Saved:
        assert not self.programs.stack
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.root, place, symlinks=True)
        _copy_owners(self.root, place)
        return Saved(place, self)

    @property
    def ledger(self) -> bytes:
        return self.paths.ledger.read_bytes() if self.paths.ledger.exists() else b""


@dataclass
class Saved:
    """A host as it was: only one on which nothing is under way but its services."""

    place: Path
    host: SimulatedHost
    units: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        host = self.host
        assert host.clock.idle, "something is still due"
        self.units = {name: dict(vars(unit)) for name, unit in host.table.units.items()}
        self._web = (dict(host.web.running), dict(host.web.since), dict(host.web.queues))

    def bring_back(self) -> None:
        host = self.host
        shutil.rmtree(host.root)
        shutil.copytree(self.place, host.root, symlinks=True)
        _copy_owners(self.place, host.root)
        host.table.units.clear()
        for name, values in self.units.items():
            unit = host.table.units[name] = type(host.table.load(name) or _unit())(name)
            vars(unit).update(values, starts=list(values["starts"]))
        host.web.running, host.web.since, host.web.queues = (dict(one) for one in self._web)
        host.clock.forget()
        host.web.failed.clear()
        for seen in (host.broken, host.said, host.programs.bugs, host.programs.trace):
            seen.clear()
        host.last_current = host.web.current()


def _unit() -> Any:
    from .units import Unit

    return Unit("")


def _copy_owners(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        status = path.lstat()
        if status.st_uid:
            os.chown(target / path.relative_to(source), status.st_uid, status.st_gid, follow_symlinks=False)


@contextlib.contextmanager
def _patched(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def make_delta(contents: Mapping[str, str], base: Mapping[str, str]) -> tuple[Delta, bytes]:
    """What a laptop sends of these files, when the host has that base."""
    data = {path: text.encode() for path, text in contents.items()}
    entries = [Entry(path, "f", len(text), hashlib.sha256(text).hexdigest()) for path, text in sorted(data.items())]
    drop, add = difference(manifest.unpack_ids(base["ids"]), entries)
    body = zlib.compress(b"".join(data[entry.path] for entry in add))
    digest = hashlib.sha256(body).hexdigest()
    return Delta(tree_digest(entries), base["key"], drop, add, digest, len(body)), body


def release_request(kind: str, digest: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A request to the session. ``settings`` may have env, phases, and any key of the spec."""
    spec: dict[str, Any] = {
        "source": {"digest": digest, "commit": "a" * 40, "ref": "main", "dirty": False},
        "lock": {"kind": "requirements", "path": "requirements.txt", "files": ["requirements.txt"]},
        "python": "",
        "build": [builds.COLLECT],
        "migrate": builds.MIGRATE,
        "web": {"server": "gunicorn", "target": "app:app", "workers": 2, "args": [], "memory": 0, "unit": {}},
        "health": {"path": "/", "host": "localhost", "status": [[200, 399]], "timeout": 5, "settle": 1},
        "watch": 2,
        "drain": 1,
        "keep": 3,
        "overlap": True,
    }
    env, phases = settings.get("env", {}), settings.get("phases", PHASES)
    spec.update({key: value for key, value in settings.items() if key not in ("env", "phases")})
    return {
        "op": "release",
        "kind": kind,
        "by": "ada@laptop",
        "phases": list(phases),
        "of": 0,
        "release": 0,
        "spec": spec,
        "env": dict(env),
        "secret": [],
        "delta": None,
        "yes": False,
        "no_migrate": False,
    }


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def numbers_of(names: Sequence[str]) -> list[int]:
    return [int(found.group(1)) for found in (re.search(r"@v([0-9]+)\.", name) for name in names) if found]
