"""``fab destroy``: take an app off its hosts, as root."""

from __future__ import annotations

from deployer.commands.prepare.asroot import DESTROY, run_as_root
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet, each
from deployer.fleet.results import conclude
from deployer.remote.session import Outcome
from deployer.remote.site import Site
from deployer.ui.asking import Terminal
from deployer.wire.advice import run
from deployer.wire.setup.destroy import Destroy

__all__ = ["confirm", "destroy"]


def confirm(fleet: Fleet, *, data: bool, typed: str, asking: Terminal | None) -> None:
    """Have the app's name typed; ``typed`` is what ``--yes`` said. Raises ConfigError unless it is that name."""
    app, hosts = fleet.config.app, ", ".join(fleet.hosts)
    again = f"fab destroy{' --data' if data else ''} --yes {app}"
    if not typed and asking is not None:
        asking.tell([f"This takes {app} off {hosts}: what runs, all its releases, its users, units and site.",
                     "Its data go, too: files, databases and dumps. There is no way back." if data
                     else f"Its data stay: /var/lib/{app}, and what databases and dumps there are."])  # fmt: skip
        typed = asking.ask("Type the app's name to go on", "", lambda _: "")
    elif not typed:
        raise ConfigError(
            message=f"fab destroy asks for the app's name, and there is no terminal to ask at: {hosts}",
            next=run(again, "does not ask"),
        )
    if typed != app:
        raise ConfigError(message=f"{typed!r} is not the app's name, which is {app}", next=run(again))


def destroy(fleet: Fleet, *, data: bool) -> int:
    """Remove the app from each host, with all that setup and deploys made there; the exit code.

    ``data``: what the app has written goes, too. What fails on one host keeps no other from it.
    """

    def remove(site: Site) -> Outcome:
        return run_as_root(site, DESTROY, lambda _: Destroy(app=site.config.app, data=data).as_json())

    return conclude(fleet, each(fleet, remove), exit_of=lambda outcome: outcome.exit)
