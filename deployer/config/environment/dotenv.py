"""A dotenv file: read as python-dotenv reads it, but this machine's own environment plays no part.

``${NAME}`` and ``${NAME:-default}`` are filled in from names that stand above in the same file, never from
the environment of the laptop: what ships must not depend on who deploys. Any other name is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.wire.advice import do
from deployer.wire.environment import name_problem, value_problem
from deployer.wire.lazyre import pattern

_BARE = pattern(r"[A-Za-z0-9_@%+=:,./-]+\Z")
"""Values that need no quotes, neither here nor in a shell."""


def read_env_file(path: Path, what: str = "the file that env_file names") -> dict[str, Secret]:
    """The file's variables; ``what`` it is, for when it is missing. Raises ConfigError with file and line; the message
    never holds a value."""
    return parse(read(path, what), str(path))


def parse(text: str, where: str) -> dict[str, Secret]:
    """The variables of a dotenv text, which stands at ``where``. Raises ConfigError with the line."""
    values: dict[str, str] = {}
    for line, name, value in bindings(text, where):
        problem = name_problem(name)
        if problem:
            raise ConfigError(message=f"{where}:{line}: {name!r} {problem}")
        values[name] = expand(value, values, f"{where}:{line}: {name}")
        problem = value_problem(name, values[name])
        if problem:
            raise ConfigError(message=f"{where}:{line}: the value of {name} {problem}")
    return {name: Secret(value) for name, value in values.items()}


def read(path: Path, what: str) -> str:
    """The file's text. Raises ConfigError when it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(message=f"{path}: {what} does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(message=f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(message=f"{path}: cannot be read: {error.strerror}") from None


def bindings(text: str, where: str) -> Iterator[tuple[int, str, str]]:
    """Line number, name and value of each assignment. Raises ConfigError for lines that are none."""
    from dotenv.parser import parse_stream  # here: only deploys with an env_file need it

    for binding in parse_stream(StringIO(text)):
        written = binding.original.string
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(message=f"{where}:{line}: not a line such as NAME=value, or a quote is left open")
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


def written(values: Mapping[str, str]) -> str:
    """A dotenv text that :func:`parse` reads as these values again."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(values.items()))


def _quoted(value: str) -> str:
    """In single quotes, in which only the quote and the backslash are escaped; ``${`` is written as a default value,
    for it would be filled in otherwise."""
    if _BARE.fullmatch(value):
        return value
    text = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"""'{text.replace("${", "${:-$}{")}'"""
