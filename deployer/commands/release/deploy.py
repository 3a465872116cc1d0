"""The use cases that make a release, on one host or on a whole fleet: deploy, reload, rollback, the phases."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deployer import events
from deployer.commands.release.outside import told_at_end
from deployer.config import Config, LocalEnvironment, read_local, refuse_twice
from deployer.errors import ConfigError
from deployer.errors.local import as_local
from deployer.events import Reporter
from deployer.fleet.coordinator import follow
from deployer.fleet.hosts import Fleet
from deployer.fleet.release import begin, release
from deployer.fleet.results import conclude
from deployer.project.detect.application import complete
from deployer.project.locks.lockfile import Lock, lock_of
from deployer.project.shared import shared_warnings
from deployer.project.source import Source, collect
from deployer.release.kinds import Deploy, Reload, Rollback, migrator_of
from deployer.release.placement import Payload
from deployer.remote.facts import Facts
from deployer.remote.refusals import refuse_if_busy
from deployer.remote.session import Remote
from deployer.remote.site import Site, who
from deployer.rollout import Strategy
from deployer.wire import advice
from deployer.wire.environment import Change
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import PHASES
from deployer.wire.release.versions import fits

__all__ = ["deploy", "read_project", "release_number", "reload", "reload_of", "rollback", "run_phases", "upload"]

AT_ONCE = Strategy()
_MOMENT = 1.0
"""Seconds that need no explanation."""
_RELEASE = pattern(r"v?[1-9][0-9]{0,8}\Z")


def deploy(
    fleet: Fleet,
    *,
    ref: str | None = None,
    dirty: bool = False,
    strict: bool = False,
    no_migrate: bool = False,
    wait: bool = False,
    strategy: Strategy = AT_ONCE,
) -> int:
    """Release a commit, or the working tree; the exit code. All bad input is found before anything is sent."""

    def read() -> Deploy:
        return read_project(fleet, ref, dirty, strict=strict, no_migrate=no_migrate)

    return release(told_at_end(fleet), read, strategy=strategy, wait=wait)


def reload(fleet: Fleet, *, wait: bool = False, strategy: Strategy = AT_ONCE) -> int:
    """A new release of the code that serves, under today's settings and environment; the exit code."""
    return release(fleet, lambda: reload_of(fleet), strategy=strategy, wait=wait)


def rollback(fleet: Fleet, *, to: str = "", yes: bool = False, wait: bool = False, strategy: Strategy = AT_ONCE) -> int:
    """A new release with the parts of an older one: ``to`` (``v40``), or the good one before what serves."""
    kind = Rollback(to=release_number(to) if to else 0, yes=yes)
    return release(fleet, lambda: kind, strategy=strategy, wait=wait)


def upload(fleet: Fleet, *, ref: str | None = None, dirty: bool = False, strict: bool = False) -> int:
    """Begin a release on every host, under one number: send what it lacks and unpack it; the exit code."""
    return begin(fleet, lambda: read_project(fleet, ref, dirty, strict=strict, phases=PHASES[:1]))


def run_phases(fleet: Fleet, phases: Sequence[str], release: str, *, no_migrate: bool = False) -> int:
    """Run phases after ``upload`` of a release that is being made: ``release``, or the newest; the exit code.

    Of a fleet's hosts one runs the migration, unless it is left out.
    """
    number = release_number(release) if release else 0
    migrator = migrator_of(fleet.config, fleet.hosts)

    def plan(site: Site, remote: Remote, facts: Facts) -> Payload:
        refuse_if_busy(remote, facts)
        message = {
            "op": "phases", "phases": list(phases), "release": number, "by": who(),
            "no_migrate": no_migrate or site.host != migrator,
        }  # fmt: skip
        return Payload(message=message)

    return conclude(fleet, follow(fleet, plan, asks=True), exit_of=lambda outcome: int(outcome.exit))


