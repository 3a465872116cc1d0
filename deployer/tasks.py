"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit as Quit

from deployer.errors import ConfigError, DeployerError, Exit
from deployer.executor import fleet_task, hosts_of, ssh_options_of
from deployer.host.protocol import PHASES

if TYPE_CHECKING:
    from deployer.advice import Typed
    from deployer.deploy import Site
    from deployer.events import Event, Reporter
    from deployer.remote import Outcome
    from deployer.ssh import Target

__all__ = ["namespace"]

_HELP = {
    "env": "the [environments.NAME] of deploy.toml to use",
    "config": "another deploy.toml",
    "accept_new": "accept and record the key of a host that is not known yet (a changed key is always refused)",
    "json": "print one JSON event a line on standard output, for machines",
    "verbose": "show everything that builds and migrations print",
    "ref": "the branch, tag or commit to deploy (default: HEAD)",
    "dirty": "ship the working tree as it is, committed or not; the release's record says so",
    "no_migrate": "leave out the migration",
    "to": "the release to go back to, such as v40 (default: the good one before what serves)",
    "yes": "go back although migrations were applied since",
    "n": "how many lines",
    "follow": "go on with new lines until Ctrl-C",
    "key": "a file with a public key that may deploy (may be given several times; default: those ssh would use)",
    "allow_unit": "a systemd directive that deploy.toml may set under [web.unit] besides the usual ones",
    "release": "the release under way (default: the newest)",
}


def _common(
    *, env: str = "", config: str = "", accept_new: bool = False, json: bool = False, verbose: bool = False
) -> None:
    """The options that every task on a host takes: its signature is added to the task's own."""


_COMMON = inspect.signature(_common).parameters


