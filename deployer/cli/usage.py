"""A command line that cannot be meant: what is wrong with it, and what was meant."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fabric.executor import Executor
from fabric.main import Fab
from invoke.exceptions import Exit as Quit
from invoke.exceptions import ParseError
from invoke.parser.context import ParserContext

from deployer.cli import fabricfiles
from deployer.cli.fleettask import FleetTask, leave_closed_output, split_hosts, wrong_executor
from deployer.cli.spelling import corrected, meant, near, of_letter, place
from deployer.errors import ConfigError
from deployer.wire.advice import do, run

__all__ = ["ExplainedFab", "explain_usage"]

_UNKNOWN = re.compile(r"No idea what '(.*)' is!\Z", re.DOTALL)
_NO_VALUE = re.compile(r"Flag <Argument: ([\w-]+).* needed value and was not given one!\Z")
"""Invoke tells what is wrong in these words, and in no other way."""
_ANYWHERE = ("hosts", "help", "dry", "identity", "ssh-config", "connect-timeout")
"""Fabric's own options that may stand behind a task; the others stand before it, where their letters are not ours."""
_FORMATS = ("flat", "nested", "json")
_RELEASE = re.compile(r"v?[1-9][0-9]*\Z")
_PROCESS = re.compile(r"[a-z][a-z0-9_]*\Z")
_HOSTS = ("-H", "--hosts")


class ExplainedFab(Fab):  # type: ignore[misc]
    """Fabric's program, but a wrong command line is explained, and ends with exit code 2."""

    def parse_tasks(self) -> None:
        with self._explained():
            super().parse_tasks()
            _refuse_misplaced(self)
            _refuse_empty(self)

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
            raise _no_task(self)
        super().no_tasks_given()

    def execute(self) -> None:
        """Words behind ``--`` are a task's only under our executor; Fabric's would end with a traceback."""
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
            self.refuse(_no_number(self, str(error)))

    def refuse(self, error: ConfigError) -> None:
        """Show the error as any other, and end."""
        from deployer.ui import print_error

        print_error(error, json="--json" in getattr(getattr(self, "core", None), "unparsed", ()))
        raise Quit(code=int(error.exit)) from error


def explain_usage() -> None:
    """Have the ``fab`` that runs, and loads our tasks just now, explain wrong command lines."""
    program: Any = getattr(sys.modules["fabric.main"], "program", None)
    if type(program) is Fab and getattr(program, "core", None):
        program.__class__ = ExplainedFab
        program.config._set(load_project=_explaining(program, program.config.load_project))


def _explaining(program: ExplainedFab, load: Callable[..., None]) -> Callable[..., None]:
    """fabric.yaml is read once the fabfile is loaded, in the midst of a method of Fabric's."""

    def load_project(*args: Any, **kwargs: Any) -> None:
        with program._explained(), fabricfiles.explained(program):
            load(*args, **kwargs)

    return load_project


def explain(program: Any, error: ParseError) -> ConfigError:
    """What is wrong, as Invoke has found it, with the nearest right word."""
    context = error.context if error.context is not None and error.context.name else None
    text = str(error)
    if found := _UNKNOWN.match(text):
        token = found[1]
        if token.startswith("-"):
            return _no_option(program, context, token)
        if other := _forgotten(program, context, token) or _blank(program, token) or _twice(program, token):
            return other
        return _no_task(program, token) if context is None else _no_word(program, context, token)
    if found := _NO_VALUE.match(text):
        return _no_value(program, context, _dashed(found[1]))
    return ConfigError(message=text, next=run(f"{program.binary} --help"))


def _no_value(program: Any, context: ParserContext | None, option: str) -> ConfigError:
    task = f" {context.name}" if context else ""
    return ConfigError(message=f"{option} needs a value", next=run(f"{program.binary}{task} --help"))


def _forgotten(program: Any, context: ParserContext | None, token: str) -> ConfigError | None:
    """For an option without its value: Invoke has taken the option behind it for that, and meets the next word."""
    words = program.argv[1:]
    at = place(words, token)
    flag = context.flags.get(words[at - 2]) if context and at >= 2 and words[at - 1].startswith("-") else None
    return _no_value(program, context, words[at - 2]) if flag is not None and flag.takes_value else None


def _no_option(program: Any, context: ParserContext | None, token: str) -> ConfigError:
    """An option that the task, or the program, has not."""
    task = f" {context.name}" if context else ""
    options = list(context.flags) if context else list(program.initial_context.flags)
    close = near(token, [*options, *(f"--{name}" for name in _ANYWHERE)]) or of_letter(token, options)
    return ConfigError(
        message=f"{program.binary}{task} has no option {token}{meant(close)}",
        next=run(f"{program.binary}{task} --help", "has all of them"),
    )