def read_project(
    fleet: Fleet,
    ref: str | None,
    dirty: bool,
    *,
    strict: bool = False,
    no_migrate: bool = False,
    phases: tuple[str, ...] = PHASES,
) -> Deploy:
    """All that is wrong here is found now: with the code, with deploy.toml for it, with the environment.

    ``strict`` refuses requirements that are not pinned.
    """
    _refuse_twice(fleet)
    with as_local():
        source = collect_source(fleet, ref, dirty)
        lock = lock_of(fleet.config, source, required=any(_has_server(site.config) for site in fleet.sites))
        for site in fleet.sites:
            _refuse_misfit(complete(site.config, source), lock)
        local = local_of(fleet)
        outside = shared_warnings(source, fleet.config.release.outside)
    if strict or fleet.config.release.locked:
        lock.refuse_loose()
    _warn(fleet, [*source.warnings, *outside, *lock.warnings, *([lock.loose] if lock.loose else [])])
    return Deploy(config=fleet.config, source=source, lock=lock, local=local, no_migrate=no_migrate, phases=phases)


def _refuse_misfit(config: Config, lock: Lock) -> None:
    """Raises ConfigError when the lock lacks what is to run, or is for another Python."""
    server = [config.web.server_name] if config.runs_web and config.web.server_name else []
    lines = [one.command for one in config.processes.values()] + [one.command for one in config.timers.values()]
    lock.refuse_absent([*server, *(shlex.split(line)[0] for line in lines)])
    if config.python and not fits(config.python, lock.requires):
        raise ConfigError(
            message=f"{lock.says_python} is for Python {lock.requires}, "
            f"and deploy.toml says python = {config.python!r}",
            state="nothing was touched",
            next=advice.do("change python in deploy.toml; or requires-python, and lock again; then commit"),
        )


def _warn(fleet: Fleet, warnings: Sequence[str]) -> None:
    host = fleet.sites[0].host if len(fleet.sites) == 1 else ""
    for text in warnings:
        fleet.report(events.Warn(host=host, text=text))


def reload_of(fleet: Fleet, *, changes: Mapping[str, Change] | None = None, again: str = "fab reload") -> Reload:
    """What a reload releases, with the ``changes`` of what each host keeps. Raises ConfigError."""
    _refuse_twice(fleet)
    return Reload(
        configs={site.host: site.config for site in fleet.sites},
        local=local_of(fleet),
        changes=changes or {},
        again=again,
    )


def local_of(fleet: Fleet) -> LocalEnvironment:
    """What this machine has of the environment: its file is read, its command is run, once. Raises ConfigError."""
    config = fleet.config
    with as_local():
        return read_local(
            fleet.sites[0].root,
            env_file=config.env_file,
            env_command=config.env_command,
            required=config.env_required,
        )


def _refuse_twice(fleet: Fleet) -> None:
    """Raises ConfigError when the release would have two hosts do what one of them is to do."""
    refuse_twice({site.host: site.config.roles.once for site in fleet.sites})


def _has_server(config: Config) -> bool:
    """Whether a host needs a server from among the app's dependencies."""
    return config.runs_web and not config.web.command


def collect_source(fleet: Fleet, ref: str | None, dirty: bool) -> Source:
    """The files that would ship: those of a commit, or (``dirty``) of the working tree. Raises ConfigError."""
    config, root = fleet.config, fleet.sites[0].root
    env_file = Path(config.env_file) if config.env_file else None
    host = fleet.sites[0].host if len(fleet.sites) == 1 else ""
    with _worth_a_row(fleet.report, host):
        return collect(
            root,
            ref=ref,
            dirty=dirty,
            include=config.include,
            env_file=env_file,
            submodules=config.release.submodules,
        )


@contextmanager
def _worth_a_row(report: Reporter, host: str) -> Iterator[None]:
    """Report reading the project as the phase ``read`` when it takes longer than a second."""
    started, lock = time.monotonic(), threading.Lock()
    told = over = False

    def tell() -> None:
        nonlocal told
        with lock:
            if not over:
                told = True
                report(events.PhaseStarted(host=host, phase="read", detail="the project's files"))

    timer = threading.Timer(_MOMENT, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over = True
        if told:
            report(events.PhaseDone(host=host, phase="read", seconds=time.monotonic() - started))


def release_number(name: str) -> int:
    """The number of a release as people name it, ``v40`` or ``40``. Raises ConfigError."""
    if not _RELEASE.match(name):
        raise ConfigError(message=f"not a release: {name!r}; releases are v1, v2, …", next=advice.run("fab releases"))
    return int(name.removeprefix("v"))
