"""``fab env.set`` and ``fab env.unset``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.commands.env import typed
from deployer.commands.env.change import carry_out, changes_of, would
from deployer.commands.env.looking import Difference, Look, difference, look
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers
from deployer.rollout import Strategy
from deployer.wire.advice import run
from deployer.wire.environment import PLAIN

__all__ = ["put", "remove", "would_put", "would_remove"]


def put(fleet: Fleet, words: Sequence[str], *, file: str, stage: bool, wait: bool, strategy: Strategy) -> int:
    """Set variables on every host, or on none; the exit code. Raises ConfigError."""
    values, found = _values(fleet, words, file), look(fleet)
    if found.exit:
        return found.exit
    return carry_out(
        fleet,
        found,
        changes_of(found, values, {}),
        _differences(found, values, ()),
        again=f"fab env.set {' '.join(values)}" if not file else f"fab env.set --file {file}",
        stage=stage,
        wait=wait,
        strategy=strategy,
    )


def would_put(fleet: Fleet, words: Sequence[str], *, file: str, stage: bool) -> Answers[str]:
    values, found = _values(fleet, words, file), look(fleet)
    return Answers(values=would(found, _differences(found, values, ()), stage=stage), missing=(), exit=found.exit)


def remove(fleet: Fleet, words: Sequence[str], *, stage: bool, wait: bool, strategy: Strategy) -> int:
    """Remove variables from every host, or from none; the exit code. Raises ConfigError when no host keeps one."""
    names, found = typed.names(words, "env.unset"), look(fleet)
    if found.exit:
        return found.exit
    _refuse_absent(found, names)
    return carry_out(
        fleet,
        found,
        changes_of(found, {}, dict.fromkeys(found.hosts, names)),
        _differences(found, {}, names),
        again=f"fab env.unset {' '.join(names)}",
        stage=stage,
        wait=wait,
        strategy=strategy,
    )


def would_remove(fleet: Fleet, words: Sequence[str], *, stage: bool) -> Answers[str]:
    names, found = typed.names(words, "env.unset"), look(fleet)
    if not found.exit:
        _refuse_absent(found, names)
    return Answers(values=would(found, _differences(found, {}, names), stage=stage), missing=(), exit=found.exit)


def _values(fleet: Fleet, words: Sequence[str], file: str) -> dict[str, Secret]:
    return typed.variables(words, file, fleet.sites[0].ssh.password_prompt)


def _differences(found: Look, values: Mapping[str, Secret], names: Sequence[str]) -> dict[str, Difference]:
    return {host: difference(one, values, names, found.salt) for host, one in found.hosts.items()}


def _refuse_absent(found: Look, names: Sequence[str]) -> None:
    for name in names:
        rows = [row for one in found.hosts.values() for row in one.variables if row.name == name]
        if any(row.kept for row in rows):
            continue
        others = sorted({source for row in rows for source in row.sources[:1]})
        shown = ", ".join("[env]" if one == PLAIN else one for one in others)
        where = f"; what serves has it from {shown}" if others else ""
        raise ConfigError(message=f"{name} is not set on the hosts{where}", next=run("fab env"))
