"""Fabric's program, with wrong command lines refused and explained."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fabric.executor import Executor
from fabric.main import Fab
from invoke.exceptions import Exit as Quit
from invoke.exceptions import ParseError
from invoke.parser import Parser
from invoke.parser.context import ParserContext

from deployer.cli.ending import leave_closed_output, show_error
from deployer.cli.fleettask import FleetTask, wrong_executor
from deployer.cli.usage import fabricfiles
from deployer.cli.usage.contexts import contexts_of
from deployer.cli.usage.mistakes import ANYWHERE, dashed, explain, no_number, no_task
from deployer.cli.usage.spelling import meant, of_letter
from deployer.cli.usage.words import with_options
from deployer.errors import ConfigError
from deployer.wire.advice import do, run

__all__ = ["ExplainedFab", "explain_usage", "joined"]

_FORMATS = ("flat", "nested", "json")
_GARBAGE = 20_000
"""New objects after which Python looks for garbage. Its own 700 come a hundred times in the imports of a deploy."""
_SWITCH_INTERVAL = 0.0005
"""Seconds that a thread computes while another waits: a host is answered while the project is read."""


class ExplainedFab(Fab):  # type: ignore[misc]
    """Fabric's program; a wrong command line is explained and ends with exit code 2."""

    def parse_tasks(self) -> None:
        gc.set_threshold(_GARBAGE)
        sys.setswitchinterval(_SWITCH_INTERVAL)
        atexit.register(gc.freeze)  # nothing is looked through once more at the end
        with self._explained():
            self.core.unparsed = joined(self.core.unparsed, self.collection.task_names)
            super().parse_tasks()
            _refuse_misplaced(self)
            _refuse_empty(self)

    def _make_parser(self) -> Parser:
        """Made just before it parses: its tasks are looked at here, for they lose their help when asked twice."""
        help = self.config.tasks.ignore_unknown_help
        parser = Parser(initial=self.initial_context, contexts=contexts_of(self.collection, ignore_unknown_help=help))
        self._take_words(parser.contexts)
        return parser

    def _take_words(self, contexts: dict[str, ParserContext]) -> None:
        """Invoke knows no task that takes any number of words: each becomes the value of an option."""
        own = {name: self.collection[name] for name in contexts}
        options = {name: f"--{task.bare}" for name, task in own.items() if isinstance(task, FleetTask) and task.bare}
        if options.keys() & set(self.core.unparsed):
            tokens = with_options(
                self.core.unparsed, contexts, self.initial_context, lambda name: options.get(name, "")
            )
            self.core.unparsed = list(tokens)

    def parse_cleanup(self) -> None:
        with self._explained():
            _refuse_format(self)
            super().parse_cleanup()

    def update_config(self) -> None:
        with self._explained(), fabricfiles.explained(self):
            fabricfiles.refuse_missing(self)
            super().update_config()

    def no_tasks_given(self) -> None:
        if self.args.hosts.value is not None and not self._remainder_only:
            raise no_task(self)
        super().no_tasks_given()

    def execute(self) -> None:
        """Words after ``--`` reach a task only under our executor; Fabric's own would end with a traceback."""
        stock = self.config.tasks.executor_class is None and self.executor_class is Executor
        if stock and self.core.remainder and _ours(self):
            self.refuse(wrong_executor())
        with self._explained():
            fabricfiles.refuse_executor(self)
        super().execute()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ParseError as error:
            self.refuse(explain(self, error))
        except ConfigError as error:
            self.refuse(error)
        except BrokenPipeError:
            leave_closed_output()
        except ValueError as error:  # where an option wants a number, Invoke just tries int()
            self.refuse(no_number(self, str(error)))

    def refuse(self, error: ConfigError) -> None:
        """Show the error and end the process."""
        show_error(error, json="--json" in getattr(getattr(self, "core", None), "unparsed", ()))
        raise Quit(code=int(error.exit)) from error


def joined(words: Sequence[str], tasks: Container[str]) -> list[str]:
    """The words of a command line, with two of them as one where together they name a task: ``maintenance on`` is
    ``maintenance.on``."""
    made: list[str] = []
    for word in words:
        if made and f"{made[-1]}.{word}" in tasks:
            made[-1] = f"{made[-1]}.{word}"
        else:
            made.append(word)
    return made


def explain_usage() -> None:
    """Make the running ``fab`` explain wrong command lines. Called while it loads our tasks."""
    program: Any = getattr(sys.modules["fabric.main"], "program", None)
    if type(program) is Fab and getattr(program, "core", None):
        program.__class__ = ExplainedFab
        program.config._set(load_project=_explaining(program, program.config.load_project))


def _explaining(program: ExplainedFab, load: Callable[..., None]) -> Callable[..., None]:
    """Fabric reads fabric.yaml after it has loaded the fabfile, within one of its own methods."""

    def load_project(*args: Any, **kwargs: Any) -> None:
        with program._explained(), fabricfiles.explained(program):
            load(*args, **kwargs)

    return load_project


def _refuse_format(program: Any) -> None:
    """Raises ConfigError for a form that a list of tasks has not."""
    given = program.args["list-format"].value
    if given not in _FORMATS:
        raise ConfigError(message=f"--list-format {given}: one of {', '.join(_FORMATS)} is wanted")


def _refuse_misplaced(program: Any) -> None:
    """Raises ConfigError for an option of Fabric's behind a task of ours, where its letter may mean one of the task's.

    ``fab rollback -t 9`` must never be a rollback, with nine seconds to connect.
    """
    ours = _ours(program)
    for argument in program.core_via_tasks.args.values():
        if not ours or not argument.got_value:
            continue
        name = max(argument.names, key=len)
        letters = [nick for nick in argument.names if len(nick) == 1]
        options = [flag for context in ours for letter in letters for flag in of_letter(f"-{letter}", context.flags)]
        if name == "help" or (name in ANYWHERE and not options):  # help does nothing, whatever else was meant
            continue
        if name.startswith("prompt-for-"):
            continue
        tasks = " ".join(str(context.name) for context in ours)
        shown = " ".join(dict.fromkeys((*(f"-{letter}" for letter in letters), f"--{name}")))
        raise ConfigError(
            message=f"{shown} is an option of {program.binary} itself, and must stand before {tasks}{meant(options)}",
            next=run(f"{program.binary} {ours[0].name} --help", "has those of the task"),
        )


def _refuse_empty(program: Any) -> None:
    """Raises ConfigError for an empty value of an option: ``--env "$ENV"`` must never mean what serves customers."""
    for context in _ours(program):
        for argument in context.args.values():
            if argument.got_value and argument.value == "":
                option = dashed(argument.names[0])
                raise ConfigError(
                    message=f"{option} was given an empty value",
                    next=do(f"give it one, or leave {option} out   (is a variable of the shell not set?)"),
                )


def _ours(program: Any) -> list[ParserContext]:
    """The tasks on the command line that are FleetTasks."""
    return [context for context in program.tasks if isinstance(program.collection[context.name], FleetTask)]
