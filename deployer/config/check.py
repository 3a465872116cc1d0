"""What a value of ``deploy.toml`` may look like, where a type and a range do not say it all. Pure."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Mapping

from deployer.errors import ConfigError
from deployer.target import Target
from deployer.wire.processes import CALENDAR
from deployer.wire.protocol import ENV_NAME

RESERVED = frozenset(
    {
        "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
        "MAINPID", "INVOCATION_ID", "JOURNAL_STREAM", "STATE_DIRECTORY", "RUNTIME_DIRECTORY",
        "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY", "PATH", "HOME", "USER",
        "CACHE_DIRECTORY", "LOGNAME", "SHELL", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONEXECUTABLE", "BASH_ENV",
    }
)  # fmt: skip
"""Names of environment variables that systemd or deployer sets, or that would replace what they start."""
RESERVED_PREFIXES = ("DEPLOYER_", "LD_")

SERVER_OPTIONS = {
    "-b": "", "--bind": "", "--fd": "", "--uds": "", "--host": "", "--port": "", "--insecure-bind": "",
    "-D": "", "--daemon": "", "--reload": "",
    "-w": "; use web.workers", "--workers": "; use web.workers",
}  # fmt: skip
"""Options of the servers that deployer must set itself: it hands them a socket and waits for them."""

UNIT_NAME = re.compile(r"[A-Z][A-Za-z]*\Z")
URL_PREFIX = re.compile(r"/(?:[A-Za-z0-9_.~-]+/)+\Z")
DIRECTORY = re.compile(r"[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)*/?\Z")
LISTEN = re.compile(r"(?:(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):)?([0-9]{1,5})\Z")
STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z")
SIZE = re.compile(r"([1-9][0-9]*)([KMGT]?)\Z")
BATCH = re.compile(r"(?P<hosts>[1-9][0-9]{0,3})|(?P<percent>[1-9][0-9]?|100)%")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
CRON = re.compile(r"\s*(?:@[a-z]+|[0-9*,/-]+(?:\s+[0-9A-Za-z*,/?-]+){4})\s*\Z")
CALENDAR_EXPECTED = 'a time of systemd.time(7) such as "daily", "Mon..Fri 08:00" or "*:0/15" (every quarter of an hour)'


class Invalid(ValueError):
    """A refused value: ``key`` is its key in the table checked, ``below`` the keys (or an ``[index]``) that lead on."""

    def __init__(self, key: str, message: str, *below: str) -> None:
        super().__init__(message)
        self.path = (key, *filter(None, below))
        self.message = message


def control(text: str, allowed: str = "") -> bool:
    """Whether the text holds a control character (NUL and newline included) other than the allowed ones."""
    return any((char < " " or "\x7f" <= char <= "\x9f") and char not in allowed for char in text)


def env_name_problem(name: str) -> str:
    """Why an environment variable may not have this name; empty when it may."""
    if not ENV_NAME.fullmatch(name):
        return "is not a name an environment variable can have (letters, digits and _, no digit first)"
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        return "is set by systemd or by deployer and may not be changed"
    return ""


def env_value_problem(value: str) -> str:
    """Why an environment variable may not have this value; empty when it may. systemd sets the rule."""
    if control(value, allowed="\t\n"):
        return "holds a control character, which systemd does not accept in an environment variable"
    return ""


def env_table(key: str, table: Mapping[str, str]) -> None:
    """Refuse names and values that a process cannot or may not get."""
    for name, value in table.items():
        problem = env_name_problem(name) or env_value_problem(value)
        if problem:
            raise Invalid(key, problem, name)


def command(key: str, text: str, item: str = "") -> None:
    """Refuse commands that are empty, have an open quote or hold control characters."""
    if control(text, allowed="\t"):
        raise Invalid(key, "must be one line, without control characters", item)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Invalid(key, f"is not a command that can be read: {str(error).lower()}", item) from error
    if not words or not words[0]:
        raise Invalid(key, "is empty", item)


def program(key: str, text: str) -> None:
    """Refuse what :func:`command` refuses, and programs that lie neither in the code nor at a path from the root."""
    command(key, text)
    first = shlex.split(text)[0]
    if "/" in first and not first.startswith("/"):
        relative(key, first)
    parts = [part for part in first.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise Invalid(key, f"must begin with a name, a path inside the code or one from the root, not {first!r}")


def calendar(key: str, text: str) -> None:
    """Refuse what cannot be a time at which a timer runs; systemd, on the host, knows the rest."""
    if CRON.fullmatch(text):
        raise Invalid(key, f"is cron's way to write it; it must be {CALENDAR_EXPECTED}")
    if not text.strip() or not CALENDAR.fullmatch(text):
        raise Invalid(key, f"must be {CALENDAR_EXPECTED}, not {text!r}")


def hook(key: str, text: str) -> None:
    """Refuse what :func:`command` refuses, and placeholders that nothing is filled into."""
    command(key, text)
    for name in PLACEHOLDER.findall(text):
        if name != "host":
            raise Invalid(key, f"holds {{{name}}}, but {{host}} is all that can be filled in")


def host(key: str, text: str, item: str = "") -> None:
    """Refuse what cannot be connected to."""
    try:
        Target.parse(text)
    except ConfigError as error:
        raise Invalid(key, error.message, item) from None


def batch_problem(text: str) -> str:
    """Why this is not how many hosts may switch at a time; empty when it is. Nothing at all means all of them."""
    if not text or BATCH.fullmatch(text):
        return ""
    return f'must be a number of hosts such as "2", or a share of them such as "25%", not {text!r}'


def arguments(key: str, arguments: Iterable[str]) -> None:
    """Refuse server arguments that take away what deployer must set itself."""
    for argument in arguments:
        option = argument.partition("=")[0]
        if control(argument):
            raise Invalid(key, f"must not hold control characters: {argument!r}")
        if option in SERVER_OPTIONS:
            raise Invalid(key, f"must not hold {option}: deployer sets it{SERVER_OPTIONS[option]}")


def unit_table(key: str, table: Mapping[str, object]) -> None:
    """Refuse names that are no directives, and values that would begin a new line in the unit file."""
    for name, value in table.items():
        if not UNIT_NAME.fullmatch(name):
            raise Invalid(key, 'is not the name of a systemd directive, such as "MemoryMax"', name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, str) and (control(item) or item.endswith("\\")):
                raise Invalid(key, "must be one line, and not end with a backslash", name)


def relative(key: str, path: str, item: str = "") -> None:
    """Refuse paths and globs that are absolute, have ``..`` in them or hold control characters."""
    if not path or control(path) or path.startswith(("/", "~")) or ".." in path.split("/"):
        raise Invalid(key, f"must be relative to the project and stay inside it, not {path!r}", item)


def statuses(key: str, ranges: Iterable[str]) -> None:
    """Refuse what is not a status or a range of statuses."""
    for text in ranges:
        match = STATUS.fullmatch(text)
        if not match or (match[2] and match[1] > match[2]):
            raise Invalid(key, f'must be a status such as "200", a range such as "200-399" or a list, not {text!r}')


def listen(key: str, addresses: Iterable[str]) -> None:
    """Refuse what is neither a port nor an address and a port."""
    for text in addresses:
        match = LISTEN.fullmatch(text)
        if not match or not 0 < int(match[1]) < 65536:
            raise Invalid(key, f'must be a port such as 80, or an address and a port such as "[::]:80", not {text!r}')


def networks(key: str, addresses: Iterable[str]) -> None:
    """Refuse what is no address or network, and what is everybody."""
    for text in addresses:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise Invalid(key, _no_network(text)) from None
        if network.prefixlen == 0:
            raise Invalid(key, f"must not hold {text}: then every client could choose the address it seems to have")


def _no_network(text: str) -> str:
    """What is wrong with it; with bits set behind the prefix it is nearly one."""
    message = f'must be an address or a network such as "10.0.0.0/8", not {text!r}'
    try:
        return f"{message}; that lies in {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        return message


def static(key: str, table: Mapping[str, str]) -> None:
    """Refuse prefixes and directories that an nginx file could read as something else."""
    for prefix, directory in table.items():
        if not URL_PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
            raise Invalid(key, 'is not a URL prefix such as "/static/"', prefix)
        if not DIRECTORY.fullmatch(directory) or {".", ".."} & set(directory.split("/")):
            message = f"must name a directory of the project (letters, digits, . _ ~ -), not {directory!r}"
            raise Invalid(key, message, prefix)
