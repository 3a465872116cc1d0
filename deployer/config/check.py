"""What a value of ``deploy.toml`` may look like, where a type and a range do not say it all. Pure."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterable, Mapping, Sequence

from deployer.errors import ConfigError
from deployer.rollout.waves import is_batch
from deployer.ssh.target import Target
from deployer.wire.environment import environment_problem, name_problem, value_problem
from deployer.wire.lazyre import pattern
from deployer.wire.reader import LINE, MOST_TEXT
from deployer.wire.release.processes import (
    CALENDAR,
    DIRECTIVE,
    DIRECTIVE_VALUE,
    MOST_MEMORY,
    MOST_VALUES,
    words_problem,
)
from deployer.wire.release.shared import MOST_SHARED, PLAIN_LENGTH, PLAIN_PATH, shared_of, shared_problem
from deployer.wire.site import DIRECTORY, DIRECTORY_LENGTH, URL_PREFIX, is_network, listens, trustworthy

SERVER_OPTIONS = {
    "-b": "", "--bind": "", "--fd": "", "--uds": "", "--host": "", "--port": "", "--insecure-bind": "",
    "-D": "", "--daemon": "", "--reload": "",
    "-w": "; use web.workers", "--workers": "; use web.workers",
}  # fmt: skip
"""Options of the servers that deployer must set itself: it hands them a socket and waits for them."""

STATUS = pattern(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z")
SIZE = pattern(r"([1-9][0-9]*)([KMGT]?)\Z")
PLACEHOLDER = pattern(r"\{(\w+)\}")
CRON = pattern(r"\s*(?:@[a-z]+|[0-9*,/-]+(?:\s+[0-9A-Za-z*,/?-]+){4})\s*\Z")
CALENDAR_EXPECTED = 'a time of systemd.time(7) such as "daily", "Mon..Fri 08:00" or "*:0/15" (every quarter of an hour)'


class Invalid(ValueError):
    """A refused value: ``key`` is its key in the table checked, ``below`` the keys (or an ``[index]``) that lead on."""

    def __init__(self, key: str, message: str, *below: str) -> None:
        super().__init__(message)
        self.path = (key, *filter(None, below))
        self.message = message


def control(text: str) -> bool:
    """Whether the text holds a control character other than a tab."""
    return not LINE.fullmatch(text)


def env_table(key: str, table: Mapping[str, str]) -> None:
    """Refuse names and values that a process cannot or may not get, and more of them than it can get."""
    for name, value in table.items():
        problem = name_problem(name)
        if not problem and (wrong := value_problem(name, value)):
            problem = f"its value {wrong}"
        if problem:
            raise Invalid(key, problem, name)
    if problem := environment_problem(table):
        raise Invalid(key, problem)


def env_names(key: str, names: Sequence[str]) -> None:
    """Refuse names that no variable of the app can have, and those that are there twice."""
    for index, name in enumerate(names):
        if problem := name_problem(name) or ("is named twice" if name in names[:index] else ""):
            raise Invalid(key, f"{name} {problem}", f"[{index}]")


def command(key: str, text: str, item: str = "") -> list[str]:
    """The words of a command. Refuse one that is empty, too long, has an open quote or holds control characters."""
    if control(text):
        raise Invalid(key, "must be one line, without control characters", item)
    if len(text) > MOST_TEXT:
        raise Invalid(key, f"is {len(text)} characters long, and may have {MOST_TEXT}", item)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Invalid(key, f"is not a command that can be read: {str(error).lower()}", item) from error
    if not words or not words[0]:
        raise Invalid(key, "is empty", item)
    return words


def program(key: str, text: str) -> None:
    """Refuse what :func:`command` refuses, and programs that lie neither in the code nor at a path from the root."""
    words = command(key, text)
    if "/" in words[0] and not words[0].startswith("/"):
        relative(key, words[0])
    if problem := words_problem(words):
        raise Invalid(key, problem)


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
    if not text or is_batch(text):
        return ""
    return f'must be a number of hosts such as "2", or a share of them such as "25%", not {text!r}'


def arguments(key: str, arguments: Iterable[str]) -> None:
    """Refuse server arguments that take away what deployer must set itself."""
    for argument in arguments:
        option = argument.partition("=")[0]
        if control(argument):
            raise Invalid(key, f"must not hold control characters: {argument!r}")
        if len(argument) > MOST_TEXT:
            raise Invalid(key, f"holds one of {len(argument)} characters, and each may have {MOST_TEXT}")
        if option in SERVER_OPTIONS:
            raise Invalid(key, f"must not hold {option}: deployer sets it{SERVER_OPTIONS[option]}")


def unit_table(key: str, table: Mapping[str, object]) -> None:
    """Refuse names that are no directives, and values that would begin a new line in the unit file."""
    for name, value in table.items():
        if not DIRECTIVE.fullmatch(name):
            raise Invalid(key, 'is not the name of a systemd directive, such as "MemoryMax"', name)
        items = value if isinstance(value, tuple) else (value,)
        if len(items) > MOST_VALUES:
            raise Invalid(key, f"has {len(items)} values, and may have {MOST_VALUES}", name)
        for item in map(str, items):
            if len(item) > MOST_TEXT:
                raise Invalid(key, f"is {len(item)} characters long, and may have {MOST_TEXT}", name)
            if not DIRECTIVE_VALUE.fullmatch(item):
                raise Invalid(key, "must be one line, and not end with a backslash", name)


def memory(key: str, text: str | None) -> None:
    """Refuse more memory than there is anywhere."""
    if (memory_bytes(text) or 0) > MOST_MEMORY:
        raise Invalid(key, f"is more than any host has: {text}")


def memory_bytes(text: str | None) -> int | None:
    """``300M`` in bytes."""
    match = SIZE.fullmatch(text or "")
    return int(match[1]) * 1024 ** " KMGT".index(match[2] or " ") if match else None


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
        if not listens(text):
            raise Invalid(key, f'must be a port such as 80, or an address and a port such as "[::]:80", not {text!r}')


def networks(key: str, addresses: Iterable[str]) -> None:
    """Refuse what is no address or network, and what is everybody."""
    for text in addresses:
        if not is_network(text):
            raise Invalid(key, _no_network(text))
        if not trustworthy(text):
            raise Invalid(key, f"must not hold {text}: then every client could choose the address it seems to have")


def _no_network(text: str) -> str:
    """What is wrong with it; with bits set behind the prefix it is nearly one."""
    message = f'must be an address or a network such as "10.0.0.0/8", not {text!r}'
    try:
        return f"{message}; that lies in {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        return message


def shared(key: str, table: Mapping[str, str]) -> None:
    """Refuse paths that cannot be kept outside the code."""
    for path, place in table.items():
        for text, below in ((path, "of the project"), (place, "below /var/lib/APP, such as media")):
            if not PLAIN_PATH.fullmatch(text.removesuffix("/")) or len(text) > PLAIN_LENGTH:
                raise Invalid(key, f"must name a path {below} (letters, digits, . _ ~ -), not {text!r}", path)
        if place.endswith("/") and not path.endswith("/"):
            raise Invalid(key, f'is a file, and {place!r} a directory: write "{path}/" for a directory', path)
    if len(table) > MOST_SHARED:
        raise Invalid(key, f"must have at most {MOST_SHARED} paths")
    problem = shared_problem(shared_of(table))
    if problem:
        raise Invalid(key, problem[1], problem[0])


def directories(key: str, table: Mapping[str, str], *, below: str) -> None:
    """Refuse prefixes and directories that an nginx file could read as something else."""
    for prefix, directory in table.items():
        if not URL_PREFIX.fullmatch(prefix):
            raise Invalid(key, 'is not a URL prefix such as "/static/"', prefix)
        if not DIRECTORY.fullmatch(directory) or len(directory) > DIRECTORY_LENGTH:
            message = f"must name a directory {below} (letters, digits, . _ ~ -), not {directory!r}"
            raise Invalid(key, message, prefix)
