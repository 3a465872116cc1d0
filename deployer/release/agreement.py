"""Pure: what the hosts of a release must agree on before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.errors import ConfigError
from deployer.remote.facts import Facts
from deployer.wire.advice import Next, run
from deployer.wire.release.spec import Spec

__all__ = ["current_of", "refuse_nothing", "refuse_skew", "rollback_target"]


def current_of(host: str, facts: Facts) -> Spec:
    """The spec of what serves. Raises ConfigError when nothing does."""
    if facts.spec is None:
        raise ConfigError(
            message=f"nothing is deployed on {host} yet", state="nothing was touched", next=run("fab deploy"), host=host
        )
    return facts.spec


def refuse_nothing(facts: Mapping[str, Facts]) -> None:
    for host, one in facts.items():
        current_of(host, one)


def refuse_skew(facts: Mapping[str, Facts], what: str) -> None:
    serving: dict[str, list[str]] = {}
    for host, one in facts.items():
        serving.setdefault(one.current, []).append(host)
    if len(serving) > 1:
        told = "; ".join(f"{name} serves on {', '.join(hosts)}" for name, hosts in serving.items())
        raise ConfigError(
            message=f"the hosts serve different releases, and a {what} would keep it so: {told}",
            next=run("fab deploy", "brings them in line"),
        )
    if len({one.spec.source.digest for one in facts.values() if one.spec}) > 1:
        name = next(iter(serving))
        raise ConfigError(
            message=f"{name} is not the same code on all hosts, and a {what} would keep it so",
            next=run("fab deploy", "brings them in line"),
        )


def rollback_target(facts: Mapping[str, Facts], to: int) -> str:
    """The release that all hosts go back to: number ``to``, or (0) the good one before what serves.

    A release that changed what some of the hosts run is, to the others, the same again, and they would go further
    back: the newest of what they would choose is right for all, as long as all serve the same and have had it.
    Raises ConfigError when there is none.
    """
    targets = {host: f"v{to}" if to else one.target for host, one in facts.items()}
    if not any(targets.values()):
        raise ConfigError(message=_none_before(facts), next=run("fab releases"))
    name = max(targets.values(), key=_number)
    if not to:
        name = _passing_by_damage(name, facts)
        targets = {host: min(target, name, key=_number) for host, target in targets.items()}
    lacking = [host for host, one in facts.items() if name not in one.usable]
    alike = len({one.current for one in facts.values()}) == 1 and not lacking
    if len(set(targets.values())) > 1 and not alike:
        told = "; ".join(f"{host} would go back to {name or 'nothing'}" for host, name in targets.items())
        raise ConfigError(message=f"the hosts have not had the same releases: {told}", next=_common_target(facts))
    if lacking:
        raise ConfigError(
            message=f"{', '.join(lacking)} cannot go back to {name}: it is not there, damaged, or was never good",
            next=_common_target(facts),
        )
    if len({one.usable[name] for one in facts.values()}) > 1:
        raise ConfigError(message=f"{name} is not the same code on all hosts", next=run("fab deploy"))
    return name


def _passing_by_damage(newest: str, facts: Mapping[str, Facts]) -> str:
    """The newest release, from ``newest`` down, that no host passes by for its damage. What is damaged on one host is
    gone back to on none, and then all must have the one that is.

    Raises ConfigError when none is left.
    """
    name, common = newest, set.intersection(*(set(one.usable) for one in facts.values()))
    while any(name in one.passed for one in facts.values()):
        older = [other for other in common if _number(other) < _number(name)]
        if not older:
            raise ConfigError(message=_none_before(facts), next=run("fab deploy"))
        name = max(older, key=_number)
    return name


def _none_before(facts: Mapping[str, Facts]) -> str:
    passed = (f"{name} is damaged on {host}" for host, one in facts.items() for name in one.passed)
    return "; ".join(["there is no good release before the one that serves", *passed])


def _common_target(facts: Mapping[str, Facts]) -> Next:
    """What to type when the hosts cannot all go back to the same: the newest release that all of them have, if any."""
    common = set.intersection(*(set(one.usable.items()) for one in facts.values()))
    serving = {one.current for one in facts.values()}
    names = sorted((name for name, _ in common), key=lambda name: int(name[1:]), reverse=True)
    older = [name for name in names if {name} != serving]
    if not older:
        return run("fab deploy", "there is no release that all of them have had")
    return run(f"fab rollback --to {older[0]}", f"all can go back to: {', '.join(older)}")


def _number(name: str) -> int:
    return int(name[1:] or 0)
