"""Pure: the variables that a release gets on each host, from this machine's and from what the host says it has."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.config import LocalEnvironment
from deployer.errors import ConfigError
from deployer.remote.facts import Facts
from deployer.wire.advice import do, run
from deployer.wire.environment import HOST, Change

__all__ = ["hidden_by_host", "missing_on", "refuse_missing"]


def missing_on(
    local: LocalEnvironment, plain: Mapping[str, str], facts: Facts, change: Change | None = None
) -> tuple[str, ...]:
    """The required variables that a release on a host would lack, or have empty."""
    there = {name: not one.empty for name, one in facts.environment.items()}
    if change is not None:
        there = {name: full for name, full in there.items() if name not in change.remove}
        there.update({name: bool(value) for name, value in change.put.items()})
    sent = {name: bool(value) for name, value in local.over(plain).items()}
    own = {name for name, one in facts.environment.items() if one.source == HOST}
    own |= set(change.put) if change else set()
    own -= set(change.remove) if change else set()
    return tuple(name for name in local.required if not _has(name, sent, there, own))


def _has(name: str, sent: Mapping[str, bool], there: Mapping[str, bool], own: set[str]) -> bool:
    """Whether a variable has a value: the host's own wins, then what is sent, then a service of the host's."""
    if name in own or name not in sent:
        return there.get(name, False)
    return sent[name]


def refuse_missing(
    local: LocalEnvironment,
    plain: Mapping[str, Mapping[str, str]],
    facts: Mapping[str, Facts],
    changes: Mapping[str, Change] | None = None,
) -> None:
    """Raises ConfigError naming what is required and missing, and where. ``plain`` is what deploy.toml says for each
    host, ``changes`` what each is to keep from this release on."""
    lacks = {host: missing_on(local, plain[host], facts[host], (changes or {}).get(host)) for host in plain}
    absent = {host: found for host, found in lacks.items() if found}
    if not absent:
        return
    alike = len(set(absent.values())) == 1
    where = ", ".join(absent)
    told = f"{', '.join(next(iter(absent.values())))} on {where}"
    text = told if alike else "; ".join(f"{', '.join(names)} on {host}" for host, names in absent.items())
    first = next(iter(absent.values()))[0]
    raise ConfigError(
        message=f"the app requires variables that are not set, or are empty: {text}",
        next=run(f"fab env.set {first}", "asks for its value, and keeps it on the hosts")
        + do("or set it in [env], env_file or env_command of deploy.toml; or take it out of [env] required"),
    )


def hidden_by_host(local: LocalEnvironment, plain: Mapping[str, str], facts: Facts) -> dict[str, str]:
    """The variables of this machine that one set on the host wins over, each with where it is here."""
    own = (name for name, one in facts.environment.items() if one.source == HOST)
    sources = local.sources(plain)
    return {name: sources[name][0] for name in sorted(own) if name in sources}
