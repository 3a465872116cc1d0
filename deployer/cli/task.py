"""Makes a function a task on hosts: shared options, where events go, exit code."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit as Quit
from invoke.parser.argument import Argument

from deployer.cli.answer import TaskAnswer
from deployer.cli.ending import ErrorPrinter, show_error
from deployer.cli.fleettask import (
    Dry,
    DryRun,
    FleetTask,
    fleet_task,
    hosts_of,
    is_dry,
    remainder_of,
    ssh_options_of,
)
from deployer.cli.options import COMMON, HELP, LETTERS, WAVES, strategy_of
from deployer.cli.reporting import ConnectionTracker, advising, answering, asking, showing, until_over
from deployer.errors import ConfigError, DeployerError, Exit, Interrupted
from deployer.wire.advice import do

if TYPE_CHECKING:
    from deployer.config import Config
    from deployer.fleet.hosts import Fleet
    from deployer.remote.session import Outcome
    from deployer.ssh.target import Target

__all__ = ["chore", "host_task"]

_SSH = 22
"""The port where nothing else is said."""


_WORDS, _STRATEGY = "words", "strategy"
"""Parameters that are no options of their own."""


class HostTask(FleetTask):
    """A task of deployer. ``--json`` applies to its errors, too. ``options`` tells its options when they are asked for;
    without it they are the parameters of its function, as Invoke has it."""

    def __init__(self, *args: Any, options: Callable[[], Sequence[inspect.Parameter]] | None = None, **kwargs: Any):
        self.options = options
        super().__init__(*args, **kwargs)

    def argspec(self, body: Callable[..., Any]) -> inspect.Signature:
        found: inspect.Signature = super().argspec(body) if self.options is None else inspect.Signature(self.options())
        return found

    def get_arguments(self, *args: Any, **kwargs: Any) -> list[Argument]:
        if self.options is not None:
            self.help = {one.name.replace("_", "-"): _help(self.__name__, one.name) for one in self.options()}
        found: list[Argument] = super().get_arguments(*args, **kwargs)
        return found

    def printer(self, given: Mapping[str, Any]) -> ErrorPrinter:
        return functools.partial(show_error, json=bool(given.get("json")))


def chore(*, dry: DryRun) -> Callable[[Callable[..., Any]], Any]:
    """Makes a task of ``function(context, **options)`` that works on this machine alone."""

    def wrap(function: Callable[..., Any]) -> Any:
        own = [name.replace("_", "-") for name in list(inspect.signature(function).parameters)[1:]]
        title = function.__name__
        texts = {name: _help(title, name.replace("-", "_")) for name in own}
        return fleet_task(klass=HostTask, dry=dry, help=texts, auto_shortflags=False)(function)

    return wrap


def host_task(
    title: str,
    *,
    dry: DryRun,
    answer: bool | Callable[[Mapping[str, Any]], bool] = False,
    streams: bool = False,
    iterable: Iterable[str] = (),
    bare: str = "",
) -> Callable[[Callable[..., Any]], Any]:
    """Makes a task of ``function(fleet, **own options)``, which returns an Outcome or an Answer.

    ``title`` is what the display says is being done. ``dry`` is what ``--dry`` does instead, of the same signature: it
    returns an Answer, and may ask hosts, but changes nothing; Dry.SAME says that the task itself changes nothing. With
    ``answer`` (it may depend on the options) the output is the answer to a question, on standard output, without the
    coming and going of connections; with ``streams`` it comes line by line. ``bare`` names the option
    whose values may stand behind the task by themselves, any number of them. Two parameters of the function are no
    options: ``words`` gets what was typed after ``--``, ``strategy`` what the options of waves say.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        @functools.cache
        def taken() -> dict[str, inspect.Parameter]:
            return dict(list(inspect.signature(function).parameters.items())[1:])

        def options() -> list[inspect.Parameter]:
            own = [_optional(one) for name, one in taken().items() if name not in (_WORDS, _STRATEGY)]
            waves = WAVES.values() if _STRATEGY in taken() else ()
            return [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*COMMON.values(), *own, *waves)]

        def runs(does: Callable[..., Any], answer: bool | Callable[[Mapping[str, Any]], bool]) -> Callable[..., None]:
            def body(c: Context, **given: Any) -> None:
                common = {name: given.pop(name) for name in COMMON}
                common["parallel"] = _at_a_time(common["parallel"])
                words = {_WORDS: remainder_of(c)} if _WORDS in taken() else {}
                asks = answer(given) if callable(answer) else answer
                with _over(), _fleet(c, title, answer=asks, streams=streams, **common) as fleet:
                    strategy = {_STRATEGY: strategy_of(given, fleet)} if _STRATEGY in taken() else {}
                    outcome = does(fleet, **given, **words, **strategy)
                _end(outcome, json=common["json"])

            return body

        body = runs(function, answer)
        body.__name__, body.__doc__ = function.__name__, function.__doc__
        return fleet_task(
            klass=HostTask,
            dry=dry if isinstance(dry, Dry) else runs(dry, True),
            iterable=list(iterable),
            bare=bare,
            options=options,
            positional=(),
            auto_shortflags=False,
            short=LETTERS,
        )(body)

    return wrap


