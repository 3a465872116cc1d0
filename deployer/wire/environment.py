"""The environment of an app: which variables it may have, and how systemd is handed them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import ENV_NAME
from deployer.wire.reader import Reader

HOST, COMMAND, FILE, PLAIN, SERVICE = "host", "env_command", "env_file", "env", "service"
SOURCES = (HOST, COMMAND, FILE, PLAIN, SERVICE)
"""Where a variable may come from; the first that has it wins: set on the hosts by ``fab env.set``, the ``env_command``,
the ``env_file``, ``[env]``, and a data service of the host."""
SENT = (COMMAND, FILE, PLAIN)
"""The sources that the laptop reads, and sends with a release."""
_MARK = 32
"""Characters of a mark: nobody finds two values with the same."""
MOST_VERSION = 1 << 53
"""Of the variables that a host keeps: they are counted as they change."""

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


def parse_sources(value: Any, environment: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Where the laptop has each variable from, the source that wins first. Raises ValueError.

    A laptop that does not say has all of them from ``[env]``.
    """
    if not isinstance(value, dict):
        raise ValueError("sources: must be an object")
    for name, sources in value.items():
        if name not in environment:
            raise ValueError(f"sources: {str(name)[:60]!r} is no variable of env")
        if not isinstance(sources, list) or not sources or sources != [one for one in SENT if one in sources]:
            raise ValueError(f"sources: those of {name} are unknown, twice, or out of order")
    return {name: tuple(value.get(name, (PLAIN,))) for name in environment}


def parse_names(value: Any, where: str) -> tuple[str, ...]:
    """Names of variables, each once. Raises ValueError."""
    if not isinstance(value, list) or len(value) > MOST_VARIABLES:
        raise ValueError(f"{where}: must be a list of at most {MOST_VARIABLES} names")
    for name in value:
        if not isinstance(name, str) or (problem := name_problem(name)):
            raise ValueError(f"{where}: {str(name)[:60]!r} {problem if isinstance(name, str) else 'is no name'}")
    if len(set(value)) != len(value):
        raise ValueError(f"{where}: a name is there twice")
    return tuple(value)


@dataclass(frozen=True)
class Change:
    """A change of the variables that a host keeps, by name: what it does not name stays as it is.

    With ``version`` (-1: any) it holds for that version of them only. Values are secret: no repr shows them.
    """

    put: Mapping[str, str]
    remove: tuple[str, ...] = ()
    version: int = -1

    def __repr__(self) -> str:
        return f"Change(put={sorted(self.put)}, remove={sorted(self.remove)}, version={self.version})"

    @classmethod
    def parse(cls, value: Any) -> Change:
        """Raises ValueError naming the variable, never showing its value."""
        read = Reader(value, "change")
        change = cls(
            put=parse_environment(read.raw("put")),
            remove=parse_names(read.raw("remove"), "change.remove"),
            version=read.integer("version", -1, MOST_VERSION),
        )
        read.done()
        if both := sorted(set(change.put) & set(change.remove)):
            raise ValueError(f"change: {both[0]} is both put and removed")
        return change

    def as_json(self) -> dict[str, Any]:
        return {"put": dict(self.put), "remove": list(self.remove), "version": self.version}


def mark(salt: str, value: str) -> str:
    """What stands for a value where it may not be shown: equal for equal values, as long as the salt is the same."""
    return hmac.new(salt.encode(), value.encode(), hashlib.sha256).hexdigest()[:_MARK]


def missing(required: Iterable[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """The required variables that are not among ``values``; an empty one counts as missing."""
    return tuple(name for name in required if not values.get(name))
