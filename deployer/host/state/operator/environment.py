"""The variables that this host keeps for the app, root's alone: set by ``fab env.set``, taken by each new release.

A change comes with a release, and is stored once that is good: until then it lies in the release's directory. Whoever
reads what is stored counts it from the moment at which the release is good, so that no crash between the two loses it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.state.app import Context
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import GOOD
from deployer.host.system import files
from deployer.wire.advice import do, run
from deployer.wire.environment import HOST, SERVICE, Change, check_variable, environment_problem
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit

_PENDING, _SOURCES = "change.json", "sources.json"


class _DamagedFile(Damaged):
    """What is kept cannot be read: nothing but a person knows what it was."""

    def __init__(self, path: Path) -> None:
        HostError.__init__(
            self,
            f"{path} is damaged: it does not hold what deployer wrote there",
            state="nothing was touched",
            next=do(f"restore {path} on the host from a backup; or remove it as root there, and then")
            + run("fab env.push FILE", "sets all variables again"),
        )
        self.path = path


@dataclass(frozen=True)
class Variable:
    """A value that the host keeps, who set it, and when (seconds since 1970)."""

    value: str = field(repr=False)
    by: str
    at: float


@dataclass(frozen=True)
class Stored:
    """All variables that the host keeps; ``version`` counts their changes."""

    version: int = 0
    variables: Mapping[str, Variable] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, str]:
        return {name: one.value for name, one in self.variables.items()}

    def after(self, change: Change, by: str, at: float) -> Stored:
        """With the change. A value that stays the same keeps who set it. Raises HostError for more than fits."""
        put = {
            name: Variable(value, by, at)
            for name, value in change.put.items()
            if name not in self.variables or self.variables[name].value != value
        }
        kept = {name: one for name, one in self.variables.items() if name not in change.remove}
        after = Stored(self.version + 1, {**kept, **put})
        if problem := environment_problem(after.values):
            text = f"what this host would keep for the app's environment {problem}"
            raise HostError(text, exit=Exit.USAGE, state="nothing was touched", next=run("fab env"))
        return after

    def refuse_other(self, change: Change) -> None:
        """Raises HostError unless the change was made of this version."""
        if change.version not in (-1, self.version):
            raise HostError(
                "somebody else has changed the environment on this host meanwhile",
                exit=Exit.REFUSED,
                state="nothing was touched",
                next=run("fab env", "shows who set what, and when"),
            )

    def as_json(self) -> dict[str, Any]:
        return {"version": self.version, "variables": {name: vars(one) for name, one in self.variables.items()}}

    @classmethod
    def parse(cls, value: Any) -> Stored:
        """Raises KeyError, TypeError or ValueError for what was not written here."""
        found = {name: Variable(**one) for name, one in value["variables"].items()}
        for name, one in found.items():
            check_variable(name, one.value)
        return cls(int(value["version"]), found)


def stored(ctx: Context) -> Stored:
    """What the host keeps now. Raises Damaged."""
    before, change = _read(ctx.paths.environment), _pending(ctx)
    return before if change is None else before.after(change.change, change.by, change.at)


@dataclass(frozen=True)
class _Pending:
    change: Change
    by: str
    at: float


def hold(ctx: Context, directory: Path, change: Change, by: str) -> None:
    """Keep a change with the release in ``directory``, for when that is good. Raises OSError."""
    value = {"change": change.as_json(), "by": by, "at": ctx.clock()}
    files.write_json(directory / _PENDING, value, 0o600)


def settle(ctx: Context) -> None:
    """Store the change of the release that serves, if that is good and has one. It can be repeated. Raises OSError,
    HostError."""
    path = _pending_path(ctx)
    if path is None:
        return
    with files.locked(ctx.paths.private):
        if path.exists():
            files.write_json(ctx.paths.environment, stored(ctx).as_json(), 0o600)
            path.unlink()
            files.sync_directory(path.parent)


def stage(ctx: Context, change: Change, by: str) -> Stored:
    """Store a change without a release: the next one takes it. Raises HostError, OSError."""
    settle(ctx)
    with files.locked(ctx.paths.private):
        before = stored(ctx)
        before.refuse_other(change)
        after = before.after(change, by, ctx.clock())
        files.write_json(ctx.paths.environment, after.as_json(), 0o600)
    return after


def layered(
    sent: Mapping[str, str], sources: Mapping[str, Iterable[str]], services: Mapping[str, str], kept: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The environment of a new release, and where each variable comes from: the source that wins first, then those
    that it hides. ``sources`` are those of what was ``sent``. Pure."""
    values = {**services, **sent, **kept}
    found = {
        name: (
            *((HOST,) if name in kept else ()),
            *(sources.get(name, ()) if name in sent else ()),
            *((SERVICE,) if name in services else ()),
        )
        for name in values
    }
    return values, found


def write_sources(directory: Path, sources: Mapping[str, Iterable[str]]) -> None:
    """Record with a release where its variables come from. Raises OSError."""
    files.write_json(directory / _SOURCES, {name: list(found) for name, found in sources.items()}, 0o600)


def sources_of(paths: AppPaths, number: int) -> dict[str, tuple[str, ...]]:
    """Where a release has its variables from. An older one, made before that was recorded, does not say."""
    value = files.read_object(paths.release(number) / _SOURCES) or {}
    return {name: tuple(map(str, found)) for name, found in value.items() if isinstance(found, list)}


def differing(
    environment: Mapping[str, str], sources: Mapping[str, Iterable[str]], kept: Mapping[str, str]
) -> tuple[str, ...]:
    """The names of what the host keeps that a release with this environment has otherwise, or still has. Pure."""
    gone = {name for name, found in sources.items() if HOST in found and name not in kept}
    return tuple(sorted(gone | {name for name, value in kept.items() if environment.get(name) != value}))


def _read(path: Path) -> Stored:
    try:
        value = files.read_json(path)
        return Stored() if value is None else Stored.parse(value)
    except (Damaged, KeyError, TypeError, ValueError, AttributeError):
        raise _DamagedFile(path) from None


def _pending(ctx: Context) -> _Pending | None:
    path = _pending_path(ctx)
    value = files.read_json(path) if path else None
    if path is None or value is None:
        return None
    try:
        return _Pending(Change.parse(value["change"]), str(value["by"]), float(value["at"]))
    except (KeyError, TypeError, ValueError):
        raise Damaged(path) from None


def _pending_path(ctx: Context) -> Path | None:
    """Where the change of what serves lies; None unless that is good: what may still be rolled back changes nothing."""
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.serving()
    path = ctx.paths.release(release.number) / _PENDING if release is not None and release.result == GOOD else None
    return path if path is not None and path.exists() else None
