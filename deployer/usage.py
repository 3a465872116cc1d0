"""A command line that cannot be meant: what is wrong with it, and what was meant."""

from __future__ import annotations

import difflib
import itertools
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fabric.executor import Executor
from fabric.main import Fab
from invoke.exceptions import Exit as Quit
from invoke.exceptions import ParseError
from invoke.parser.context import ParserContext
from paramiko.ssh_exception import ConfigParseError

from deployer.errors import ConfigError
from deployer.fleettask import FleetTask, leave_closed_output, split_hosts, wrong_executor
from deployer.host.advice import do, run

__all__ = ["ExplainedFab", "explain_usage"]

_UNKNOWN = re.compile(r"No idea what '(.*)' is!\Z", re.DOTALL)
_NO_VALUE = re.compile(r"Flag <Argument: ([\w-]+).* needed value and was not given one!\Z")
"""Invoke tells what is wrong in these words, and in no other way."""
_ANYWHERE = ("hosts", "help", "dry", "identity", "ssh-config", "connect-timeout")
"""Fabric's own options that may stand behind a task; the others stand before it, where their letters are not ours."""
_FORMATS = ("flat", "nested", "json")
_RELEASE = re.compile(r"v?[1-9][0-9]*\Z")


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
        with self._explained():
            _refuse_missing(self)
            try:
                super().update_config()
            except ConfigParseError as error:
                raise _unreadable(self, error) from None

    def no_tasks_given(self) -> None:
        if self.args.hosts.value is not None and not self._remainder_only:
            raise _no_task(self)
        super().no_tasks_given()

    def execute(self) -> None:
        """Words behind ``--`` are a task's only under our executor; Fabric's would end with a traceback."""
        stock = self.config.tasks.executor_class is None and self.executor_class is Executor
        if stock and self.core.remainder and _ours(self):
            self.refuse(wrong_executor())
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
        from deployer.ui.errors import print_error

        print_error(error, json="--json" in getattr(getattr(self, "core", None), "unparsed", ()))
        raise Quit(code=int(error.exit)) from error


def explain_usage() -> None:
    """Have the ``fab`` that runs, and loads our tasks just now, explain wrong command lines."""
    program = getattr(sys.modules["fabric.main"], "program", None)
    if type(program) is Fab and getattr(program, "core", None):
        program.__class__ = ExplainedFab


def explain(program: Any, error: ParseError) -> ConfigError:
    """What is wrong, as Invoke has found it, with the nearest right word."""
    context = error.context if error.context is not None and error.context.name else None
    text = str(error)
    if found := _UNKNOWN.match(text):
        token = found[1]
        if token.startswith("-"):
            return _no_option(program, context, token)
        if twice := _twice(program, token):
            return twice
        return _no_task(program, token) if context is None else _no_word(program, context, token)
    if found := _NO_VALUE.match(text):
        task = f" {context.name}" if context else ""
        option = _dashed(found[1])
        return ConfigError(message=f"{option} needs a value", next=run(f"{program.binary}{task} --help"))
    return ConfigError(message=text, next=run(f"{program.binary} --help"))


def _no_option(program: Any, context: ParserContext | None, token: str) -> ConfigError:
    """An option that the task, or the program, has not."""
    task = f" {context.name}" if context else ""
    options = list(context.flags) if context else list(program.initial_context.flags)
    near = _near(token, [*options, *(f"--{name}" for name in _ANYWHERE)]) or _of_letter(token, options)
    return ConfigError(
        message=f"{program.binary}{task} has no option {token}{_meant(near)}",
        next=run(f"{program.binary}{task} --help", "has all of them"),
    )


def _no_number(program: Any, text: str) -> ConfigError:
    """A value that is no number, of an option of Fabric's own that wants one."""
    value = text.rpartition(": ")[2].strip("'")
    words = program.argv[1:]
    option = next((one for one, other in itertools.pairwise(words) if other == value), "")
    task = next((word for word in words if word in getattr(program, "parser", _Nothing).contexts), "")
    near = _of_letter(option, program.parser.contexts[task].flags) if task else []
    return ConfigError(
        message=f"{f'{option} ' if option else ''}{value}: a number is wanted{_meant(near)}",
        next=" ".join(filter(None, (program.binary, task, "--help"))),
    )


def _no_task(program: Any, token: str = "") -> ConfigError:
    """A word where a task is wanted, or none at all."""
    if not token:
        given = program.args.hosts.value
        return ConfigError(
            message=f"no task was named; -H took {given!r} as its hosts", next=run(f"{program.binary} --list")
        )
    hosts = program.args.hosts.value or ""
    if hosts.rstrip().endswith(","):
        together = ",".join([*filter(None, split_hosts(hosts)), token])
        return ConfigError(
            message=f"{token!r} is no task; when it is a host, there may be no blank before it",
            next=do(f"{program.binary} -H {together} …"),
        )
    near = _near(token, program.parser.contexts)
    return ConfigError(
        message=f"there is no task {token!r}{_meant(near)}",
        next=_corrected(program, token, near[0]) if near else f"{program.binary} --list",
    )


