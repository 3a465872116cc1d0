"""A new release's Django, asked before the switch what its site needs: in a unit of its own, beside the health check.

The answer leads to warnings. No phase waits for it, and none fails with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import HostError
from deployer.host.processes import commands
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import files, proc
from deployer.host.system.signals import uninterrupted
from deployer.host.units import transient
from deployer.wire.release import django

_LAST = 5.0
"""Seconds that the end of a job waits for an answer that is not there yet."""
_NAMED = 3
_ROOM = 192 * 1024 * 1024
"""Bytes of memory that must be free: another Django must not end what serves."""


class Question:
    """Asks Django in a thread of its own. ``previous`` is the release whose warnings need not be repeated."""

    def __init__(self, ctx: Context, release: Release, previous: Release | None) -> None:
        self._ctx, self._release, self._previous = ctx, release, previous
        self._lines: list[str] = []
        self._problem = ""
        self._told = False
        self._thread = threading.Thread(target=self._ask, daemon=True, name="question to Django")
        with uninterrupted():
            self._thread.start()

    def _ask(self) -> None:
        try:
            status = commands.ask_python(self._ctx, self._release, django.SCRIPT, django.SECONDS + 5, self._hear)
        except HostError as error:
            self._problem = error.message
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
        else:
            self._problem = f"it ended with status {status}: {''.join(self._lines[-1:])}" if status else ""

    def _hear(self, line: str) -> None:
        self._lines.append(line)
        del self._lines[:-100]

    def tell(self, *, last: bool = False) -> None:
        """Warn once of what was answered, if it was; ``last``: wait for it a moment, and say when it has not come.
        Never raises."""
        if self._told:
            return
        self._thread.join(_LAST if last else 0)
        if self._thread.is_alive() and not last:
            return
        self._told = True
        late = self._thread.is_alive()
        if late:
            transient.stop(self._ctx, "django")
            self._thread.join(_LAST)  # it removes what was written for the question
        problem = "it has not answered yet" if late else self._problem
        name = self._release.name
        if problem:
            self._ctx.emit("warn", text=f"whether the Django of {name} fits its site is not known: {problem}")
            return
        for text in self._found(django.parse(self._lines)):
            self._ctx.emit("warn", text=f"Django of {name}: {text}")

    def _found(self, told: Any) -> Iterator[str]:
        site, web = self._ctx.settings.site, self._release.spec.web
        if not told or site is None or web is None:
            return
        wrong = django.about_site(told["settings"], site, web.server)
        yield from wrong[:_NAMED]
        if len(wrong) > _NAMED:
            yield f"and {len(wrong) - _NAMED} more such problems: fab doctor names them"
        checks = [name for name, _ in django.about_checks(told["checks"], site)]
        before = _remembered(self._ctx, self._previous)
        _remember(self._ctx, self._release, checks)
        if checks and checks != before:
            yield f"check --deploy has {', '.join(checks)}: fab doctor tells what they are"


def ask(ctx: Context, release: Release, current: Release | None) -> Question | None:
    """Ask, where there is a site with domains and a Django; None where there is nothing to ask, and on hosts without
    room for another process."""
    site = ctx.settings.site
    if site is None or not site.domains or release.spec.web is None or release.stalls(current):
        return None
    if proc.memory().available < _ROOM:
        return None
    return Question(ctx, release, current) if _has_django(ctx.venvs.path(release.venv), release) else None


def _has_django(venv: Path, release: Release) -> bool:
    return bool(release.venv) and any(venv.glob("lib/python3*/site-packages/django/__init__.py"))


def _record(ctx: Context, release: Release) -> Path:
    """Where the names of the checks that a release does not pass are kept."""
    return ctx.paths.release(release.number) / "django.json"


def _remembered(ctx: Context, release: Release | None) -> object:
    try:
        return files.read_json(_record(ctx, release)) if release is not None else None
    except (HostError, OSError):
        return None


def _remember(ctx: Context, release: Release, checks: list[str]) -> None:
    try:
        files.write_json(_record(ctx, release), checks)
    except OSError as error:
        ctx.emit("note", text=f"what Django was told is not recorded: {error}")
