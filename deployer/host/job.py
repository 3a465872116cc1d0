"""One attempt at a release: the phases in order, and what happens when one fails.

Runs inside the transient unit ``deployer-APP.service``, whose name is the lock; it outlives the SSH session.
"""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from deployer.host import build, files, handle, handover, keys, masking, resume, retention, systemd
from deployer.host.catalog import FAILED, GOOD, PREPARING, READY, ROLLED_BACK, SERVED, Release
from deployer.host.context import Context
from deployer.host.errors import HostError
from deployer.host.manifest import Entry
from deployer.host.protocol import PHASES, Exit
from deployer.host.request import Request
from deployer.host.spec import environment_file
from deployer.host.unpack import parse_delta

_GIVEN_UP = 60.0
"""Seconds without a byte after which an unfinished upload is cleared away by the next release."""


class Attempt:
    """A release on its way. ``release`` is its record, saved after each phase."""

    def __init__(self, ctx: Context, request: Request) -> None:
        self.ctx = ctx
        self.request = request
        self.started = time.monotonic()
        self.release: Release
        number = ctx.catalog.current()
        self.current: Release | None = ctx.catalog.find(number) if number else None
        self._phases: dict[str, Callable[[], str]] = {name: getattr(self, f"_{name}") for name in PHASES}

    def run(self) -> Exit:
        """All phases that were asked for. The exit code also went out in the last event."""
        signal.signal(signal.SIGTERM, self._abort)
        try:
            self.release = self._open()
            values = masking.stored_values(self.ctx.paths, self.release.number)
            self.ctx = replace(self.ctx, emit=masking.masked(self.ctx.emit, values))
            for phase in self.request.phases:
                self._run(phase)
        except HostError as error:
            return self._fail(error)
        except OSError as error:
            return self._fail(build.disk_error(error, self.ctx.paths.home, "writing on the host"))
        except Exception as error:
            logs = traceback.format_exc().splitlines()[-12:]
            return self._fail(HostError(f"a bug of deployer: {error!r}", exit=Exit.BUG, logs=logs))
        return self._end(Exit.OK, self._summary())

    def _abort(self, *_: object) -> None:
        """SIGTERM: somebody stops the deploy's unit, or the host goes down. Undo, without waiting for what runs."""
        systemd.systemctl("stop", "--no-block", *(build.unit_of(self.ctx, name) for name in ("build", "migrate")))
        raise HostError("aborted: the deploy's unit was stopped on the host", next="fab status")

    def _open(self) -> Release:
        request, all_of = self.request, self.ctx.catalog
        if request.release:
            release = all_of.get(request.release)
            _check_order(release, request.phases)
            if release.previous and release.result in (SERVED,):
                self.current = all_of.find(release.previous)
            return release
        self._sweep()
        release = all_of.create(request.kind, request.of, request.by, self.ctx.clock(), request.spec)
        self.release = release
        directory = self.ctx.paths.release(release.number)
        files.write_json(directory / "env.json", request.environment, 0o600)
        files.write_json(directory / "secret.json", list(request.secret), 0o600)
        note = f"release {release.name} of {self.ctx.app}"
        files.write_file(directory / "env", environment_file(request.environment, note), 0o600)
        if request.of:
            parts = all_of.get(request.of)
            same = request.spec == parts.spec and request.environment == handover.read_environment(self.ctx, parts)
            release = all_of.update(release, tree=parts.tree, venv=parts.venv, same=same)
        return release

    def _sweep(self) -> None:
        """Clear away what an attempt before this one left: it died, or was abandoned between two phases."""
        serving = self.ctx.catalog.current()
        for left in self.ctx.catalog.all():
            if left.result in (PREPARING, READY, SERVED) and left.number != serving:
                handover.remove_units(self.ctx, left, unused=True)
                self._close(left, FAILED, HostError("abandoned: its deploy ended without a result"))

    def _run(self, phase: str) -> None:
        started = time.monotonic()
        name = self.release.name
        reason = self._skip(phase)
        if reason:
            self.ctx.emit("phase.skipped", phase=phase, release=name, detail=reason)
            self._record(phase, 0.0)
            return
        self.ctx.emit("phase.started", phase=phase, release=name)
        try:
            detail = self._phases[phase]()
        except BaseException:
            self.ctx.emit("phase.failed", phase=phase, release=name, seconds=time.monotonic() - started)
            raise
        seconds = time.monotonic() - started
        self.ctx.emit("phase.done", phase=phase, release=name, seconds=seconds, detail=detail)
        self._record(phase, seconds)

    def _record(self, phase: str, seconds: float) -> None:
        phases = {**(self.release.phases or {}), phase: round(seconds, 3)}
        self.release = self.ctx.catalog.update(self.release, phase=phase, phases=phases)

    def _skip(self, phase: str) -> str:
        if phase in ("upload", "build") and self.request.of:
            return f"the parts of v{self.request.of}"
        if phase == "migrate":
            return self._skip_migrate()
        if phase == "drain" and self.current is None:
            return "nothing served before"
        return ""

    def _skip_migrate(self) -> str:
        if not self.release.spec.migrate:
            return "no migrate command in deploy.toml"
        if self.release.kind != "deploy":
            return f"a {self.release.kind} does not migrate"
        return "as asked" if self.request.no_migrate else ""

    def _upload(self) -> str:
        ctx, spec, delta_value = self.ctx, self.release.spec, self.request.delta
        delta = parse_delta(delta_value)
        base = ctx.trees.record(delta.base)
        entries = _final(delta.drop, build.base_of(base) if base else [], delta.add)
        interpreter = keys.find_interpreter(spec.python)
        venv = keys.venv_key(spec, entries, interpreter)
        secret = keys.fingerprint_key(ctx.paths.private / "fingerprint.key")
        tree = keys.tree_key(spec, spec.source.digest, venv, interpreter, self.request.environment, secret)
        self.release = ctx.catalog.update(self.release, tree=tree, venv=venv)
        body = ctx.paths.incoming / f"{delta.body}.body"
        if ctx.trees.record(tree) is None:
            build.require_room(ctx.paths.trees, sum(entry.size for entry in entries), "the code")
            entries = list(build.unpack(ctx, tree, delta_value, body))
            path = ctx.paths.release(self.release.number) / "entries.json"
            files.write_json(path, [entry.as_list() for entry in entries], 0o600)
        self._clear_incoming()
        return f"{len(delta.add)} of {len(entries)} files, {_kib(delta.length)} compressed"

    def _clear_incoming(self) -> None:
        """Remove uploads that are used up, or were given up. One that grows belongs to a laptop that is about to hear
        that we are busy, and goes on with it later."""
        for left in self.ctx.paths.incoming.iterdir():
            if left.suffix == ".body" or self.ctx.clock() - left.stat().st_mtime > _GIVEN_UP:
                left.unlink()

    def _build(self) -> str:
        ctx, release = self.ctx, self.release
        directory = ctx.paths.release(release.number)
        python = keys.find_interpreter(release.spec.python).path
        told: list[str] = []
        if release.venv and ctx.venvs.record(release.venv) is None:
            build.build_venv(
                ctx,
                release.venv,
                release.spec,
                python,
                ctx.trees.path(release.tree),
                self._build_environment(),
            )
            told.append(f"dependencies of {release.spec.lock.path} installed")
        elif release.venv:
            told.append("dependencies unchanged")
        if release.venv:
            build.check_server(ctx, release.venv, release.spec)
        if ctx.trees.record(release.tree) is None:
            entries = [Entry(*value) for value in files.read_json(directory / "entries.json") or []]
            venv = ctx.venvs.path(release.venv) if release.venv else None
            build.build_tree(ctx, release.tree, release.spec, entries, venv, self._build_environment())
            told.append("code built")
        else:
            told.append("code unchanged")
        return ", ".join(told)

    def _build_environment(self) -> dict[str, str]:
        return {**handover.read_environment(self.ctx, self.release), "DEPLOYER_APP": self.ctx.app}

    def _install(self) -> str:
        ctx, release = self.ctx, self.release
        for link, store, key in (("code", ctx.trees, release.tree), ("venv", ctx.venvs, release.venv)):
            if key and store.record(key) is None:
                raise HostError(f"the {link} of {release.name} is gone from the host", next="fab deploy")
            if key:
                files.point(ctx.paths.release(release.number) / link, f"../../{store.directory.name}/{key}")
        return handover.install(ctx, release, proven=self._proven())

    def _start(self) -> str:
        return handover.start(self.ctx, self.release, self.current)

    def _migrate(self) -> str:
        return handover.migrate(self.ctx, self.release)

    def _check(self) -> str:
        detail = handover.check(self.ctx, self.release, self.current, proven=self._proven())
        self.release = self.ctx.catalog.update(self.release, result=READY)
        return detail

    def _proven(self) -> bool:
        return self.release.kind == "rollback"

    def _switch(self) -> str:
        previous = self.current.number if self.current else 0
        self.release = self.ctx.catalog.update(
            self.release, result=SERVED, previous=previous, switched=self.ctx.clock()
        )
        return handover.switch(self.ctx, self.release, self.current, proven=self._proven())

    def _drain(self) -> str:
        return handover.drain(self.ctx, self.current)

    def _watch(self) -> str:
        detail = handover.watch(self.ctx, self.release)
        self.release = self.ctx.catalog.update(self.release, result=GOOD)
        try:
            self._tidy()
        except Exception as error:  # the release is good: nothing that fails now may take it back
            self.ctx.emit("warn", text=f"{self.release.name} serves, but tidying up after it failed: {error}")
        return detail

    def _tidy(self) -> None:
        if self.current is not None:
            handover.retire(self.ctx, self.current)
        retention.prune(self.ctx, self.release.spec.keep)
        handle.ensure_started(self.ctx.app)

    def _fail(self, error: HostError) -> Exit:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            self._clear_incoming()
        release = getattr(self, "release", None)
        if release is None:
            exit, state = error.exit, "nothing was touched"
        elif self.ctx.catalog.current() == release.number:
            exit, state = self._take_back(release, error)
        else:
            exit, state = self._discard(release, error)
        self.ctx.emit(
            "failed",
            exit=int(exit),
            message=error.message,
            state=state,
            next=error.next or "fab status, then fab deploy",
            logs=list(error.logs),
        )
        return self._end(exit, error.message)

    def _discard(self, release: Release, error: HostError) -> tuple[Exit, str]:
        if release.result == GOOD:
            return error.exit, f"{release.name} was good before and is left alone"
        handover.remove_units(self.ctx, release, unused=True)
        self._close(release, FAILED, error)
        state = f"{self._serving_text()}; {release.name} never got a request"
        if (release.phases or {}).get("migrate"):
            state += "; its migration ran before, and stays applied"
        return error.exit, state

    def _take_back(self, release: Release, error: HostError) -> tuple[Exit, str]:
        serving = resume.resume(self.ctx, release, self.current)
        self._close(release, ROLLED_BACK, error)
        if not serving:
            return Exit.ROLLED_BACK, "nothing serves: there was no release to go back to"
        return Exit.ROLLED_BACK, f"{serving} serves again; {release.name} is stopped"

    def _close(self, release: Release, result: str, error: HostError) -> None:
        """Keep the record of a dead release, and nothing else of it: that first, to have room for the record."""
        for path in self.ctx.paths.release(release.number).iterdir():
            if path.name != "release.json":
                with contextlib.suppress(OSError):
                    files.remove_tree(path)
        with contextlib.suppress(OSError):
            self.ctx.catalog.update(release, result=result, reason=error.message)
        with contextlib.suppress(HostError, OSError):
            retention.prune(self.ctx, release.spec.keep)

    def _serving_text(self) -> str:
        return f"{self.current.name} serves, uninterrupted" if self.current else "nothing serves yet"

    def _summary(self) -> str:
        if self.request.phases[-1] == "watch":
            return f"{self.release.name} serves"
        return f"{self.release.name}: {self.request.phases[-1]} done"

    def _end(self, exit: Exit, summary: str) -> Exit:
        serving = self.ctx.catalog.current()
        release = getattr(self, "release", None)
        self._tell_admins(f"v{serving} serves" if serving else "nothing serves", summary)
        self.ctx.emit(
            "finished",
            exit=int(exit),
            release=release.name if release else "",
            serving=f"v{serving}" if serving else "",
            seconds=time.monotonic() - self.started,
            summary=summary,
        )
        return exit

    def _tell_admins(self, serving: str, summary: str) -> None:
        """In the journal of ``APP.service``: ``systemctl status`` and ``journalctl -u`` then tell the app's history."""
        request = self.request
        text = summary if summary == serving else f"{summary}; {serving}"
        systemd.tell(f"{self.ctx.app}.service", f"{text} ({request.kind} by {request.by})")


def _check_order(release: Release, phases: Sequence[str]) -> None:
    """Raises HostError when a phase is asked for whose forerunner has not ended well, or of a dead release."""
    if release.result not in (PREPARING, READY, SERVED):
        raise HostError(
            f"{release.name} is {release.result}: its phases are over",
            exit=Exit.USAGE,
            state="nothing was touched",
            next="fab releases",
        )
    first = PHASES.index(phases[0])
    if first and release.phase not in PHASES[first - 1 :]:
        missing = PHASES[first - 1]
        raise HostError(
            f"{release.name} has not been through {missing} yet (last: {release.phase or 'none'})",
            exit=Exit.USAGE,
            next=f"fab phase.{missing}",
        )


def _final(drop: Sequence[bytes], base: Sequence[Entry], add: Sequence[Entry]) -> list[Entry]:
    dropped = set(drop)
    return [entry for entry in base if entry.id not in dropped] + list(add)


def _kib(count: int) -> str:
    return f"{count / 1024:,.1f} KiB"


def run_job(ctx: Context, directory: Path) -> Exit:
    """Run the job whose request lies in ``directory``."""
    value: Any = files.read_json(directory / "request.json")
    return Attempt(ctx, Request.stored(value)).run()
