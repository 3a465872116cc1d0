"""The dotenv file: read as python-dotenv reads it, but this machine's own environment plays no part.

``${NAME}`` and ``${NAME:-default}`` are filled in from names that stand above in the same file, never from
the environment of the laptop: what ships must not depend on who deploys. Any other name is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from deployer.config.secret import Secret
from deployer.errors import ConfigError
from deployer.wire.advice import do
from deployer.wire.environment import name_problem, value_problem


def read_env_file(path: Path) -> dict[str, Secret]:
    """The file's variables. Raises ConfigError with file and line; the message never holds a value."""
    values: dict[str, str] = {}
    for line, name, value in bindings(read(path), path):
        problem = name_problem(name)
        if problem:
            raise ConfigError(message=f"{path}:{line}: {name!r} {problem}")
        values[name] = expand(value, values, f"{path}:{line}: {name}")
        problem = value_problem(name, values[name])
        if problem:
            raise ConfigError(message=f"{path}:{line}: the value of {name} {problem}")
    return {name: Secret(value) for name, value in values.items()}


def read(path: Path) -> str:
    """The file's text. Raises ConfigError when it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(message=f"{path}: the file that env_file names does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(message=f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(message=f"{path}: cannot be read: {error.strerror}") from None


def bindings(text: str, path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, name and value of each assignment. Raises ConfigError for lines that are none."""
    from dotenv.parser import parse_stream  # here: only deploys with an env_file need it

    for binding in parse_stream(StringIO(text)):
        written = binding.original.string
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(message=f"{path}:{line}: not a line such as NAME=value, or a quote is left open")
        if binding.key is not None and binding.value is not None:
            yield line, binding.key, binding.value


def expand(value: str, values: dict[str, str], where: str) -> str:
    """The value with its ``${NAME}`` filled in from ``values``. Raises ConfigError for other names."""
    from dotenv.variables import Variable, parse_variables

    parts = list(parse_variables(value))
    for part in parts:
        if isinstance(part, Variable) and part.name not in values and part.default is None:
            message = f"{where} uses a variable that the file does not set above it, in ${{…}}"
            raise ConfigError(message=message, next=do("set it in the file; this machine's environment is not used"))
    return "".join(part.resolve(values) for part in parts)
