"""What a deploy does for visitors besides the switch: it shows media to the proxy, and asks for the app as they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from deployer.host.assets import media
from deployer.host.deployment.failures import Failures
from deployer.host.proxy.proof import certificates, proof
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system.signals import uninterrupted
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit

_PATIENCE = 2.0
"""Seconds for which a problem must stay: after a reload, old processes of the proxy still answer for a moment."""
_PAUSE = 0.2
_MOMENT = 0.5
"""Seconds that a switch waits for the first answer."""
_WITHIN = 2.0
"""Seconds after which no other address of the site is asked."""
_NAMED = 3


def show_media(ctx: Context) -> list[str]:
    """Mount the media for the proxy where that is missing: a boot unmounts them, and the app may replace a directory.

    Returns why visitors may get none. Never raises: what serves has no better media.
    """
    if ctx.settings.proxy and ctx.settings.site is None:  # settings of another version: what it mounted stays
        return []
    failures = Failures(ctx)
    with failures.kept("showing the media to the proxy"):
        media.provide(ctx.paths, media.directories(ctx.settings.site))
    return [failure.message for failure in failures.found]


class SiteCheck:
    """Asks for what serves as visitors do, in a thread of its own, while a release gets ready for the switch.

    What it finds is wrong with the site and not with the release, which it therefore never refuses.
    """

    def __init__(self, ctx: Context, current: Release | None) -> None:
        self._ctx, self._current = ctx, current
        self._found: list[Problem] = []
        self._over, self._asked = threading.Event(), threading.Event()
        if current is not None and ctx.settings.site is not None:
            with uninterrupted():
                threading.Thread(target=self._ask, daemon=True, name="site check").start()

    def _ask(self) -> None:
        """Again and again for a while, as the proxy may just be starting: the last answer counts."""
        deadline = time.monotonic() + _PATIENCE
        with Failures(self._ctx).kept("asking for the app through the proxy"):  # asked again at the end, and told then
            while not self._over.is_set():
                self._found = problems(self._ctx)
                self._asked.set()
                if not self._found or time.monotonic() >= deadline:
                    return
                self._over.wait(_PAUSE)

    def warn(self, release: Release) -> None:
        """Warn of what was found by now, before ``release`` gets the traffic. Waits for a moment, and never raises."""
        if self._current is None or self._ctx.settings.site is None or self._over.is_set():
            return
        self._asked.wait(_MOMENT)
        self._over.set()
        for one in self._found[:_NAMED]:
            closed = f"visitors may not reach {self._current.name}, nor {release.name} after the switch: "
            self._ctx.emit("warn", text=f"{closed if one.closes else ''}{one.text}; {one.repair}")


class LastCheck:
    """Asks for what a job has switched to once the job has ended, and keeps no other from beginning meanwhile."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._told: list[str] = []

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take an event of the job before it is passed on: its last one comes after the warnings about the site."""
        if event["event"] == "warn":
            self._told.append(str(event.get("text")))
        release, good = event.get("release"), event.get("exit") == Exit.OK
        if event["event"] == "finished" and good and release and release == event.get("serving"):
            warn(self._ctx, str(release), self._told)


def warn(ctx: Context, release: str, told: Sequence[str]) -> None:
    """Warn when visitors do not reach the ``release`` that was switched to, or soon will not; not of what is in one of
    the warnings that were ``told`` before.

    That is no reason to roll back: the release did not cause it, or nobody knows. Never raises, and takes a few seconds
    at most.
    """
    failures = Failures(ctx)
    with failures.kept("asking for the app through the proxy"):
        found = _new_problems(ctx, told)
        if ctx.catalog.serving_name() != release:
            return  # the next deploy has switched, and tells of itself
        for one in found[:_NAMED]:
            closed = f"{release} serves, and visitors may not reach it: " if one.closes else ""
            ctx.emit("warn", text=f"{closed}{one.text}; {one.repair}")
        if len(found) > _NAMED:
            ctx.emit("warn", text=f"and {len(found) - _NAMED} more such problems: fab doctor names them")
    for failure in failures.found:
        ctx.emit("warn", text=f"whether visitors reach {release} is not known: {failure.message}")


def _new_problems(ctx: Context, told: Sequence[str]) -> list[Problem]:
    """What is wrong with the site and was not told, by the last of several tries. Raises HostError, OSError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = [one for one in problems(ctx) if not any(one.text in text for text in told)]
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(_PAUSE)


@dataclass(frozen=True)
class Problem:
    """Something wrong with the site, and its repair. ``closes``: visitors may not reach the app."""

    text: str
    repair: str
    closes: bool


def problems(ctx: Context) -> list[Problem]:
    """What is wrong now with the site that setup has written, asked within a few seconds. Raises HostError, OSError."""
    made = proof.visits(ctx, within=_WITHIN)
    if not made:
        return []
    found = [Problem(text, repair, True) for text, repair in proof.problems(ctx, made, certificates=False)]
    return found + [Problem(text, repair, False) for _, text, repair in certificates.problems(ctx, _WITHIN)]
