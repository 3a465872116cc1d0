"""What makes a function a task on a host: the options that all take, where events go, how it ends."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from invoke.context import Context
from invoke.exceptions import Exit as Quit

from deployer.errors import ConfigError, DeployerError, Exit
from deployer.executor import fleet_task, hosts_of, ssh_options_of

if TYPE_CHECKING:
    from deployer.advice import Typed
    from deployer.deploy import Site
    from deployer.events import Event, Reporter
    from deployer.model import Decide
    from deployer.remote import Outcome
    from deployer.ssh import Target

__all__ = ["Answer", "host_task", "print_error"]

_HELP = {
    "env": "the [environments.NAME] of deploy.toml to use",
    "config": "another deploy.toml",
    "accept_new": "accept and record the key of a host that is not known yet (a changed key is always refused)",
    "json": "print one JSON event a line on standard output, for machines",
    "verbose": "show everything that builds and migrations print",
    "ref": "the branch, tag or commit to deploy (default: HEAD)",
    "dirty": "ship the working tree as it is, committed or not; the release's record says so",
    "no_migrate": "leave out the migration",
    "wait": "when another deploy runs, wait for its end and those who wait already, instead of ending with exit code 4",
    "to": "the release to go back to, such as v40 (default: the good one before what serves)",
    "yes": "go back although migrations were applied since",
    "all": "every attempt there ever was, also those whose release is gone",
    "fix": "have the host put right what it can",
    "n": "how many lines",
    "follow": "go on with new lines until Ctrl-C",
    "key": "a file with a public key that may deploy (may be given several times; default: those ssh would use)",
    "allow_unit": "a systemd directive that deploy.toml may set under [web.unit] besides the usual ones",
    "release": "the release under way (default: the newest)",
}


class Show(Protocol):
    """Prints an answer on standard output."""

    def __call__(self, *, json: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a task found out: ``show`` prints it when the reporter has gone, ``exit`` ends the process."""

    show: Show
    exit: Exit = Exit.OK


def _common(
    *, env: str = "", config: str = "", accept_new: bool = False, json: bool = False, verbose: bool = False
) -> None:
    """The options that every task on a host takes: its signature is added to the task's own."""


_COMMON = inspect.signature(_common).parameters


def host_task(
    title: str, *, answer: bool | Callable[[Mapping[str, Any]], bool] = False, iterable: Iterable[str] = ()
) -> Callable[[Callable[..., Any]], Any]:
    """Makes a task of ``function(site, **own options)``, which returns an Outcome or an Answer.

    ``title`` is what the display says is being done. With ``answer`` (it may depend on the options) the output is the
    answer to a question, on standard output, without the coming and going of connections.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        own = list(inspect.signature(function).parameters.values())[1:]

        def body(c: Context, **given: Any) -> None:
            common = {name: given.pop(name) for name in _COMMON}
            with _over(), _site(c, title, answer=answer(given) if callable(answer) else answer, **common) as site:
                outcome = function(site, **given)
            _end(outcome, json=common["json"])

        first = inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        positional = [one.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in (*own, *_COMMON.values())]
        body.__signature__ = inspect.Signature([first, *positional])  # type: ignore[attr-defined]
        body.__name__, body.__doc__ = function.__name__, function.__doc__
        texts = {one.name.replace("_", "-"): _HELP[one.name] for one in positional}
        return fleet_task(on_error=print_error, iterable=list(iterable), help=texts)(body)

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
    from deployer.inventory import resolve

    path = Path(config).resolve() if config else _find_config()
    settings = resolve(load(path, environment=env or None), path, env or None)
    named = hosts_of(c)
    name = _one(named or settings.hosts)
    target = settings.target(name)
    typed = Typed(program=_program(), target=target.name, hosts=",".join(named), env=env, config=config)
    options = ssh_options_of(c)
    if accept_new:
        options = replace(options, host_keys="accept-new")
    shown = f"{title} {settings.app}"
    with _answering(json, target) if answer else _showing(json, target, title=shown, verbose=verbose) as (report, ask):
        hear = _advising(report, typed)
        try:
            yield Site(
                root=path.parent,
                config=settings.of_host(name),
                target=target,
                ssh=replace(options, report=hear),
                report=hear,
                decide=ask,
                advise=typed.adapt,
            )
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
def _showing(json: bool, target: Target, *, title: str, verbose: bool) -> Iterator[tuple[Reporter, Decide | None]]:
    """For commands that do something: people follow on standard error, and are asked there what Ctrl-C is to mean."""
    from deployer.ui import reporter

    with reporter(json=json, title=title, hosts=[target.name], verbose=verbose) as report:
        if json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            yield report, None
        else:
            from deployer.ui.question import on_interrupt

            yield report, on_interrupt(report)


@contextmanager
def _answering(json: bool, target: Target) -> Iterator[tuple[Reporter, None]]:
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

        yield hear, None


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


def _end(result: Outcome | Answer, *, json: bool) -> None:
    """An answer is printed once the reporter has gone; what did not end well ends the process."""
    if isinstance(result, Answer):
        result.show(json=json)
    if result.exit != Exit.OK:
        raise Quit(code=int(result.exit))


def print_error(error: DeployerError) -> None:
    from deployer.ui.errors import print_error

    print_error(error, json=bool({"--json", "-j"} & set(sys.argv)))
