"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context

from deployer.command import Answer, host_task, print_error
from deployer.executor import fleet_task
from deployer.host.protocol import PHASES

if TYPE_CHECKING:
    from deployer.deploy import Site
    from deployer.remote import Outcome

__all__ = ["namespace"]


@host_task("deploy")
def deploy(site: Site, ref: str = "", dirty: bool = False, no_migrate: bool = False, wait: bool = False) -> Outcome:
    """Release the code: upload, build, check in private, switch, drain, watch."""
    from deployer import deploy as use

    return use.deploy(site, ref=ref or None, dirty=dirty, no_migrate=no_migrate, wait=wait)


@host_task("reload")
def reload(site: Site, wait: bool = False) -> Outcome:
    """Release the code that serves again, with today's settings and environment."""
    from deployer import deploy as use

    return use.reload(site, wait=wait)


@host_task("roll back")
def rollback(site: Site, to: str = "", yes: bool = False, wait: bool = False) -> Outcome:
    """Go back to an older release: code, dependencies, environment and units together."""
    from deployer import deploy as use

    return use.rollback(site, to=to, yes=yes, wait=wait)


@host_task("attach to")
def attach(site: Site) -> Outcome:
    """Follow the deploy that runs on the host, or the last one that ran, from its first event on."""
    from deployer import deploy as use

    return use.attach(site)


@host_task("abort")
def abort(site: Site) -> Outcome:
    """End the deploy that runs on the host: it undoes what it did, and the old release serves."""
    from deployer import deploy as use

    return use.abort(site)


@host_task("status of", answer=True)
def status(site: Site) -> Answer:
    """What serves, since when, and how it is."""
    from deployer import observe

    found = observe.status(site)

    def show(*, json: bool) -> None:
        from deployer.ui.tables import status_view

        status_view(found, json=json)

    return Answer(show=show)


@host_task("releases of", answer=True)
def releases(site: Site, all: bool = False) -> Answer:
    """Every release of the app: its number, state, origin and age."""
    from deployer import observe

    rows = observe.attempts(site) if all else observe.releases(site)

    def show(*, json: bool) -> None:
        from deployer.ui.tables import releases_table

        releases_table(rows, app=site.config.app, host=site.host, json=json)

    return Answer(show=show)


@host_task("doctor", answer=lambda given: not given["fix"])
def doctor(site: Site, fix: bool = False) -> Outcome | Answer:
    """What is not as it should be on the host, and what puts it right."""
    from deployer import doctor as use

    exit, found = use.fix(site) if fix else use.look(site)

    def show(*, json: bool) -> None:
        from deployer.ui.findings import doctor_view

        doctor_view(found, json=json)

    return Answer(show=show, exit=exit)


@host_task("logs of", answer=True)
def logs(site: Site, n: int = 50, follow: bool = False) -> Outcome:
    """The app's journal: the last lines of all its releases, oldest first (-n 100, -f)."""
    from deployer import observe

    return observe.logs(site, lines=n, follow=follow)


@host_task("set up", iterable=["key", "allow_unit"])
def setup(site: Site, key: list[str], allow_unit: list[str]) -> Outcome:
    """Prepare a host for the app, once, as root: users, directories, host program, sudoers, units, proxy."""
    from deployer.setup import setup as use

    return use(site, keys=key, allow_units=allow_unit)


@fleet_task(on_error=print_error)  # type: ignore[untyped-decorator]
def init(_: Context) -> None:
    """Write deploy.toml and fabfile.py for the project in this directory."""
    from deployer.initialize import plan_init, write
    from deployer.project import inspect as look_at

    project = look_at(Path.cwd())
    sys.stdout.write("".join(f"{line}\n" for line in write(project, plan_init(project))))


@host_task("upload")
def upload(site: Site, ref: str = "", dirty: bool = False) -> Outcome:
    """Begin a release: send what the host lacks and unpack it."""
    from deployer import deploy as use

    return use.deploy(site, ref=ref or None, dirty=dirty, phases=PHASES[:1])


_PHASES = {
    "build": "Install the locked dependencies, run the build commands, seal the tree.",
    "install": "Write the release's own units and have systemd check them.",
    "start": "Start the release beside the one that serves, up to its first answer.",
    "migrate": "Run the migration, as the app's user, with the new code.",
    "check": "Check the candidate's health over its own socket.",
    "switch": "Move traffic and code to the release by one rename.",
    "drain": "Let the old release finish its requests, then stop it.",
    "watch": "Look after the new release for a while; take it back when it fails; prune.",
}


def _phase(name: str) -> Any:
    def run(site: Site, release: str = "") -> Outcome:
        from deployer import deploy as use

        return use.run_phases(site, (name,), release)

    run.__name__, run.__doc__ = name, _PHASES[name]
    return host_task(name)(run)


def _namespace() -> Collection:
    everything = Collection(deploy, reload, rollback, attach, abort, status, releases, logs, doctor, setup, init)
    everything.add_collection(Collection("phase", upload, *(_phase(name) for name in PHASES[1:])))
    return everything


namespace = _namespace()
