"""What is wrong with a command line, and what was probably meant."""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Any

from invoke.exceptions import ParseError
from invoke.parser.context import ParserContext

from deployer.cli.fleettask import split_hosts
from deployer.cli.usage.spelling import corrected, meant, near, of_letter, place
from deployer.errors import ConfigError
from deployer.wire.advice import do, run
from deployer.wire.lazyre import pattern

__all__ = ["ANYWHERE", "dashed", "explain", "no_number", "no_task"]

_UNKNOWN = pattern(r"No idea what '(.*)' is!\Z", re.DOTALL)


_NO_VALUE = pattern(r"Flag <\w+: ([\w-]+).* needed value and was not given one!\Z")
"""Invoke's messages: it reports what is wrong in no other way."""


ANYWHERE = ("hosts", "help", "dry", "identity", "ssh-config", "connect-timeout")
"""Fabric's own options that may follow a task. The others must precede it: after it their letters may be the task's."""


_RELEASE = pattern(r"v?[1-9][0-9]*\Z")


_PROCESS = pattern(r"[a-z][a-z0-9_]*\Z")


_HOSTS = ("-H", "--hosts")


def explain(program: Any, error: ParseError) -> ConfigError:
    """Invoke's parse error in plain words, with the closest valid word."""
    context = error.context if error.context is not None and error.context.name else None
    text = str(error)
    if found := _UNKNOWN.match(text):
        token = found[1]
        if token.startswith("-"):
            return _no_option(program, context, token)
        if other := _forgotten(program, context, token) or _blank(program, token) or _twice(program, token):
            return other
        return no_task(program, token) if context is None else _no_word(program, context, token)
    if found := _NO_VALUE.match(text):
        return _no_value(program, context, dashed(found[1]))
    return ConfigError(message=text, next=run(f"{program.binary} --help"))


def _no_value(program: Any, context: ParserContext | None, option: str) -> ConfigError:
    task = f" {context.name}" if context else ""
    return ConfigError(message=f"{option} needs a value", next=run(f"{program.binary}{task} --help"))


def _forgotten(program: Any, context: ParserContext | None, token: str) -> ConfigError | None:
    """The error for an option without its value: Invoke took the next option as its value."""
    words = program.argv[1:]
    at = place(words, token)
    flag = context.flags.get(words[at - 2]) if context and at >= 2 and words[at - 1].startswith("-") else None
    return _no_value(program, context, words[at - 2]) if flag is not None and flag.takes_value else None


def _no_option(program: Any, context: ParserContext | None, token: str) -> ConfigError:
    """The error for an option that the task, or the program, does not have."""
    task = f" {context.name}" if context else ""
    options = list(context.flags) if context else list(program.initial_context.flags)
    close = near(token, [*options, *(f"--{name}" for name in ANYWHERE)]) or of_letter(token, options)
    return ConfigError(
        message=f"{program.binary}{task} has no option {token}{meant(close)}",
        next=run(f"{program.binary}{task} --help", "has all of them"),
    )


def no_number(program: Any, text: str) -> ConfigError:
    """The error for a value that is not a number, of one of Fabric's own options that needs one."""
    value = text.rpartition(": ")[2].strip("'")
    words = program.argv[1:]
    option = next((one for one, other in itertools.pairwise(words) if other == value), "")
    task = next((word for word in words if word in getattr(program, "parser", _Nothing).contexts), "")
    close = of_letter(option, program.parser.contexts[task].flags) if task else []
    return ConfigError(
        message=f"{f'{option} ' if option else ''}{value}: a number is wanted{meant(close)}",
        next=run(" ".join(filter(None, (program.binary, task, "--help")))),
    )


def no_task(program: Any, token: str = "") -> ConfigError:
    """The error for a word that is not a task, or for no task at all."""
    if token.partition(".")[0] in ("demo", "sandbox"):
        command = run(f"deployer {token.replace('.', ' ')}")
        return ConfigError(message=f"{token!r} is no task: it is a command of deployer, and stands first", next=command)
    if not token:
        given = program.args.hosts.value
        return ConfigError(
            message=f"no task was named; -H took {given!r} as its hosts", next=run(f"{program.binary} --list")
        )
    if words := [name.partition(".")[2] for name in program.parser.contexts if name.startswith(f"{token}.")]:
        return ConfigError(
            message=f"{program.binary} {token} needs a word behind it: {', '.join(words)}",
            next=run(f"{program.binary} {token} {words[0]}") + run(f"{program.binary} --list"),
        )
    close = near(token, program.parser.contexts)
    return ConfigError(
        message=f"there is no task {token!r}{meant(close)}",
        next=run(corrected(program, token, close[0])) if close else run(f"{program.binary} --list"),
    )


def _blank(program: Any, token: str) -> ConfigError | None:
    """The error for a host after a comma and a space: the shell has split it off as its own word."""
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
    """The error for an option with two values: Invoke takes the first, and sees the second as a word of its own."""
    words = program.argv[1:]
    values = {words[at]: words[at + 1] for at in range(len(words) - 2, -1, -1) if words[at].startswith("-")}
    options = (words[at - 1] for at in range(1, len(words)) if words[at] == token and words[at - 1] in values)
    option = next((one for one in options if words.count(one) > 1), "")
    if not option:
        return None
    first = values[option]
    together = f"{option} {first},{token}" if option in _HOSTS and token != first else f"{option} {token}"
    return ConfigError(message=f"{option} was given twice: {first} and {token}", next=do(f"say it once: {together}"))


def _no_word(program: Any, context: ParserContext, token: str) -> ConfigError:
    """The error for a word after a task that takes none."""
    name = context.name
    close = near(token, program.parser.contexts)
    next = run(f"{program.binary} {name} --help")
    option = _option_for(context, token)
    if name in ("run", "manage"):
        close, next = [], run(_run_with_dashes(program, token))
    elif option and not (close and option == "--process"):
        close, next = [], run(corrected(program, token, option, token))
    return ConfigError(message=f"{token!r} is neither an option of {name} nor a task{meant(close)}", next=next)


def _option_for(context: ParserContext, token: str) -> str:
    """The option whose value the word appears to be, or ""."""
    fitting = (("--to", _RELEASE), ("--release", _RELEASE), ("--process", _PROCESS))
    return next((option for option, kind in fitting if option in context.flags and kind.match(token)), "")


def _run_with_dashes(program: Any, token: str) -> str:
    """``fab run -H web1 -- python manage.py check``: after the dashes, -H would belong to the command."""
    words = program.argv[1:]
    at = place(words, token)
    ours, command = words[:at], words[at:]
    hosts = next((one for one, word in enumerate(command[:-1]) if word in _HOSTS), -1)
    if hosts > 0:
        ours, command = [*ours, *command[hosts : hosts + 2]], command[:hosts] + command[hosts + 2 :]
    return f"{program.binary} {shlex.join(ours)} -- {shlex.join(command)}"


class _Nothing:
    """In place of a parser that does not exist yet."""

    contexts: tuple[str, ...] = ()


def dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
