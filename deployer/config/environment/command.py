"""The ``env_command``: a program on this machine that prints variables, such as the client of a vault."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from deployer.config.environment import dotenv
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.wire.advice import Next, do, run
from deployer.wire.environment import name_problem, value_problem

__all__ = ["run_env_command"]

LIMIT = 120.0
"""Seconds that the command may take: somebody may have to confirm with a finger."""
_SHOWN = 5
"""Last lines of what it printed on standard error that an error shows."""
_UNTOUCHED = "nothing was touched"


def run_env_command(command: str, root: Path, *, limit: float = LIMIT) -> dict[str, Secret]:
    """What the command prints when it is run in ``root``: dotenv lines, or one JSON object of strings.

    It gets no input, and no shell reads it. Raises ConfigError when it cannot be run, fails, prints nothing or what
    cannot be read; the message may have what it printed on standard error, never what it printed on standard output.
    """
    argv = shlex.split(command)
    try:
        done = subprocess.run(argv, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
    except FileNotFoundError:
        raise _error(
            f"{argv[0]!r} is not a program on this machine", do("install it, or correct env_command")
        ) from None
    except subprocess.TimeoutExpired as late:
        text = f"{argv[0]!r} has not ended within {limit:g} s"
        raise _error(text, _by_hand(command, "perhaps it waits for a password"), late.stderr) from None
    except OSError as error:
        raise _error(f"{argv[0]!r} cannot be run: {error.strerror}", do("correct env_command")) from None
    if done.returncode:
        how = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise _error(f"{argv[0]!r} failed ({how})", _by_hand(command), done.stderr)
    try:
        text = done.stdout.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _error("what it printed is not UTF-8 text", _by_hand(command)) from None
    if not text.strip():
        raise _error("it printed nothing", _by_hand(command), done.stderr)
    return _json(text, command) if text.lstrip().startswith("{") else dotenv.parse(text, "env_command")


def _json(text: str, command: str) -> dict[str, Secret]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _error("what it printed begins as JSON, and is none", _by_hand(command)) from None
    return {name: Secret(_text(name, one)) for name, one in value.items()}


def _text(name: str, value: Any) -> str:
    """A value as a variable has it: numbers as they are written, true and false as words. Raises ConfigError."""
    if isinstance(value, (bool, int, float)):
        value = json.dumps(value)
    if not isinstance(value, str):
        kind = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "null"
        raise _error(
            f"in its JSON {name[:60]!r} is {kind}, where a text is wanted", do("have it print one flat object")
        )
    problem = name_problem(name) or (f"has a value that {wrong}" if (wrong := value_problem(name, value)) else "")
    if problem:
        raise _error(f"{name[:60]!r} {problem}", do("correct it where it is kept"))
    return value


def _by_hand(command: str, why: str = "shows what it does") -> Next:
    return run(command, why)


def _error(text: str, next: Next, stderr: bytes | None = b"") -> ConfigError:
    said = (stderr or b"").decode("utf-8", "replace")
    lines = ["".join(one if one.isprintable() else " " for one in line) for line in said.splitlines() if line.strip()]
    return ConfigError(
        message=f"env_command: {text}", state=_UNTOUCHED, next=next, logs=tuple(line[:300] for line in lines[-_SHOWN:])
    )
