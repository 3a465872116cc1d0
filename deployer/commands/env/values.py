"""The values that the hosts keep. They are secret, and all hosts must agree on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer import events
from deployer.commands.env.looking import quietly
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError, Mixed
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import NoAnswer, conclude
from deployer.remote.answers import Variables
from deployer.remote.site import Site, open_remote
from deployer.wire.advice import do, run

__all__ = ["kept", "value_of"]


def kept(fleet: Fleet, *, quiet: bool = False) -> dict[str, Secret]:
    """All that the hosts keep. ``quiet``: that they were asked is not reported, for more is to come. Raises Mixed where
    they do not agree, NoAnswer, and the error of a single host."""
    found = _ask(fleet, (), quiet=quiet)
    values = {host: one.kept for host, one in found.items()}
    first = next(iter(values.values()))
    differ = sorted({name for one in values.values() for name in one if one.get(name) != first.get(name)})
    differ += sorted(name for name in first if any(name not in one for one in values.values()) and name not in differ)
    if differ:
        raise _disagree(fleet, differ)
    return {name: Secret(value) for name, value in first.items()}


def value_of(fleet: Fleet, name: str) -> Secret:
    """What the hosts keep of a variable; else what what serves there has. That the two differ is reported.

    Raises ConfigError when there is no such variable, Mixed where the hosts do not agree, NoAnswer.
    """
    found = _ask(fleet, (name,))
    values = {host: one.kept.get(name, one.serves.get(name)) for host, one in found.items()}
    if not any(value is not None for value in values.values()):
        raise ConfigError(message=f"{name} is not set", next=run("fab env", "has those that are"))
    if len(set(values.values())) > 1:
        raise _disagree(fleet, [name])
    if any(one.kept and one.serves and one.kept != one.serves for one in found.values()):
        text = f"what serves has another value of {name} yet; {fleet.advise('fab reload')} takes this one"
        fleet.report(events.Warn(text=text))
    return Secret(next(value for value in values.values() if value is not None))


def _ask(fleet: Fleet, names: Sequence[str], *, quiet: bool = False) -> Mapping[str, Variables]:
    def question(site: Site) -> Variables:
        with open_remote(quietly(site) if quiet else site) as (remote, _):
            answer = remote.query({"op": "variables", "names": list(names)}, Variables)
        if not quiet:
            site.report(events.Finished(host=site.host, exit=0))
        return answer

    ends = each(fleet, question)
    if len(ends) == 1:
        ends[0].result()
    found = {ended.site.host: ended.value for ended in ends if ended.value is not None}
    if len(found) < len(ends):
        raise NoAnswer(conclude(fleet, ends))
    return found


def _disagree(fleet: Fleet, names: Sequence[str]) -> Mixed:
    one = fleet.hosts[0]
    return Mixed(
        message=f"the hosts do not keep the same: {', '.join(names)}",
        state="nothing was touched",
        next=run("fab env", "shows which host has another value")
        + run(f"fab env.pull FILE -H {one}", "what one of them keeps")
        + do("then fab env.push FILE makes all of them the same"),
    )
