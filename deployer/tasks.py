"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit as Quit

from deployer.errors import ConfigError, DeployerError, Exit
from deployer.executor import fleet_task, hosts_of, ssh_options_of
from deployer.host.protocol import PHASES

__all__ = ["namespace"]

_HELP = {
    "json": "print one JSON event a line on standard output, for machines",
    "verbose": "show everything that builds and migrations print",
    "env": "the [environments.NAME] of deploy.toml to use",
    "config": "another deploy.toml",
    "accept-new": "accept and record the key of a host that is not known yet (a changed key is always refused)",
    "ref": "the branch, tag or commit to deploy (default: HEAD)",
    "dirty": "ship the working tree as it is, committed or not; the release's record says so",
    "no-migrate": "leave out the migration",
    "to": "the release to go back to, such as v40 (default: the good one before what serves)",
    "yes": "go back although migrations were applied since",
    "lines": "how many lines",
    "follow": "go on with new lines until Ctrl-C",
    "key": "a file with a public key that may deploy (may be given several times; default: yours in ~/.ssh)",
    "allow-unit": "a systemd directive that deploy.toml may set under [web.unit] besides the usual ones",
    "release": "the release under way (default: the newest)",
}


def _help(*names: str) -> dict[str, str]:
    return {name: _HELP[name] for name in (*names, "env", "config", "accept-new", "json")}


def _on_error(error: DeployerError) -> None:
    import sys

    from deployer.ui.errors import print_error

    print_error(error, json="--json" in sys.argv)


def _task(**kwargs: Any) -> Callable[[Callable[..., Any]], Any]:
    made: Callable[[Callable[..., Any]], Any] = fleet_task(on_error=_on_error, **kwargs)
    return made


@contextmanager
def _site(
    c: Context, title: str, *, env: str, config: str, accept_new: bool, json: bool, verbose: bool = False, quiet: bool = False
) -> Iterator[Any]:
    """The place a command works on, with a reporter that lives as long as the block."""
    import sys
    from dataclasses import replace

    from deployer.config import load
    from deployer.deploy import Site
    from deployer.ssh import Target
    from deployer.ui import reporter

    path = Path(config).resolve() if config else _find_config()
    settings = load(path, environment=env or None)
    hosts = hosts_of(c) or settings.hosts
    host = _one(hosts)
    target = Target.parse(host)
    options = ssh_options_of(c)
    stream = sys.stdout if quiet else None
    with reporter(json=json, title=f"{title} {settings.app}", hosts=[host], verbose=verbose, stream=stream) as report:
        ssh = replace(options, report=report, **({"host_keys": "accept-new"} if accept_new else {}))
        hear = _only_what_matters(report) if quiet else report
        yield Site(root=path.parent, config=settings, target=target, ssh=ssh, report=hear)


def _only_what_matters(report: Any) -> Any:
    """Without the coming and going of connections: for commands whose output is an answer."""
    from deployer.events import Connected, Connecting, Finished

    def hear(event: Any) -> None:
        if not isinstance(event, (Connecting, Connected, Finished)):
            report(event)

    return hear


def _find_config() -> Path:
    """``deploy.toml`` here or in a directory above, as git finds its repository."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "deploy.toml").is_file():
            return directory / "deploy.toml"
    return here / "deploy.toml"


def _one(hosts: tuple[str, ...]) -> str:
    if not hosts:
        raise ConfigError(
            message="no host was named",
            state="nothing was touched",
            next='add -H deploy@HOST, or hosts = ["deploy@HOST"] to deploy.toml',
        )
    if len(hosts) > 1:
        raise ConfigError(
            message=f"{len(hosts)} hosts were named ({', '.join(hosts)}); this version works on one at a time, "
            "because releasing to several safely means all of them or none",
            state="nothing was touched",
            next=f"name one: -H {hosts[0]}",
        )
    return hosts[0]


def _end(outcome: Any) -> None:
    if outcome.exit != Exit.OK:
        raise Quit(code=int(outcome.exit))


@contextmanager
def _reported() -> Iterator[None]:
    """A question that the host refused has been explained by its events already."""
    from deployer.remote import Over

    try:
        yield
    except Over as over:
        raise Quit(code=int(over.outcome.exit)) from None


@_task(help=_help("ref", "dirty", "no-migrate", "verbose"))
def deploy(
    c: Context,
    ref: str = "",
    dirty: bool = False,
    no_migrate: bool = False,
    verbose: bool = False,
    env: str = "",
    config: str = "",
    accept_new: bool = False,
    json: bool = False,
) -> None:
    """Release the code: upload, build, check in private, switch, drain, watch."""
    from deployer import deploy as use

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json, "verbose": verbose}
    with _reported(), _site(c, "deploy", **common) as site:
        outcome = use.deploy(site, ref=ref or None, dirty=dirty, no_migrate=no_migrate)
    _end(outcome)


@_task(help=_help("verbose"))
def reload(
    c: Context, verbose: bool = False, env: str = "", config: str = "", accept_new: bool = False, json: bool = False
) -> None:
    """Release the code that serves again, with today's settings and environment."""
    from deployer import deploy as use

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json, "verbose": verbose}
    with _reported(), _site(c, "reload", **common) as site:
        outcome = use.reload(site)
    _end(outcome)