def _no_number(program: Any, text: str) -> ConfigError:
    """A value that is no number, of an option of Fabric's own that wants one."""
    value = text.rpartition(": ")[2].strip("'")
    words = program.argv[1:]
    option = next((one for one, other in itertools.pairwise(words) if other == value), "")
    task = next((word for word in words if word in getattr(program, "parser", _Nothing).contexts), "")
    close = of_letter(option, program.parser.contexts[task].flags) if task else []
    return ConfigError(
        message=f"{f'{option} ' if option else ''}{value}: a number is wanted{meant(close)}",
        next=run(" ".join(filter(None, (program.binary, task, "--help")))),
    )


def _no_task(program: Any, token: str = "") -> ConfigError:
    """A word where a task is wanted, or none at all."""
    if token.partition(".")[0] in ("demo", "sandbox"):
        command = run(f"deployer {token.replace('.', ' ')}")
        return ConfigError(message=f"{token!r} is no task: it is a command of deployer, and stands first", next=command)
    if not token:
        given = program.args.hosts.value
        return ConfigError(
            message=f"no task was named; -H took {given!r} as its hosts", next=run(f"{program.binary} --list")
        )
    close = near(token, program.parser.contexts)
    return ConfigError(
        message=f"there is no task {token!r}{meant(close)}",
        next=run(corrected(program, token, close[0])) if close else run(f"{program.binary} --list"),
    )


def _blank(program: Any, token: str) -> ConfigError | None:
    """For a host behind a comma and a blank, which the shell has made a word of its own."""
    words = program.argv[1:]
    at = place(words, token)
    if at < 2 or words[at - 2] not in _HOSTS or not words[at - 1].endswith(","):
        return None
    together = ",".join([*filter(None, split_hosts(words[at - 1])), token])
    return ConfigError(
        message=f"{token!r} is no task; when it is a host, there may be no blank before it",
        next=do(f"{program.binary} -H {together} …"),
    )


def _twice(program: Any, token: str) -> ConfigError | None:
    """For the second value of an option: Invoke takes one, and meets the other as a word of its own."""
    words = program.argv[1:]
    values = {words[at]: words[at + 1] for at in range(len(words) - 2, -1, -1) if words[at].startswith("-")}
    options = (words[at - 1] for at in range(1, len(words)) if words[at] == token and words[at - 1] in values)
    option = next((one for one in options if words.count(one) > 1), "")
    if not option:
        return None
    first = values[option]
    together = f"{option} {first},{token}" if option in _HOSTS and token != first else f"{option} {token}"
    return ConfigError(message=f"{option} was given twice: {first} and {token}", next=do(f"say it once: {together}"))


def _refuse_format(program: Any) -> None:
    """Raises ConfigError for a form that a list of tasks has not."""
    given = program.args["list-format"].value
    if given not in _FORMATS:
        raise ConfigError(message=f"--list-format {given}: one of {', '.join(_FORMATS)} is wanted")


def _no_word(program: Any, context: ParserContext, token: str) -> ConfigError:
    """A word behind a task that takes none."""
    name = context.name
    close = near(token, program.parser.contexts)
    next = run(f"{program.binary} {name} --help")
    option = _option_for(context, token)
    if name == "run":
        close, next = [], run(_run_with_dashes(program, token))
    elif option and not (close and option == "--process"):
        close, next = [], run(corrected(program, token, option, token))
    return ConfigError(message=f"{token!r} is neither an option of {name} nor a task{meant(close)}", next=next)


def _option_for(context: ParserContext, token: str) -> str:
    """The option whose value the word seems to be; empty when there is none."""
    fitting = (("--to", _RELEASE), ("--release", _RELEASE), ("--process", _PROCESS))
    return next((option for option, kind in fitting if option in context.flags and kind.match(token)), "")


def _run_with_dashes(program: Any, token: str) -> str:
    """``fab run -H web1 -- python manage.py check``: behind the dashes, -H would be the command's."""
    words = program.argv[1:]
    at = place(words, token)
    ours, command = words[:at], words[at:]
    hosts = next((one for one, word in enumerate(command[:-1]) if word in _HOSTS), -1)
    if hosts > 0:
        ours, command = [*ours, *command[hosts : hosts + 2]], command[:hosts] + command[hosts + 2 :]
    return f"{program.binary} {shlex.join(ours)} -- {shlex.join(command)}"


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
        if name in _ANYWHERE and not options:
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
                option = _dashed(argument.names[0])
                raise ConfigError(
                    message=f"{option} was given an empty value",
                    next=do(f"give it one, or leave {option} out   (is a variable of the shell not set?)"),
                )


def _ours(program: Any) -> list[ParserContext]:
    """The tasks on the command line that are FleetTasks."""
    return [context for context in program.tasks if isinstance(program.collection[context.name], FleetTask)]


class _Nothing:
    """Stands for a parser that was not made yet."""

    contexts: tuple[str, ...] = ()


def _dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
