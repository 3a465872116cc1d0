"""The use case of ``fab plan``: what a deploy would have run on each host, and as which release. Nothing is touched."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from deployer.commands.release import djangoadvice
from deployer.commands.release.deploy import read_project
from deployer.errors import Exit
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers, ask_each
from deployer.release.kinds import Deploy
from deployer.release.spec import keep_scale
from deployer.release.variables import hidden_by_host, missing_on
from deployer.remote.answers import Calendar, Calendars
from deployer.remote.plan import Plan, PlannedProcess, PlannedTimer
from deployer.remote.site import Site, open_remote
from deployer.wire.protocol import WEB
from deployer.wire.release.processes import Timer, Web
from deployer.wire.release.spec import Spec

__all__ = ["changes", "preview"]


def preview(fleet: Fleet, *, ref: str | None = None, dirty: bool = False, strict: bool = False) -> Answers[Plan]:
    """What each host would run. All that is wrong here is found first, as at a deploy; raises ConfigError."""
    kind = read_project(fleet, ref, dirty, strict=strict)
    found = ask_each(fleet, lambda site: _plan(site, kind), exit_of=_exit)
    newest = max((int(plan.release[1:]) for plan in found.values.values()), default=0)
    return replace(found, values={host: replace(plan, release=f"v{newest}") for host, plan in found.values.items()})


def _exit(plan: Plan) -> int:
    """A calendar that a host does not understand would have the deploy refused, and so would a missing variable."""
    refused = plan.missing or any(timer.problem for timer in plan.timers)
    return int(Exit.USAGE if refused else Exit.OK)


def _plan(site: Site, kind: Deploy) -> Plan:
    with open_remote(site) as (remote, facts):
        spec = keep_scale(kind.spec_on(site), facts.spec)
        wanted = list(dict.fromkeys(timer.calendar for timer in spec.timers))
        told = remote.query({"op": "calendars", "calendars": wanted}, Calendars).calendars if wanted else ()
    plan = Plan(
        app=site.config.app,
        host=site.host,
        current=facts.current or None,
        release=f"v{facts.next}",
        commit=spec.source.commit,
        ref=spec.source.ref,
        dirty=spec.source.dirty,
        busy=str(facts.busy) if facts.busy else None,
        locked=f"deploys are {facts.lock}" if facts.lock else None,
        notes=tuple(_foreseen(site, kind, spec)),
        hidden=hidden_by_host(kind.local, site.config.env, facts),
        missing=missing_on(kind.local, site.config.env, facts),
    )
    return changes(plan, spec, facts.spec, {one.calendar: one for one in told})


def _foreseen(site: Site, kind: Deploy, spec: Spec) -> list[str]:
    """What the settings of Django will do wrong behind the site."""
    secrets = kind.local.over({})
    return djangoadvice.foresee(kind.source, site.config, spec.web.server if spec.web else "", secrets)


def changes(plan: Plan, spec: Spec, before: Spec | None, calendars: Mapping[str, Calendar]) -> Plan:
    """The plan with what ``spec`` has run, and how that differs from ``before``, which serves. Pure."""
    old = dict(_parts(before)) if before else {}
    new = dict(_parts(spec))

    def change(name: str) -> str:
        return "" if before is None or old.get(name) == new[name] else "changed" if name in old else "new"

    web = spec.web
    processes = [PlannedProcess(process=WEB, runs=_web(web), count=_workers(web), change=change(WEB))] if web else []
    processes += [
        PlannedProcess(process=one.name, runs=shlex.join(one.command), count=one.count, change=change(one.name))
        for one in spec.processes
    ]

    def timer(one: Timer) -> PlannedTimer:
        return _timer(one, calendars.get(one.calendar) or Calendar(calendar=one.calendar), change(one.name))

    return replace(
        plan,
        scaled=tuple(f"{name}={count}" for name, count in spec.scale),
        processes=tuple(processes),
        timers=tuple(
            _timer(one, calendars.get(one.calendar, Calendar(calendar=one.calendar)), change(one.name))
            for one in spec.timers
        ),
        gone=tuple(name for name in old if name not in new),
    )


def _parts(spec: Spec) -> Iterator[tuple[str, object]]:
    """All that a release runs, by name."""
    if spec.web is not None:
        yield WEB, spec.web
    for one in spec.background:
        yield one.name, one


def _workers(web: Web) -> int:
    """Of a command of its own only the project knows."""
    return 1 if web.server == "command" else web.workers


def _web(web: Web) -> str:
    words: Sequence[str] = web.args if web.server == "command" else (web.server, web.target, *web.args)
    return shlex.join(words)


def _timer(timer: Timer, told: Calendar, change: str) -> PlannedTimer:
    return PlannedTimer(
        process=timer.name,
        runs=shlex.join(timer.command),
        calendar=timer.calendar,
        next=told.next,
        problem=told.problem,
        change=change,
    )
