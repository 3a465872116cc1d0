"""``fab env.push`` and ``fab env.diff``: a dotenv file, beside what the hosts keep."""

from __future__ import annotations

from collections.abc import Mapping

from deployer import events
from deployer.commands.env import typed
from deployer.commands.env.change import carry_out, changes_of, would
from deployer.commands.env.looking import Difference, Look, difference, look
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError, Interrupted
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers
from deployer.remote.answers import Environment
from deployer.rollout import Strategy
from deployer.ssh.options import Question
from deployer.wire.advice import do, run

__all__ = ["compare", "differences_to", "push", "would_push"]


def push(fleet: Fleet, file: str, *, yes: bool, stage: bool, wait: bool, strategy: Strategy) -> int:
    """Make every host keep what a file has, and nothing else; the exit code. Raises ConfigError."""
    values, found = _values(file), look(fleet)
    if found.exit:
        return found.exit
    differences = {host: differences_to(one, values, found.salt) for host, one in found.hosts.items()}
    if any(differences.values()) and not yes:
        _confirm(fleet, file, differences)
    remove = {host: one.removed for host, one in differences.items()}
    return carry_out(
        fleet,
        found,
        changes_of(found, values, remove, exact=True),
        differences,
        again=f"fab env.push {file}",
        stage=stage,
        wait=wait,
        strategy=strategy,
    )


def would_push(fleet: Fleet, file: str, *, stage: bool) -> Answers[str]:
    """What it would do on each host."""
    values, found = _values(file), look(fleet)
    differences = {host: differences_to(one, values, found.salt) for host, one in found.hosts.items()}
    return Answers(values=would(found, differences, stage=stage), missing=(), exit=found.exit)


def compare(fleet: Fleet, file: str) -> tuple[Look, dict[str, Difference]]:
    """How what each host keeps differs from a file; from the ``env_file`` when none is named. Raises ConfigError."""
    if not file and fleet.config.env_file:
        file = str(fleet.sites[0].root / fleet.config.env_file)
    if not file:
        raise ConfigError(message="no file was named", next=run("fab env.diff FILE"))
    values, found = typed.read_file(file), look(fleet)
    return found, {host: differences_to(one, values, found.salt) for host, one in found.hosts.items()}


def differences_to(found: Environment, values: Mapping[str, Secret], salt: str) -> Difference:
    """What would make a host keep these values, and nothing else. Pure."""
    return difference(found, values, [row.name for row in found.variables if row.name not in values], salt)


def _values(file: str) -> dict[str, Secret]:
    if not file:
        raise ConfigError(message="no file was named", next=run("fab env.push FILE"))
    values = typed.read_file(file)
    if not values:
        raise ConfigError(
            message=f"{file} has no variables, and the hosts would lose all of theirs",
            next=run("fab env.unset NAME", "removes a variable"),
        )
    return values


def _confirm(fleet: Fleet, file: str, differences: Mapping[str, Difference]) -> None:
    """Show what changes, and ask. Raises ConfigError where nobody can be asked, Interrupted for any answer but yes."""
    for host, one in differences.items():
        fleet.report(events.Note(host=host if len(differences) > 1 else "", text=str(one) or "nothing changes"))
    ask = fleet.sites[0].ssh.password_prompt
    answer = ask(Question(text="make it so? [y/N]", secret=False, once=False)) if ask is not None else None
    if answer is None:
        told = "; ".join(dict.fromkeys(str(one) for one in differences.values() if one))
        raise ConfigError(
            message=f"nobody can be asked here whether this is meant: it {told}",
            next=run(f"fab env.push {file} --yes", "does it") + do("or run it at a terminal"),
        )
    if answer.strip().lower() not in ("y", "yes"):
        raise Interrupted(
            message="not confirmed", state="nothing was touched", next=run(f"fab env.diff {file}", "shows what differs")
        )
