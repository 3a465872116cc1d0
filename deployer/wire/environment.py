"""The environment of an app: which variables it may have, and how systemd is handed them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deployer.wire.protocol import ENV_NAME

RESERVED_ENV = re.compile(
    r"(LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|(STATE|CACHE|LOGS|RUNTIME|CONFIGURATION)_DIRECTORY|DEPLOYER_.*|PATH|LD_.*"
    r"|PYTHONHOME|PYTHONSTARTUP|HOME|USER|LOGNAME|SHELL|INVOCATION_ID|JOURNAL_STREAM|MAINPID|WATCHDOG_.*"
    r"|VIRTUAL_ENV|CREDENTIALS_DIRECTORY|PYTHONEXECUTABLE|BASH_ENV)\Z"
)
"""Names that systemd or deployer itself sets, or that the dynamic linker obeys."""


def parse_environment(value: Any) -> dict[str, str]:
    """A checked environment. Raises ValueError naming the variable, never showing its value."""
    if not isinstance(value, dict) or len(value) > 2000:
        raise ValueError("env: must be an object of strings")
    for name, text in value.items():
        check_variable(name, text)
    return dict(value)


def check_variable(name: str, value: Any) -> None:
    """Raises ValueError when systemd could not carry this variable, or may not be given it."""
    if not ENV_NAME.fullmatch(name):
        raise ValueError(f"env: {name[:60]!r} is not the name of an environment variable")
    if RESERVED_ENV.fullmatch(name):
        raise ValueError(f"env: {name} is set by systemd or deployer itself")
    if not isinstance(value, str) or len(value) > 128 * 1024:
        raise ValueError(f"env: {name} must be a string of at most 128 KiB")
    if any((ord(character) < 32 and character not in "\t\n") or character == "\x7f" for character in value):
        raise ValueError(f"env: {name} holds a control character, which systemd refuses")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"env: {name} is not valid Unicode") from None


def environment_file(values: Mapping[str, str], note: str | None = None) -> bytes:
    """The text of an ``EnvironmentFile=`` (systemd.exec(5)): double quotes, in which only the double quote, the
    backslash, the backtick and the dollar are escaped; newlines stand as they are, nothing is expanded.
    """
    escape = str.maketrans({character: "\\" + character for character in '"\\`$'})
    lines = [f"# {note}\n"] if note else []
    lines += [f'{name}="{value.translate(escape)}"\n' for name, value in sorted(values.items())]
    return "".join(lines).encode()
