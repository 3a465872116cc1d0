"""The environment of an app: which variables it may have, and how systemd is handed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.wire.protocol import ENV_NAME

RESERVED = frozenset(
    {
        "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "MAINPID", "INVOCATION_ID", "JOURNAL_STREAM",
        "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "RUNTIME_DIRECTORY", "CONFIGURATION_DIRECTORY",
        "CREDENTIALS_DIRECTORY", "PATH", "HOME", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV", "BASH_ENV",
        "PYTHONHOME", "PYTHONSTARTUP", "PYTHONEXECUTABLE",
    }
)  # fmt: skip
"""Variables that systemd or deployer sets, or that would replace what they start."""
RESERVED_PREFIXES = ("DEPLOYER_", "LD_", "WATCHDOG_")
"""How such variables begin: deployer's own, the dynamic linker's, systemd's."""

MOST_VARIABLES = 2000
MOST_VALUE = 128 * 1024 - 1
"""Bytes of one ``NAME=value``: Linux takes no longer string (MAX_ARG_STRLEN, execve(2))."""
MOST_BYTES = 2 * 1024 * 1024
"""Bytes of an environment: Linux gives a program a quarter of its stack's 8 MiB for it (execve(2))."""


def name_problem(name: str) -> str:
    """Why a variable may not have this name; empty when it may."""
    if not ENV_NAME.fullmatch(name):
        return "is not a name an environment variable can have (letters, digits and _, no digit first)"
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        return "is set by systemd or by deployer and may not be changed"
    return ""


def value_problem(name: str, value: Any) -> str:
    """Why the variable may not have this value, which is not quoted; empty when it may."""
    if not isinstance(value, str):
        return "must be a string"
    if any((character < " " and character not in "\t\n") or character == "\x7f" for character in value):
        return "holds a control character, which systemd does not accept in an environment variable"
    try:
        length = len(f"{name}={value}".encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return "and its name are 128 KiB or more, which Linux does not accept" if length > MOST_VALUE else ""


def environment_problem(values: Mapping[str, str]) -> str:
    """Why no program can have all of these variables, each of which is accepted; empty when it can."""
    if len(values) > MOST_VARIABLES:
        return f"has {len(values)} variables, and may have {MOST_VARIABLES}"
    if sum(len(f"{name}={value}".encode()) + 1 for name, value in values.items()) > MOST_BYTES:
        return f"is larger than {MOST_BYTES >> 20} MiB, which Linux does not accept"
    return ""


def parse_environment(value: Any) -> dict[str, str]:
    """A checked environment. Raises ValueError naming the variable, never showing its value."""
    if not isinstance(value, dict):
        raise ValueError("env: must be an object of strings")
    for name, text in value.items():
        check_variable(name, text)
    if problem := environment_problem(value):
        raise ValueError(f"env: {problem}")
    return dict(value)


def check_variable(name: str, value: Any) -> None:
    """Raises ValueError when systemd could not pass this variable on, or the app may not have it."""
    if problem := name_problem(name):
        raise ValueError(f"env: {name[:60]!r} {problem}")
    if problem := value_problem(name, value):
        raise ValueError(f"env: the value of {name[:60]} {problem}")


def environment_file(values: Mapping[str, str], note: str | None = None) -> bytes:
    """The text of an ``EnvironmentFile=`` (systemd.exec(5)): double quotes, in which only the double quote, the
    backslash, the backtick and the dollar are escaped; newlines stand as they are, nothing is expanded.
    """
    escape = str.maketrans({character: "\\" + character for character in '"\\`$'})
    lines = [f"# {note}\n"] if note else []
    lines += [f'{name}="{value.translate(escape)}"\n' for name, value in sorted(values.items())]
    return "".join(lines).encode()