def host_task(title: str, *, answer: bool = False, iterable: Iterable[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Makes a task of ``function(site, **own options)``, which returns an Outcome, or prints an answer itself.

    ``title`` is what the display says is being done. With ``answer`` the output is the answer to a question, on
    standard output, without the coming and going of connections.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        own = list(inspect.signature(function).parameters.values())[1:]

        def body(c: Context, **given: Any) -> None:
            common = {name: given.pop(name) for name in _COMMON}
            with _over(), _site(c, title, answer=answer, **common) as site:
                outcome = function(site, **given)
            _end(outcome, json=common["json"])

        first = inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        positional = [one.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in (*own, *_COMMON.values())]
        body.__signature__ = inspect.Signature([first, *positional])  # type: ignore[attr-defined]
        body.__name__, body.__doc__ = function.__name__, function.__doc__
        texts = {one.name.replace("_", "-"): _HELP[one.name] for one in positional}
        return fleet_task(on_error=_print_error, iterable=list(iterable), help=texts)(body)

    return wrap


@contextmanager
def _site(
    c: Context,
    title: str,
    *,
    answer: bool,
    env: str,
    config: str,
    accept_new: bool,
    json: bool,
    verbose: bool,
) -> Iterator[Site]:
    """The place a command works on, with a reporter that lives as long as the block.

    What is advised next, by the host or by an error, is made to fit the command line.
    """
    from dataclasses import replace

    from deployer.advice import Typed
    from deployer.config import load
    from deployer.deploy import Site
    from deployer.ssh import Target

    path = Path(config).resolve() if config else _find_config()
    settings = load(path, environment=env or None)
    named = hosts_of(c)
    target = Target.parse(_one(named or settings.hosts))
    typed = Typed(program=_program(), target=target.name, hosts=",".join(named), env=env, config=config)
    options = ssh_options_of(c)
    if accept_new:
        options = replace(options, host_keys="accept-new")
    shown = f"{title} {settings.app}"
    with _answering(json, target) if answer else _showing(json, target, title=shown, verbose=verbose) as report:
        hear = _advising(report, typed)
        try:
            yield Site(root=path.parent, config=settings, target=target, ssh=replace(options, report=hear), report=hear)
        except DeployerError as error:
            error.next = typed.adapt(error.next)
            raise


def _program() -> str:
    """What was typed: ``fab``, or our own command."""
    return "deployer" if Path(sys.argv[0]).name == "deployer" else "fab"


def _advising(report: Reporter, typed: Typed) -> Reporter:
    from dataclasses import replace

    from deployer.events import Failed

    def hear(event: Event) -> None:
        report(replace(event, next=typed.adapt(event.next)) if isinstance(event, Failed) else event)

    return hear


@contextmanager
def _showing(json: bool, target: Target, *, title: str, verbose: bool) -> Iterator[Reporter]:
    """For commands that do something: people follow on standard error."""
    from deployer.ui import reporter

    with reporter(json=json, title=title, hosts=[target.name], verbose=verbose) as report:
        yield report


@contextmanager
def _answering(json: bool, target: Target) -> Iterator[Reporter]:
    """For questions: nothing but the answer on standard output, nothing but what went wrong on standard error."""
    from deployer.events import Connected, Connecting, Finished, Logs
    from deployer.ui import reporter

    hosts = [target.name]
    with reporter(json=json, hosts=hosts) as errors, reporter(json=json, hosts=hosts, stream=sys.stdout) as answers:

        def hear(event: Event) -> None:
            if isinstance(event, Logs):
                answers(event)
            elif not isinstance(event, (Connecting, Connected, Finished)):
                errors(event)

        yield hear


def _find_config() -> Path:
    """``deploy.toml`` here or in a directory above, as git finds its repository."""
    here = Path.cwd()
    found = (directory for directory in (here, *here.parents) if (directory / "deploy.toml").is_file())
    return next(found, here) / "deploy.toml"


def _one(hosts: tuple[str, ...]) -> str:
    if not hosts:
        raise ConfigError(
            message="no host was named",
            state="nothing was touched",
            next='add -H deploy@HOST, or hosts = ["deploy@HOST"] to deploy.toml',
        )
    if len(hosts) > 1:
        raise ConfigError(
            message=f"{len(hosts)} hosts were named ({', '.join(hosts)}); this version works on one at a time: "
            "one after the other, some would have the new release when it fails on the next",
            state="nothing was touched",
            next=f"name one: -H {hosts[0]}",
        )
    return hosts[0]


@contextmanager
def _over() -> Iterator[None]:
    """A question that the host refused was explained by its events already."""
    from deployer.remote import Over

    try:
        yield
    except Over as over:
        raise Quit(code=int(over.outcome.exit)) from None


def _end(result: Outcome | Callable[..., None], *, json: bool) -> None:
    """An answer is printed once the reporter has gone; an outcome that is not good ends the process."""
    if callable(result):
        result(json=json)
    elif result.exit != Exit.OK:
        raise Quit(code=int(result.exit))


def _print_error(error: DeployerError) -> None:
    from deployer.ui.errors import print_error

    print_error(error, json=bool({"--json", "-j"} & set(sys.argv)))


@host_task("deploy")
def deploy(site: Site, ref: str = "", dirty: bool = False, no_migrate: bool = False) -> Outcome:
    """Release the code: upload, build, check in private, switch, drain, watch."""
    from deployer import deploy as use

    return use.deploy(site, ref=ref or None, dirty=dirty, no_migrate=no_migrate)


@host_task("reload")
def reload(site: Site) -> Outcome:
    """Release the code that serves again, with today's settings and environment."""
    from deployer import deploy as use

    return use.reload(site)


@host_task("roll back")
def rollback(site: Site, to: str = "", yes: bool = False) -> Outcome:
    """Go back to an older release: code, dependencies, environment and units together."""
    from deployer import deploy as use

    return use.rollback(site, to=to, yes=yes)


@host_task("attach to")
def attach(site: Site) -> Outcome:
    """Follow the deploy that runs on the host, or the last one that ran, from its first event on."""
    from deployer import deploy as use

    return use.attach(site)


@host_task("status of", answer=True)
def status(site: Site) -> Callable[..., None]:
    """What serves, since when, and how it is."""
    from deployer import observe

    found = observe.status(site)

    def show(*, json: bool) -> None:
        from deployer.ui.tables import status_view

        status_view(found, json=json)

    return show


@host_task("releases of", answer=True)
def releases(site: Site) -> Callable[..., None]:
    """Every release of the app: its number, state, origin and age."""
    from deployer import observe

    rows = observe.releases(site)

    def show(*, json: bool) -> None:
        from deployer.ui.tables import releases_table

        releases_table(rows, app=site.config.app, host=site.host, json=json)

    return show


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


@fleet_task(on_error=_print_error)  # type: ignore[untyped-decorator]
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
    everything = Collection(deploy, reload, rollback, attach, status, releases, logs, setup, init)
    everything.add_collection(Collection("phase", upload, *(_phase(name) for name in PHASES[1:])))
    return everything


namespace = _namespace()
