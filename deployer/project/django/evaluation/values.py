"""What an expression of a settings module is worth on a host, as far as reading tells."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import Any, Final

from deployer.wire.lazydata import dataclass

__all__ = [
    "CODE",
    "STATE",
    "UNKNOWN",
    "Function",
    "Raised",
    "Symbol",
    "Unknown",
    "Value",
    "VariableReader",
    "hangs_on",
    "merged",
    "plain",
    "truth",
]

CODE = "/\ue000code"
"""Stands for the directory of the project: a path as any other, with a name that no host has."""
STATE = "/\ue000state"
"""Stands for the directory that the app may write, STATE_DIRECTORY."""


class Unknown(enum.Enum):
    UNKNOWN = enum.auto()


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """Something of a module outside the project, by its full name: ``os.environ``."""

    name: str


@dataclass(frozen=True, kw_only=True)
class VariableReader:
    """An ``Env()`` of django-environ or environs. ``scheme`` has the default of each variable that has one there."""

    scheme: Mapping[str, tuple[Value, Value]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Function:
    """A function of the project; ``names`` is what its module has assigned."""

    node: ast.FunctionDef
    names: dict[str, Value]
    module: str


@dataclass(frozen=True, kw_only=True)
class Value:
    """``content`` is a string, a number, None, a tuple of values, a dict of them, one of the classes above, or UNKNOWN.

    A path is a string, below CODE where it is one of the project. ``variables`` of the environment decide it; with
    ``partial`` a tuple or dict has more than is known; ``others`` are what it may be instead.
    """

    content: Any = UNKNOWN
    variables: tuple[str, ...] = ()
    partial: bool = False
    others: tuple[Value, ...] = ()

    @property
    def known(self) -> bool:
        return self.content is not UNKNOWN

    @property
    def alternatives(self) -> Iterator[Value]:
        """All that it may be, each by itself."""
        yield replace(self, others=())
        yield from self.others

    def on(self, *values: Value) -> Value:
        """The same, decided by what decides those values, too."""
        return replace(self, variables=hangs_on([self, *values]))


class Raised(Exception):
    """The settings would raise here: ``variables`` are those that are missing; ``of_import`` a module is."""

    def __init__(self, variables: Iterable[str] = (), *, of_import: bool = False) -> None:
        super().__init__()
        self.variables = tuple(variables)
        self.of_import = of_import


def hangs_on(values: Iterable[Value]) -> tuple[str, ...]:
    """The variables that decide any of the values."""
    return tuple(dict.fromkeys(name for value in values for name in value.variables))


def merged(first: Value | None, second: Value | None) -> Value | None:
    """What a name is worth that two branches leave with different values: either."""
    if first is None or second is None or first == second:
        return first or second
    return replace(first, others=(*first.others, replace(second, others=()), *second.others))


_PLAIN = (str, int, float, tuple, dict, bytes, type(None))


def truth(value: Value) -> bool | None:
    """Whether the value is true; None when that is not known."""
    if not value.known or value.others or not isinstance(value.content, _PLAIN):
        return None
    return True if value.partial else bool(value.content)


def plain(value: Value) -> Any:
    """The value without what decides it; unknown parts of a tuple or dict are left out."""
    content = value.content
    if isinstance(content, tuple):
        return [plain(one) for one in content if one.known]
    if isinstance(content, dict):
        return {name: plain(one) for name, one in content.items() if one.known}
    return content
