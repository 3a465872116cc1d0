"""A deployment: one release on its way through its phases, what the phases share, and how it ended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from deployer.host.build.code.tree import Plan
from deployer.host.build.pythons import Interpreter
from deployer.host.deployment.barrier import BarrierSignal
from deployer.host.deployment.failures import understood
from deployer.host.deployment.request import Request
from deployer.host.deployment.visitors import SiteCheck
from deployer.host.errors import Damaged, HostError
from deployer.host.processes.django import Question
from deployer.host.state import seal
from deployer.host.state.app import Context
from deployer.host.state.releases import GOOD, ROLLING_BACK, SERVED, Release
from deployer.host.system.signals import uninterrupted
from deployer.wire.advice import NOTHING, Next, run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import PHASES, Exit

_LONGEST_CHECK = 900.0
"""Seconds that reading a release's files may take before the switch."""


@dataclass(frozen=True)
class JobResult:
    """How a job ended. ``message`` is empty on success; ``state``, ``next`` and ``logs`` go with it."""

    exit: Exit
    release: str
    summary: str
    message: str = ""
    state: str = ""
    next: Next = NOTHING
    logs: tuple[str, ...] = ()


class SealCheck:
    """Compares all parts of a sealed release with its seal, in a thread of its own."""

    def __init__(self, ctx: Context, release: Release, trust: seal.Trust) -> None:
        self._ctx, self._release, self._trust = ctx, release, trust
        self._files: seal.Read = []
        self._found: seal.Damage | None = None
        self._has_code, self._has_all = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._read, daemon=True, name="seal check")
        with uninterrupted():
            thread.start()

    def _read(self) -> None:
        try:
            with contextlib.closing(seal.compare(self._ctx, self._release, self._trust, self._files)) as parts:
                for number, found in enumerate(parts):
                    self._found = found
                    if found is not None:
                        break
                    if number == seal.CODE:
                        self._has_code.set()
        except Exception as error:
            text = understood(error, self._ctx, "reading its files").message
            self._found = seal.Damage(f"(its files cannot be read: {text})")
        finally:
            self._has_code.set()
            self._has_all.set()

    def code(self) -> seal.Damage | None:
        """Wait for what has changed in all but the environment since the seal was made."""
        return self._result(self._has_code)

    def all(self) -> seal.Damage | None:
        """Wait for what has changed since the seal was made.

        What had to be read for it, and is whole, is remembered: the next release need not read it.
        """
        found = self._result(self._has_all)
        if found is None:
            for store, key, seen in self._files:
                with contextlib.suppress(OSError):  # a full disk: then it is read again
                    store.remember(key, seen)
        return found

    def _result(self, known: threading.Event) -> seal.Damage | None:
        if not known.wait(_LONGEST_CHECK):
            return seal.Damage(f"(its files could not be read within {_LONGEST_CHECK:g} s)")
        return self._found


@dataclass
class Deployment:
    """A release on its way. ``release`` is its record, saved at each change; ``current`` is what serves, or served
    before the switch.

    ``body`` is the file with the upload, ``built`` the keys of what this job has built, ``signal`` what the job
    receives from its fleet's laptop, ``question`` what its Django is asked meanwhile. ``interpreter`` is the Python
    that builds it, once that was looked for; ``plan`` is what this job has made the tree by, until that is built.
    """

    ctx: Context
    request: Request
    release: Release
    current: Release | None
    body: Path | None = None
    built: set[str] = field(default_factory=set)
    interpreter: Interpreter | None = None
    plan: Plan | None = field(default=None, repr=False)
    seal_check: SealCheck | None = field(default=None, repr=False)
    site_check: SiteCheck | None = field(default=None, repr=False)
    signal: BarrierSignal | None = None
    question: Question | None = field(default=None, repr=False)

    def record(self, **changes: Any) -> None:
        self.release = self.ctx.catalog.update(self.release, **changes)

    @property
    def directory(self) -> Path:
        return self.ctx.paths.release(self.release.number)

    def begin_to_compare(self, *, again: bool = False) -> SealCheck:
        """Begin to compare the release with its seal, unless this job has; what serves, and what was built just now, by
        its metadata."""
        if self.seal_check is None or again:
            self.seal_check = SealCheck(self.ctx, self.release, seal.Trust(self.current, frozenset(self.built)))
        return self.seal_check

    @property
    def proven(self) -> bool:
        """Whether exactly these parts have served before."""
        return self.release.kind == "rollback"

    @property
    def switched(self) -> bool:
        """Whether ``current`` names this release."""
        return self.ctx.catalog.current() == self.release.number

    @property
    def can_roll_back(self) -> bool:
        """False when the release that served before is gone."""
        return self.current is not None or not self.release.previous


def serving_release(ctx: Context, request: Request) -> Release | None:
    """What ``current`` names. When its record is damaged, a stand-in with the number: the release still serves."""
    try:
        return ctx.catalog.serving()
    except Damaged as error:
        ctx.emit("warn", text=f"{error.message}; there is no way back to the release that serves")
        number = ctx.catalog.current()
        return Release(number=number, kind="deploy", of=0, by="", at=0.0, spec=request.spec, result=GOOD)


def check_order(release: Release, phases: Sequence[str]) -> None:
    """Raises HostError unless the phase before the first of ``phases`` has succeeded, and the release is unfinished."""
    first = PHASES.index(phases[0])
    why, next = "", run("fab status")
    if not release.unfinished:
        why, next = f"is {release.result}: its phases are over", run("fab releases")
    elif release.result == ROLLING_BACK:
        why = "is being rolled back: its phases are over"
    elif release.result == SERVED and _is_over(release, first):
        why = f"is switched to already: {phases[0]} is over"
        next = run(f"fab phase.{release.next_phase or PHASES[-1]}")
    elif first and release.phase not in PHASES[first - 1 :]:
        missing = PHASES[first - 1]
        why = f"has not been through {missing} yet (last: {release.phase or 'none'})"
        next = run(f"fab phase.{missing}")
    if why:
        raise HostError(f"{release.name} {why}", exit=Exit.USAGE, state="nothing was touched", next=next)


def _is_over(release: Release, phase: int) -> bool:
    """Whether a phase of a release that was switched to cannot run again. A switch that was cut short can."""
    switch = PHASES.index("switch")
    return phase < switch or (phase == switch and release.phase != "check")
