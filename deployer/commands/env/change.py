"""Change what the hosts keep of the app's environment: by a release on all of them, or on none; or for the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer import events
from deployer.commands.env.looking import Difference, Look
from deployer.commands.release.deploy import reload_of
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.release import release
from deployer.fleet.results import conclude
from deployer.remote.answers import Staged
from deployer.remote.refusals import refuse_if_busy
from deployer.remote.site import Site, open_remote, who
from deployer.rollout import Strategy
from deployer.wire.advice import run
from deployer.wire.environment import Change

__all__ = ["carry_out", "changes_of", "would"]


def changes_of(
    found: Look, put: Mapping[str, Secret], remove: Mapping[str, Sequence[str]], *, exact: bool = False
) -> dict[str, Change]:
    """The change for each host. ``exact``: it holds only for what the host kept when it was asked."""
    values = {name: value.reveal() for name, value in put.items()}
    return {
        host: Change(put=values, remove=tuple(remove.get(host, ())), version=one.version if exact else -1)
        for host, one in found.hosts.items()
    }


def carry_out(
    fleet: Fleet,
    found: Look,
    changes: Mapping[str, Change],
    differences: Mapping[str, Difference],
    *,
    again: str,
    stage: bool,
    wait: bool,
    strategy: Strategy,
) -> int:
    """Make the changes on all hosts, and say what they are; the exit code.

    Without ``stage``, and where something serves, that is a release. ``again`` is the command that would try again.
    """
    if not any(differences.values()):
        return _unchanged(fleet, differences)
    if found.deployed and len(found.deployed) < len(found.hosts) and not stage:
        bare = ", ".join(host for host in found.hosts if host not in found.deployed)
        raise ConfigError(
            message=f"nothing is deployed on {bare} yet, and on {', '.join(found.deployed)} something serves",
            state="nothing was touched",
            next=run(f"{again} --stage", "only stores it, on all of them") + run("fab deploy"),
        )
    _tell(fleet, differences)
    if stage or not found.deployed:
        return _stage(fleet, changes, differences, deployed=bool(found.deployed))
    return release(fleet, lambda: reload_of(fleet, changes=changes, again=again), strategy=strategy, wait=wait)


def would(found: Look, differences: Mapping[str, Difference], *, stage: bool) -> dict[str, str]:
    """What :func:`carry_out` would do on each host."""
    return {host: _would(found.hosts[host].current, one, stage=stage) for host, one in differences.items()}


def _would(current: str, change: Difference, *, stage: bool) -> str:
    if not change:
        return "nothing would change"
    what = str(change)
    if stage or not current:
        return f"would only store it, for the next release: {what}"
    return f"{current} serves; would make a new release of it that {what}; nothing is built or migrated"


def _unchanged(fleet: Fleet, differences: Mapping[str, Difference]) -> int:
    fleet.report(events.Note(text="no change: the hosts keep this already"))
    staged = sorted({name for one in differences.values() for name in one.staged})
    if staged:
        advice = fleet.advise("fab reload")
        fleet.report(events.Note(text=f"{', '.join(staged)}: not in what serves yet; {advice} takes it"))
    return 0


def _tell(fleet: Fleet, differences: Mapping[str, Difference]) -> None:
    """What changes, of all hosts in one line where it is the same."""
    alike = len({str(one) for one in differences.values()}) == 1
    for host, one in differences.items():
        fleet.report(events.Note(host="" if alike else host, text=str(one) or "nothing changes here"))
        if alike:
            return


def _stage(
    fleet: Fleet, changes: Mapping[str, Change], differences: Mapping[str, Difference], *, deployed: bool
) -> int:
    """Only store it. Every host has answered just now; one that refuses all the same keeps what it had."""

    def store(site: Site) -> int | None:
        if not differences[site.host]:
            return None
        with open_remote(site) as (remote, facts):
            refuse_if_busy(remote, facts)
            remote.query({"op": "stage", "change": changes[site.host].as_json(), "by": who()}, Staged)
        site.report(events.Finished(host=site.host, exit=0, serving=facts.current, summary=f"stored; {then}"))
        return int(Exit.OK)

    command = fleet.advise("fab reload" if deployed else "fab deploy")
    then = f"{command} takes it" if deployed else f"nothing is deployed yet: {command} takes it"
    return conclude(fleet, each(fleet, store), exit_of=lambda _: 0)
