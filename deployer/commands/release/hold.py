"""``--hold`` and ``fab promote``: a release stops before its switch, and goes on when somebody says so."""

from __future__ import annotations

from dataclasses import replace

from deployer import events
from deployer.commands.dryrun import facts_of
from deployer.commands.release.attach import discard
from deployer.commands.release.deploy import read_project, release_number, reload_of, run_phases
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.fleet.release import begin, release
from deployer.fleet.results import Answers, ask_each
from deployer.release.kinds import Rollback
from deployer.release.placement import ReleaseKind
from deployer.release.promotion import Promotion, held_by_all
from deployer.rollout import Strategy, waves
from deployer.wire.advice import do
from deployer.wire.protocol import BEHIND_THE_SWITCH, LEASE, PHASES

__all__ = ["hold_copy", "hold_deploy", "hold_reload", "hold_rollback", "promote", "refuse_wait", "would_promote"]

_BEFORE = PHASES[: PHASES.index(BEHIND_THE_SWITCH[0])]
_STARTED = PHASES[: PHASES.index("migrate")]


def hold_deploy(
    fleet: Fleet, *, ref: str | None = None, dirty: bool = False, strict: bool = False, no_migrate: bool = False
) -> int:
    """Prepare a release of a commit, or of the working tree, on every host; the exit code.

    Several hosts go step by step: the migration runs once all have started, and each is checked after it.
    """
    single = len(fleet.sites) == 1
    first, rest = (_BEFORE, ()) if single else (_STARTED, (("migrate",), ("check",)))

    def read() -> ReleaseKind:
        return read_project(fleet, ref, dirty, strict=strict, no_migrate=no_migrate, phases=first)

    exit = begin(fleet, read)
    for phases in rest:
        exit = exit or run_phases(fleet, phases, "", no_migrate=no_migrate)
    return _held(fleet, exit)


def hold_reload(fleet: Fleet) -> int:
    """The same for the code that serves, under today's settings and environment; nothing migrates."""
    return _held(fleet, begin(fleet, lambda: replace(reload_of(fleet), phases=_BEFORE)))


def hold_rollback(fleet: Fleet, *, to: str = "", yes: bool = False) -> int:
    """The same for an older release that is kept; nothing migrates."""
    kind = Rollback(to=release_number(to) if to else 0, yes=yes, phases=_BEFORE)
    return _held(fleet, begin(fleet, lambda: kind))


def hold_copy(fleet: Fleet, number: int) -> int:
    """Prepare a release with the parts of a kept one, to be looked at and discarded; the exit code.

    It runs the older code behind migrations, too: whoever asks for it wants to see just that.
    """
    return begin(fleet, lambda: Rollback(to=number, yes=True, phases=_BEFORE))


def refuse_wait(*, wait: bool) -> None:
    """Raises ConfigError: what is held must not be thrown away by the next in a queue, unseen."""
    if wait:
        raise ConfigError(
            message="--hold does not wait for another deploy", next=do("leave out --wait, and try again later")
        )


def _held(fleet: Fleet, exit: int) -> int:
    """Tell how it goes on; where a host has failed, discard the candidates of the others."""
    if exit and len(fleet.sites) > 1:
        discard(fleet)
    elif not exit:
        text = f"it has no traffic, and is held for {LEASE // 60} min: fab preview shows it, fab promote serves it, "
        fleet.report(events.Note(text=f"{text}fab abort discards it"))
    return exit


def promote(fleet: Fleet, *, strategy: Strategy, wait: bool = False) -> int:
    """Switch to the candidate that all hosts hold, on all of them or on none; the exit code."""
    return release(fleet, Promotion, strategy=strategy, wait=wait)


def would_promote(fleet: Fleet, *, strategy: Strategy) -> Answers[str]:
    """What each host would switch to. Raises ConfigError when they do not hold the same."""
    waves(fleet.hosts, strategy)
    found = ask_each(fleet, facts_of)
    if not found.missing:
        held_by_all(found.values)
    told = {
        host: f"{one.current or 'nothing'} serves; would switch to {one.held.release}"
        for host, one in found.values.items()
        if one.held is not None
    }
    return Answers(values=told, missing=found.missing, exit=found.exit)