def _help(task: str, option: str) -> str:
    """What ``--help`` says of an option: for this task alone, else for all."""
    return HELP.get(f"{task}.{option}") or HELP[option]


def _optional(one: inspect.Parameter) -> inspect.Parameter:
    """An option that may be given several times has no default of its own; Invoke makes an empty list of None."""
    return one.replace(default=None) if one.default is inspect.Parameter.empty else one


@contextmanager
def _fleet(
    c: Context,
    title: str,
    *,
    answer: bool,
    streams: bool,
    env: str,
    config: str,
    accept_new: bool,
    json: bool,
    verbose: bool,
    parallel: int,
) -> Iterator[Fleet]:
    """The hosts a command works on, with a reporter that lives as long as the block.

    What is advised next, by a host or by an error, is made to fit the command line.
    """

    from deployer.cli.advice import Typed
    from deployer.config import load
    from deployer.config.hosts.inventory import resolve
    from deployer.fleet.hosts import Fleet
    from deployer.remote.site import Site

    path = Path(config).resolve() if config else _find_config()
    settings = resolve(load(path, environment=env or None), path, env or None)
    named = hosts_of(c)
    places = _places(settings, named)
    hosts = [target.name for target, _ in places]
    options = ssh_options_of(c)
    if accept_new and not is_dry(c):  # the key would be recorded
        options = replace(options, host_keys="accept-new")
    shown = f"{title} {settings.app}"
    typed = Typed(program=_program(), target=hosts[0], hosts=",".join(named), env=env, config=config)
    of_all = typed if len(hosts) == 1 else replace(typed, target="HOST")
    shows = answering(json, hosts, streams=streams) if answer else showing(json, hosts, title=shown, verbose=verbose)
    with shows as (report, can_ask, aside), until_over(report) as until, asking(aside) as prompt:
        tracked, ask = ConnectionTracker(until), None if is_dry(c) else can_ask  # a Ctrl-C may abort what is followed
        options = replace(options, password_prompt=prompt, terminal=aside if prompt else nullcontext)

        def site(target: Target, own: Config) -> Site:
            own_words = replace(typed, target=target.name)
            hear = advising(tracked, own_words.advise)
            return Site(
                root=path.parent,
                config=own,
                target=target,
                ssh=replace(options, report=hear),
                report=hear,
                advise=own_words.adapt,
            )

        try:
            yield Fleet(
                sites=tuple(site(target, own) for target, own in places),
                config=settings,
                report=advising(tracked, of_all.advise),
                parallel=parallel or settings.fleet.parallel,
                decide=ask,
                json=json,
                advise=of_all.adapt,
            )
        except DeployerError as error:
            raise replace(error, next=of_all.advise(error.next)) from error.__cause__
        except KeyboardInterrupt:
            if tracked.connected:
                raise
            raise Interrupted(message="interrupted while connecting", state="nothing was touched") from None


def _at_a_time(text: str) -> int:
    """The value of ``--parallel``, 0 if not given. Parsed here because Invoke shows a traceback for a non-number."""
    if text and (not text.isdecimal() or int(text) < 1):
        raise ConfigError(message=f"--parallel {text}: not a number of hosts, which is 1 or more")
    return int(text) if text else 0


def _places(settings: Config, named: Sequence[str]) -> list[tuple[Target, Config]]:
    """The hosts of a command, in their order, each with what deploy.toml says for it.

    Raises ConfigError when there is none, or when one is named twice: it would be worked on twice at the same time.
    """
    names = named or settings.hosts
    if not names:
        raise ConfigError(
            message="no host was named",
            state="nothing was touched",
            next=do('add -H deploy@HOST, or hosts = ["deploy@HOST"] to deploy.toml'),
        )
    found: dict[tuple[str, int], tuple[Target, Config]] = {}
    for name in names:
        place = settings.target(name), settings.of_host(name)
        same, _ = found.setdefault((place[0].host.lower(), place[0].port or _SSH), place)
        if same is not place[0]:
            raise ConfigError(
                message=f"one host was named twice: {same.name} and {name}",
                state="nothing was touched",
                next=do(f"name it once: leave out {name}"),
            )
    return list(found.values())


def _program() -> str:
    """The program that was typed: ``fab`` or ``deployer``."""
    return "deployer" if Path(sys.argv[0]).name == "deployer" else "fab"


def _find_config() -> Path:
    """``deploy.toml`` here or in a directory above, as git finds its repository."""
    here = Path.cwd()
    found = (directory for directory in (here, *here.parents) if (directory / "deploy.toml").is_file())
    return next(found, here) / "deploy.toml"


@contextmanager
def _over() -> Iterator[None]:
    """Exit when a host refused, or gave no answer that is needed: its events have already explained why."""
    from deployer.fleet.results import NoAnswer
    from deployer.remote.session import Over

    try:
        yield
    except Over as over:
        raise Quit(code=int(over.outcome.exit)) from None
    except NoAnswer as none:
        raise Quit(code=none.exit) from None


def _end(result: Outcome | TaskAnswer, *, json: bool) -> None:
    """Print an answer, after the reporter has closed, and exit unless the result is OK."""
    if isinstance(result, TaskAnswer):
        result.show(json=json)
    if result.exit != Exit.OK:
        raise Quit(code=int(result.exit))
