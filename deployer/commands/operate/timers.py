"""``fab timer.run`` and ``fab timer.list``: one run of a timer now, and when each runs by itself."""

from __future__ import annotations

from deployer import events
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote import answers
from deployer.remote.facts import Facts
from deployer.remote.site import Site, open_remote
from deployer.wire.advice import Next
from deployer.wire.advice import run as command

__all__ = ["check", "run"]


def run(fleet: Fleet, name: str) -> int:
    """One run of the timer on each host that has it, followed to its end; the highest exit status of all.

    Raises ConfigError when no host has such a timer. A run goes on when this program ends.
    """
    single = len(fleet.sites) == 1
    had: list[str] = []

    def ask(site: Site) -> int | None:
        with open_remote(site) as (remote, facts):
            if not single and name not in timers_of(facts):
                site.report(events.Finished(host=site.host, exit=0, summary=f"has no timer {name}"))
                return None
            had.append(site.host)
            status = remote.query({"op": "timer", "name": name}, answers.Run, limit=None).status
            if status:
                text = f"the run of {name} ended with exit status {status}"
                site.report(events.Failed(host=site.host, exit=status, message=text, next=_logs(name)))
            else:
                site.report(events.Finished(host=site.host, exit=0, summary=f"the run of {name} ended well"))
            return status

    ends = each(fleet, ask, all_at_once=True)
    if not single and not had and all(ended.answered for ended in ends):
        raise ConfigError(message=f"none of the {len(ends)} hosts has a timer {name}", next=command("fab timer.list"))
    return conclude(fleet, ends, exit_of=lambda status: status or 0, worst=max)


def check(name: str) -> str:
    """The name of a timer. Raises ConfigError when none is given."""
    if not name:
        raise ConfigError(message="say which timer to run", next=command("fab timer.list", "has them all"))
    return name


def timers_of(facts: Facts) -> tuple[str, ...]:
    """The timers of what serves on a host."""
    return tuple(one.name for one in facts.spec.timers) if facts.spec else ()


def _logs(name: str) -> Next:
    return command(f"fab logs --process {name}")
