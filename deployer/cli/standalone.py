"""What the commands that work on this machine alone share: how they are parsed, interrupted, and end."""

from __future__ import annotations

import argparse
import json as to_json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from deployer.cli.ending import show_error
from deployer.errors import ConfigError, DeployerError, Exit, Interrupted
from deployer.sandbox.errors import SandboxError
from deployer.wire.advice import Next, run

__all__ = ["Parser", "Stopped", "answer", "ended", "is_dry", "say", "words_after_dashes", "would"]

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Parser(argparse.ArgumentParser):
    """argparse's, but a wrong command line is told as any other mistake, and words are never guessed.

    ``commands`` are its sub-commands, where it has some.
    """

    commands: Any = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(message=f"{self.prog}: {message}", next=run(f"{self.prog} --help"))


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or a signal that asks this process to end; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def ended(body: Callable[[], int], *, json: bool, interrupted: str) -> int:
    """The exit code of ``body``, its error shown; ``interrupted`` says what is left here when it is stopped."""
    try:
        with _stoppable():
            return body()
    except Stopped as stopped:
        show_error(Interrupted(message="interrupted", state=interrupted), json=json)
        return 128 + stopped.number
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains once more when it empties its buffer
        return 128 + signal.SIGPIPE
    except Exception as error:
        told = _told(error)
        show_error(told, json=json)
        return int(told.exit)


def is_dry(given: bool) -> bool:
    """Whether nothing may be changed: ``--dry``, or the variables that say so to Fabric's tasks."""
    variables = ("INVOKE_RUN_DRY", "FABRIC_RUN_DRY")
    return given or any(os.environ.get(name, "0") not in ("", "0") for name in variables)


def would(what: str) -> int:
    """Tell what would be done, on standard output, and that it was not."""
    sys.stdout.write(f"would {what}\n")
    sys.stderr.write("dry run: nothing was touched\n")
    return int(Exit.OK)


def answer(value: Mapping[str, Any]) -> None:
    """One JSON object a line, for machines, on standard output."""
    sys.stdout.write(f"{to_json.dumps(value)}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def words_after_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments before ``--``, and those behind it."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


@contextmanager
def _stoppable() -> Iterator[None]:
    """The first signal raises Stopped in the block; later ones are ignored, so that what cleans up comes to its end.

    A signal that this process was started to ignore (``nohup``, ``&``) stays ignored.
    """

    def stop(number: int, _: FrameType | None) -> None:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    before = {one: signal.getsignal(one) for one in _STOPPING if signal.getsignal(one) is not signal.SIG_IGN}
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _told(error: Exception) -> DeployerError:
    from deployer.errors.bug import explained

    if isinstance(error, SandboxError):
        state, logs = error.state or "nothing was created", error.console.splitlines()
        return ConfigError(message=error.problem, state=state, next=Next.of(error.hint), logs=logs)
    return explained(error, state="deployer sandbox list shows the hosts that are left", untouched=True)