@_task(help=_help("to", "yes", "verbose"))
def rollback(
    c: Context,
    to: str = "",
    yes: bool = False,
    verbose: bool = False,
    env: str = "",
    config: str = "",
    accept_new: bool = False,
    json: bool = False,
) -> None:
    """Go back to an older release: code, dependencies, environment and units together."""
    from deployer import deploy as use

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json, "verbose": verbose}
    with _reported(), _site(c, "rollback", **common) as site:
        outcome = use.rollback(site, to=to, yes=yes)
    _end(outcome)


@_task(help=_help())
def attach(c: Context, env: str = "", config: str = "", accept_new: bool = False, json: bool = False) -> None:
    """Follow the deploy that runs on the host, or the last one that ran, from its first event on."""
    from deployer import deploy as use

    with _reported(), _site(c, "attach", env=env, config=config, accept_new=accept_new, json=json) as site:
        outcome = use.attach(site)
    _end(outcome)


@_task(help=_help())
def status(c: Context, env: str = "", config: str = "", accept_new: bool = False, json: bool = False) -> None:
    """What serves, since when, and how it is."""
    from deployer import observe

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json}
    with _reported(), _site(c, "status", quiet=True, **common) as site:
        found = observe.status(site)
    from deployer.ui.tables import status_view

    status_view(found, json=json)


@_task(help=_help())
def releases(c: Context, env: str = "", config: str = "", accept_new: bool = False, json: bool = False) -> None:
    """Every release of the app: its number, state, origin and age."""
    from deployer import observe

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json}
    with _reported(), _site(c, "releases", quiet=True, **common) as site:
        rows = observe.releases(site)
    from deployer.ui.tables import releases_table

    releases_table(rows, app=site.config.app, host=site.host, json=json)


@_task(help=_help("lines", "follow"))
def logs(
    c: Context,
    lines: int = 50,
    n: int = 0,
    follow: bool = False,
    env: str = "",
    config: str = "",
    accept_new: bool = False,
    json: bool = False,
) -> None:
    """The app's journal: the last lines of all its releases, oldest first (-n 100, -f)."""
    from deployer import observe

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json}
    with _reported(), _site(c, "logs", quiet=True, **common) as site:
        outcome = observe.logs(site, lines=n or lines, follow=follow)
    _end(outcome)


@_task(iterable=["key", "allow_unit"], help=_help("key", "allow-unit", "verbose"))
def setup(
    c: Context,
    key: list[str],
    allow_unit: list[str],
    verbose: bool = False,
    env: str = "",
    config: str = "",
    accept_new: bool = False,
    json: bool = False,
) -> None:
    """Prepare a host for the app, once, as root: users, directories, host program, sudoers, units, proxy."""
    from deployer.setup import setup as use

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json, "verbose": verbose}
    with _site(c, "set up", **common) as site:
        outcome = use(site, keys=key, allow_units=allow_unit)
    _end(outcome)


@_task()
def init(_: Context) -> None:
    """Write deploy.toml and fabfile.py for the project in this directory."""
    from deployer.initialize import initialize

    for line in initialize(Path.cwd()):
        _say(line)


def _say(line: str) -> None:
    import sys

    sys.stdout.write(line + "\n")


@_task(help=_help("ref", "dirty", "verbose"))
def upload(
    c: Context,
    ref: str = "",
    dirty: bool = False,
    verbose: bool = False,
    env: str = "",
    config: str = "",
    accept_new: bool = False,
    json: bool = False,
) -> None:
    """Begin a release: send what the host lacks and unpack it."""
    from deployer import deploy as use

    common = {"env": env, "config": config, "accept_new": accept_new, "json": json, "verbose": verbose}
    with _reported(), _site(c, "upload", **common) as site:
        outcome = use.deploy(site, ref=ref or None, dirty=dirty, phases=PHASES[:1])
    _end(outcome)


_PHASE_HELP = {
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
    def run(
        c: Context,
        release: str = "",
        verbose: bool = False,
        env: str = "",
        config: str = "",
        accept_new: bool = False,
        json: bool = False,
    ) -> None:
        from deployer import deploy as use

        common = {"env": env, "config": config, "accept_new": accept_new, "json": json, "verbose": verbose}
        with _reported(), _site(c, name, **common) as site:
            outcome = use.run_phases(site, (name,), release)
        _end(outcome)

    run.__doc__ = _PHASE_HELP[name]
    return _task(name=name, help=_help("release", "verbose"))(run)


def _namespace() -> Collection:
    everything = Collection(deploy, reload, rollback, attach, status, releases, logs, setup, init)
    phases = Collection("phase", upload, *(_phase(name) for name in PHASES[1:]))
    everything.add_collection(phases)
    return everything


namespace = _namespace()
