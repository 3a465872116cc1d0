"""What ``--dry`` tells of the tasks that change something. Hosts are asked what they have, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from deployer.commands.console.session import Place
from deployer.commands.operate.lock import checked
from deployer.commands.operate.scale import counts_told, scale_of
from deployer.commands.operate.timers import timers_of
from deployer.commands.prepare.setup import public_key, refuse_several
from deployer.commands.release.deploy import release_number, reload_of
from deployer.config import HostConfig
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers, ask_each
from deployer.release.again import Restart
from deployer.release.agreement import current_of
from deployer.release.kinds import Rollback
from deployer.release.placement import ReleaseKind
from deployer.remote.facts import Facts
from deployer.remote.site import Site, open_remote
from deployer.rollout import Strategy, waves
from deployer.wire import advice

__all__ = [
    "abort", "destroy", "lock", "phase", "reload", "restart", "rollback", "run", "scale", "setup", "start", "stop",
    "timer", "unlock",
]  # fmt: skip

Tell = Callable[[Site, Facts], str]
"""What would be done on one host. Raises ConfigError where it would be refused."""


def reload(fleet: Fleet, *, strategy: Strategy) -> Answers[str]:
    """The release that each host would make."""
    made = (
        "with the code and dependencies of {0}, under today's deploy.toml and environment; nothing is built or migrated"
    )
    return _release(fleet, reload_of(fleet), strategy, lambda facts: made.format(facts[0].current))


def rollback(fleet: Fleet, *, to: str, yes: bool, strategy: Strategy) -> Answers[str]:
    """The release that each host would go back to."""
    kind = Rollback(to=release_number(to) if to else 0, yes=yes)
    behind = "" if yes else "; it stops first, and asks for --yes, when migrations were applied since"

    def made(facts: Sequence[Facts]) -> str:
        name = kind.target({str(at): one for at, one in enumerate(facts)})
        return f"with the code, dependencies, environment and units of {name}{behind}"

    return _release(fleet, kind, strategy, made)


def _release(
    fleet: Fleet, kind: ReleaseKind, strategy: Strategy, made: Callable[[Sequence[Facts]], str]
) -> Answers[str]:
    """All that a release would find wrong is found. Where a host gave no answer, that is all there is to tell."""
    waves(fleet.hosts, strategy)
    found = ask_each(fleet, facts_of)
    if found.missing:
        return _told(found, {})
    kind.agree(found.values)
    number = max(facts.next for facts in found.values.values())
    what = made(list(found.values.values()))

    def tell(facts: Facts) -> str:
        return f"{facts.current} serves; would make v{number} {what}{_busy(facts)}"

    return _told(found, {host: tell(facts) for host, facts in found.values.items()})


def abort(fleet: Fleet) -> Answers[str]:
    """The deploy that each host would end, or the candidate that it would discard. Raises ConfigError when there is
    none on any."""
    found = ask_each(fleet, facts_of)
    if not found.missing and not any(facts.busy or facts.held for facts in found.values.values()):
        raise ConfigError(message="no deploy is running", next=advice.run("fab status"))

    def tell(facts: Facts) -> str:
        if facts.busy:
            return f"would end what runs, and have it undone: {facts.busy}"
        return f"would discard {facts.held.release}, which is held" if facts.held else "no deploy is running"

    return _told(found, {host: tell(facts) for host, facts in found.values.items()})


def phase(fleet: Fleet, name: str, release: str) -> Answers[str]:
    """The phase that would be run, and of which release."""
    which = f"v{release_number(release)}" if release else "the newest release under way"
    return _each(fleet, lambda _, facts: f"would run the phase {name} of {which}{_busy(facts)}")


def run(fleet: Fleet, words: Sequence[str], place: Place) -> Answers[str]:
    """The command that would be run, and in which release."""

    def tell(site: Site, facts: Facts) -> str:
        current_of(site.host, facts)
        release = f"v{place.release}, if it is kept" if place.release else facts.current
        if place.process and place.process not in facts.processes:
            names = ", ".join(facts.processes)
            raise ConfigError(
                message=f"there is no process {place.process!r} on {site.host}; there are: {names}",
                next=advice.run("fab status"),
                host=site.host,
            )
        where = f", in the place of {place.process}" if place.process else ""
        return f"would run in {release}, as the app{where}: {shlex.join(words)}"

    return _each(fleet, tell)


def setup(fleet: Fleet, *, keys: Sequence[str], allow_units: Sequence[str], upgrade: bool = False) -> Answers[str]:
    """What a host would be prepared with. It is not connected to: what it has already, only the set-up itself finds."""
    for name in keys:
        public_key(Path(name).expanduser())
    refuse_several(fleet)
    return Answers(
        values={site.host: _prepared(site, len(keys), allow_units, upgrade) for site in fleet.sites}, missing=(), exit=0
    )


def destroy(fleet: Fleet, *, data: bool) -> Answers[str]:
    """What a host would lose. It is not connected to: that needs root."""

    def text(app: str) -> str:
        rest = "with all its data" if data else f"but for its data (/var/lib/{app}, databases, dumps)"
        return f"would remove, as root, {app} from this host: what runs, its releases, users, units and site; {rest}"

    return Answers(values={site.host: text(site.config.app) for site in fleet.sites}, missing=(), exit=0)


def _prepared(site: Site, keys: int, allow_units: Sequence[str], upgrade: bool) -> str:
    app, user = site.config.app, site.config.deploy_user
    parts = [
        f"the user {app}",
        f"the user {user} with {keys or 'your'} public key{'' if keys == 1 else 's'}",
        f"/srv/{app} and /var/lib/{app}",
        f"the host program, and leave for {user} to run it by sudo",
        f"{app}.service",
        *([f"the {site.config.proxy.kind} site"] if site.config.proxy.kind else []),
        *software(site.config.host),
        *(["the newest uv, and of the Python that setup has installed the newest patch release"] if upgrade else []),
        *([f"leave to set {', '.join(allow_units)} in units"] if allow_units else []),
    ]
    return f"would prepare, as root: {', '.join(parts)}; packages that are missing; what is there already stays"


def software(host: HostConfig) -> list[str]:
    """What ``[host]`` asks for, in words."""
    named = {"postgresql": "a PostgreSQL database", "redis": "a Redis"}
    return [*(f"the package {name}" for name in host.packages), *(named[name] for name in host.services)]


def _told(found: Answers[Facts], texts: Mapping[str, str]) -> Answers[str]:
    return Answers(values=texts, missing=found.missing, exit=found.exit)


def _each(fleet: Fleet, tell: Tell) -> Answers[str]:
    def question(site: Site) -> str:
        with open_remote(site) as (_, facts):
            return tell(site, facts)

    return ask_each(fleet, question)


def facts_of(site: Site) -> Facts:
    with open_remote(site) as (_, facts):
        return facts


def restart(fleet: Fleet, *, process: str, strategy: Strategy) -> Answers[str]:
    """The release that each host would make, or the process that it would restart."""
    if process:
        return _each(fleet, lambda _, facts: f"would restart {process} of {facts.current or 'nothing'}{_busy(facts)}")
    made = "with all that it has now: its code, settings and environment"
    return _release(fleet, Restart(), strategy, lambda _: made)


def scale(fleet: Fleet, counts: str, *, strategy: Strategy) -> Answers[str]:
    """The release that each host would make."""
    kind = scale_of(fleet, counts)
    made = f"with all that it has now, and {', '.join(counts_told(kind))}"
    return _release(fleet, kind, strategy, lambda _: made)


def stop(fleet: Fleet) -> Answers[str]:
    """What each host would stop."""
    text = "would be stopped, until fab start or a deploy"
    return _each(fleet, lambda site, facts: f"{_current(site, facts)} {text}{_busy(facts)}")


def start(fleet: Fleet) -> Answers[str]:
    """What each host would start."""
    text = "would be started, if it does not run, and its health checked"
    return _each(fleet, lambda site, facts: f"{_current(site, facts)} {text}{_busy(facts)}")


def timer(fleet: Fleet, name: str) -> Answers[str]:
    """Where the timer would be run."""

    def tell(_: Site, facts: Facts) -> str:
        has = name in timers_of(facts)
        return f"would run {name} of {facts.current}{_busy(facts)}" if has else f"has no timer {name}"

    return _each(fleet, tell)


def _current(site: Site, facts: Facts) -> str:
    """The release that serves. Raises ConfigError when nothing does."""
    current_of(site.host, facts)
    return facts.current


def lock(fleet: Fleet, why: str, until: str) -> Answers[str]:
    """The lock that would be set. Raises ConfigError."""
    reason, ends = checked(why, until)
    end = f", until {datetime.fromtimestamp(ends):%Y-%m-%d %H:%M}" if ends else ""

    def tell(_: Site, facts: Facts) -> str:
        return f"deploys are {facts.lock}" if facts.lock else f"would lock deploys{end}: {reason}"

    return _each(fleet, tell)


def unlock(fleet: Fleet) -> Answers[str]:
    """The lock that would be removed."""
    return _each(fleet, lambda _, facts: f"would unlock: deploys are {facts.lock}" if facts.lock else "not locked")


def _busy(facts: Facts) -> str:
    locked = f"deploys are {facts.lock}" if facts.lock else ""
    why = "; ".join(filter(None, (str(facts.busy or ""), locked)))
    return f"; it would be refused now: {why}" if why else ""
