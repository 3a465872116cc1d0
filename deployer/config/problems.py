"""What is wrong with a table, in a person's words: unknown keys, and values that a key does not accept."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from deployer.config.check import Invalid
from deployer.config.declare import keys_of, paths
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

Raw = dict[str, Any]
T = TypeVar("T", bound=Struct)
PLACE = pattern(r" - at `\$(?P<place>.*)`\Z")
STEP = pattern(r"\.(?P<key>[A-Za-z0-9_]+)|\[(?P<index>[0-9]+)\]|\[(?P<any>\.\.\.)\]")
BARE = pattern(r"[A-Za-z0-9_-]+\Z")
REPLACED = {
    "server_name": 'it is called domains now, and makes an HTTPS site; for plain HTTP as before, add tls = "off"',
}
"""Keys that older versions had, and what stands for them."""
LIMIT = 50
SHOWN = 30


@dataclass(frozen=True)
class Problem:
    """A key, as its path from the top of the file (a list's index last: ``[0]``), and what is wrong there."""

    path: tuple[str, ...]
    message: str

    def below(self, *tables: str) -> Problem:
        """The same problem in a table of the file."""
        return Problem(tables + self.path, self.message)

    def __str__(self) -> str:
        dotted = "".join(part if part.startswith("[") else "." + quoted(part) for part in self.path)
        return f"{dotted.removeprefix('.')}: {self.message}"


def understood(raw: Raw, table: type[T]) -> T | None:
    """The table as a struct; None when something is wrong with it, a key that does not exist included.

    Nearly every file is right. To tell what is wrong, each key is looked up in the declarations, which takes longer.
    """
    try:
        return msgspec.convert(raw, table)
    except msgspec.ValidationError:
        return None


def unknown_keys(raw: Raw, table: type[Struct]) -> tuple[Raw, list[Problem]]:
    """The table without the keys that do not exist, and a problem for each of those."""
    keys, known, found = keys_of(table), {}, []
    for name, value in raw.items():
        key = keys.get(name)
        if key is None:
            found.append(Problem((name,), f"there is no such key; {nearest(name, keys, table)}"))
        elif key.table is not None and isinstance(value, dict):
            known[name], below = unknown_keys(value, key.table)
            found += [problem.below(name) for problem in below]
        elif key.each is not None and isinstance(value, dict):
            known[name], below = unknown_in_each(value, key.each)
            found += [problem.below(name) for problem in below]
        else:
            known[name] = value
    return known, found


def unknown_in_each(raw: Raw, table: type[Struct]) -> tuple[Raw, list[Problem]]:
    """As :func:`unknown_keys`, for the tables below free names."""
    known, found = dict(raw), []
    for name, value in raw.items():
        if isinstance(value, dict):
            known[name], below = unknown_keys(value, table)
            found += [problem.below(name) for problem in below]
    return known, found


def nearest(name: str, keys: Iterable[str], table: type[Struct]) -> str:
    """Which key was meant: one of that name in a table below, else one of a like name, else all."""
    if name in REPLACED:
        return REPLACED[name]
    for path in paths(table):
        if len(path) > 1 and path[-1] == name:
            return f"did you mean {'.'.join(path)}?"
    return suggestion(name, keys, "keys here")


def suggestion(name: str, names: Iterable[str], what: str) -> str:
    """The nearest of the names, or all of them as far as they can be taken in."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"did you mean {close[0]}?" if close else f"{what}: {', '.join(names[:SHOWN])}{more}"


def convert(raw: Raw, table: type[T]) -> tuple[T | None, Raw, list[Problem]]:
    """The table as a struct, the table without the values that were refused, and a problem for each."""
    found: list[Problem] = []
    while len(found) < LIMIT:
        try:
            value = msgspec.convert(raw, table)
        except msgspec.ValidationError as error:
            problem = translate(error, raw, table)
            path = problem.path
            if any(path == other.path for other in found):  # a value that must be there: its table goes, too
                path = path[:-1]
            else:
                found.append(problem)
            rest = without(raw, path) if path else raw
            if rest == raw and len(path) < len(problem.path):
                break
            raw = rest
        else:
            return (None if found else value), raw, found
    return None, raw, found


def without(raw: Raw, path: tuple[str, ...]) -> Raw:
    """The table without the value at ``path`` (an index takes its whole list with it)."""
    raw = copy.deepcopy(raw)
    path = tuple(part for part in path if not part.startswith("["))
    table: Any = raw
    for name in path[:-1]:
        table = table.get(name, {}) if isinstance(table, dict) else {}
    if isinstance(table, dict):
        table.pop(path[-1], None)
    return raw


def translate(error: msgspec.ValidationError, raw: Raw, table: type[Struct]) -> Problem:
    """The problem behind the library's error, in our words."""
    path = place(error, raw, table)
    if isinstance(error.__cause__, Invalid):
        return Problem(path + error.__cause__.path, error.__cause__.message)
    missing = re.match(r"Object missing required field `(\w+)`", str(error))
    if missing:
        path = (*path, missing[1])
        return Problem(path, f"is missing; it must be {expected(path, table)[0]}")
    return Problem(path, wording(path, raw, table))


def place(error: msgspec.ValidationError, raw: Raw, table: type[Struct]) -> tuple[str, ...]:
    """The path of the value that was refused; empty when it is the whole table."""
    match = PLACE.search(str(error))
    path: tuple[str, ...] = ()
    for step in STEP.finditer(match["place"] if match else ""):
        path += culprit(raw, path, table) if step["any"] else (step["key"] or f"[{step['index']}]",)
    return path


def culprit(raw: Raw, path: tuple[str, ...], table: type[Struct]) -> tuple[str, ...]:
    """Which key of the free table at ``path`` is refused: msgspec does not say, so each is tried alone."""
    values = at(raw, path)
    for name in values if isinstance(values, dict) else ():
        alone = copy.deepcopy(raw)
        at(alone, path[:-1])[path[-1]] = {name: values[name]}
        try:
            msgspec.convert(alone, table)
        except msgspec.ValidationError as error:
            if "[...]" in str(error):
                return (name,)
    return ()


def at(raw: Any, path: tuple[str, ...]) -> Any:
    """The value at a path; None when there is none."""
    for part in path:
        if isinstance(raw, list) and part.startswith("["):
            raw = raw[int(part[1:-1])]
        else:
            raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def wording(path: tuple[str, ...], raw: Raw, table: type[Struct]) -> str:
    """What the key at ``path`` expects, and what stands there instead."""
    expects, below = expected(path, table)
    if below and expects.startswith("a table of strings"):
        return "must be a string, in quotes"
    told = shown(at(raw, path))
    if path and path[-1].startswith("["):
        return f"{told} is not accepted; the key must be {expects}"
    return f"must be {expects}, not {told}"


def expected(path: tuple[str, ...], table: type[Struct]) -> tuple[str, tuple[str, ...]]:
    """What the last declared key on ``path`` expects, and how the path goes on below it."""
    expects = ""
    while path and (key := keys_of(table).get(path[0])) is not None:
        expects, path = key.expects, path[1:]
        if key.each is not None and path and not path[0].startswith("["):
            expects, path, table = "a table", path[1:], key.each
        elif key.table is not None:
            table = key.table
        else:
            break
    return expects, path


def shown(value: Any) -> str:
    """A value as it would be written in TOML, cut short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an empty list" if not value else "this list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def quoted(key: str) -> str:
    """A key as TOML writes it."""
    return key if BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