def _twice(program: Any, token: str) -> ConfigError | None:
    """For the second value of an option: Invoke takes one, and meets the other as a word of its own."""
    words = program.argv[1:]
    option = words[max(words.index(token) - 1, 0)] if token in words else ""
    if not option.startswith("-") or words.index(option) == words.index(token) - 1:
        return None
    first = words[words.index(option) + 1]
    together = f"{option} {first},{token}" if option in ("-H", "--hosts") else f"{option} {token}"
    return ConfigError(message=f"{option} was given twice: {first} and {token}", next=do(f"say it once: {together}"))


def _refuse_format(program: Any) -> None:
    """Raises ConfigError for a form that a list of tasks has not."""
    given = program.args["list-format"].value
    if given not in _FORMATS:
        raise ConfigError(message=f"--list-format {given}: one of {', '.join(_FORMATS)} is wanted")


def _refuse_missing(program: Any) -> None:
    """Raises ConfigError for a file of Fabric's that is not there: it might say ``run: {dry: true}``."""
    for name in ("config", "ssh-config"):
        path = program.args[name].value
        if path is not None and not Path(path).expanduser().is_file():
            raise ConfigError(message=f"-{min(program.args[name].names, key=len)} {path}: there is no such file")


def _unreadable(program: Any, error: ConfigParseError) -> ConfigError:
    """Fabric has Paramiko read ssh_config before any task, and Paramiko knows less than OpenSSH."""
    words = shlex.join(program.argv[1:])
    return ConfigError(
        message=f"Fabric cannot read your ssh_config: {error}",
        next=run(f"deployer {words}", "leaves it to OpenSSH") + do("or load_ssh_configs: false in fabric.yaml"),
    )


def _no_word(program: Any, context: ParserContext, token: str) -> ConfigError:
    """A word behind a task that takes none."""
    name, rest = context.name, program.core.unparsed
    words = shlex.join(rest[rest.index(token) :]) if token in rest else token
    near = _near(token, program.parser.contexts)
    next = f"{program.binary} {name} --help"
    if name == "run":
        near, next = [], f"{program.binary} run {_command_apart(words)}"
    elif "--to" in context.flags and _RELEASE.match(token):
        near, next = [], f"{program.binary} {name} --to {token}"
    elif "--release" in context.flags and _RELEASE.match(token):
        near, next = [], f"{program.binary} {name} --release {token}"
    elif "--process" in context.flags and not near:
        next = f"{program.binary} {name} --process {shlex.quote(token)}"
    return ConfigError(message=f"{token!r} is neither an option of {name} nor a task{_meant(near)}", next=next)


def _command_apart(words: str) -> str:
    """The words of a command behind ``--``, and fab's own hosts before it: at the end of a line they are hardly its."""
    command, _, hosts = words.rpartition(" -H ")
    return f"-H {hosts} -- {command}" if command and " " not in hosts else f"-- {words}"


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
        options = [flag for context in ours for letter in letters for flag in _of_letter(f"-{letter}", context.flags)]
        if name in _ANYWHERE and not options:
            continue
        if name.startswith("prompt-for-"):
            continue
        tasks = " ".join(str(context.name) for context in ours)
        shown = " ".join(dict.fromkeys((*(f"-{letter}" for letter in letters), f"--{name}")))
        raise ConfigError(
            message=f"{shown} is an option of {program.binary} itself, and must stand before {tasks}{_meant(options)}",
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


def _near(token: str, known: Iterable[str]) -> list[str]:
    """The names most like ``token``; a letter has none."""
    if len(token.lstrip("-")) < 2:
        return []
    bare = {name.lstrip("-"): name for name in known if len(name.lstrip("-")) > 1}
    return [bare[name] for name in difflib.get_close_matches(token.strip("-").partition("=")[0], bare, n=1)]


def _of_letter(token: str, options: Iterable[str]) -> list[str]:
    """The options that begin with a letter, for one who types ``-d``."""
    letter = token.lstrip("-")
    return [name for name in options if len(letter) == 1 and name.startswith(f"--{letter}")]


def _meant(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def _corrected(program: Any, wrong: str, right: str) -> str:
    """What was typed, with the right word in place of the wrong one."""
    words = [right if word == wrong else word for word in program.argv[1:]]
    return f"{program.binary} {shlex.join(words)}"


class _Nothing:
    """Stands for a parser that was not made yet."""

    contexts: tuple[str, ...] = ()


def _dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
