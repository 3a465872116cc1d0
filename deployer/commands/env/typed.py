"""The variables that a person types, pipes in or has in a file. Values are secret from here on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from deployer.config.environment.dotenv import parse, read_env_file
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.ssh.options import Ask, Question
from deployer.wire.advice import do, run
from deployer.wire.environment import name_problem, value_problem

__all__ = ["STANDARD", "names", "read_file", "variables"]

STANDARD = "-"
"""Standard input, in place of a file."""
_INPUT = "standard input"


def variables(words: Sequence[str], file: str, ask: Ask | None) -> dict[str, Secret]:
    """What is to be set: ``NAME=value``, or NAME alone, whose value is asked for without being shown, or read from
    standard input to its end; and all of a dotenv file. Raises ConfigError.
    """
    found = read_file(file) if file else {}
    if not words and not file:
        raise ConfigError(message="no variable was named", next=run("fab env.set NAME", "asks for its value"))
    typed = [word.partition("=") for word in words]
    alone = [name for name, equals, _ in typed if not equals]
    checked = _checked([name for name, _, _ in typed])
    if both := [name for name in checked if name in found]:
        raise ConfigError(message=f"{both[0]} is both in {file} and on the command line", next=do("say it once"))
    found.update({name: Secret(value) for name, equals, value in typed if equals})
    found.update(_asked(alone, ask, free=file != STANDARD))
    for name, value in found.items():
        if problem := value_problem(name, value.reveal()):
            raise ConfigError(message=f"the value of {name} {problem}")
    return found


def names(words: Sequence[str], command: str) -> tuple[str, ...]:
    """The names of variables. Raises ConfigError for what is none, and for none."""
    if not words:
        raise ConfigError(message="no variable was named", next=run(f"fab {command} NAME") + run("fab env"))
    return tuple(_checked(words))


def read_file(file: str) -> dict[str, Secret]:
    """The variables of a dotenv file, or of standard input. Raises ConfigError."""
    if file != STANDARD:
        return read_env_file(Path(file), "the file that was named")
    return parse(_standard_input(), _INPUT)


def _checked(found: Sequence[str]) -> list[str]:
    for at, name in enumerate(found):
        if problem := name_problem(name):
            raise ConfigError(message=f"{name[:60]!r} {problem}")
        if name in found[:at]:
            raise ConfigError(message=f"{name} was named twice", next=do("say it once"))
    return list(found)


def _asked(alone: Sequence[str], ask: Ask | None, *, free: bool) -> dict[str, Secret]:
    """The values of names without one."""
    if not alone:
        return {}
    if sys.stdin is not None and not sys.stdin.isatty() and free:
        if len(alone) > 1:
            raise ConfigError(
                message=f"standard input is the value of one variable, and {len(alone)} have none: {', '.join(alone)}",
                next=do("pipe dotenv lines, and say --file -; or name one after the other"),
            )
        text = _standard_input()
        if not text:
            raise ConfigError(
                message=f"{alone[0]} was given no value, and there is nothing on standard input",
                next=run(f"fab env.set {alone[0]}", "at a terminal, asks for it")
                + do(f"or say {alone[0]}= to empty it"),
            )
        return {alone[0]: Secret(text.removesuffix("\n"))}
    return {name: Secret(_answer(name, ask)) for name in alone}


def _answer(name: str, ask: Ask | None) -> str:
    answer = ask(Question(text=f"value of {name}", once=False)) if ask is not None else None
    if answer is None:
        raise ConfigError(
            message=f"{name} was given no value, and nobody can be asked for it here",
            next=do(
                f"pipe it in: fab env.set {name} < FILE; or say {name}=value, which other programs of yours can see"
            ),
        )
    if not answer:
        raise ConfigError(message=f"{name} was given no value", next=do(f"say {name}= to empty it"))
    return answer


def _standard_input() -> str:
    if sys.stdin is None:
        return ""
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(message="what is on standard input is not UTF-8 text") from None
