"""How a key of ``deploy.toml`` is declared: its description, and what it expects in the words of an error message; and
what the declarations of a table say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, cast

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as types

from deployer.wire.lazydata import dataclass


def key(description: str, expects: str, *, beside: type[Struct] | None = None, **constraints: Any) -> Meta:
    """A key's description (for the reference) and what it expects (for the reference and for errors).

    ``beside`` declares the keys with a meaning of their own in a table whose other keys are names.
    """
    return Meta(description=description, extra={"expects": expects, "beside": beside}, **constraints)


def text(pattern: str, length: int = 1024) -> Meta:
    """A constraint on a string: all of it must match, in at most ``length`` characters."""
    return Meta(pattern=rf"^(?:{pattern})\Z", max_length=length)


def whole(description: str, limits: tuple[int, int]) -> Meta:
    """A key that holds a whole number within the limits."""
    low, high = limits
    return key(description, f"a whole number from {low} to {high}", ge=low, le=high)


def seconds(description: str, limits: tuple[float, float], *, above: bool = False) -> Meta:
    """A key that holds seconds within the limits, or (``above``) more than the lower one."""
    low, high = limits
    if above:
        return key(description, f"a number of seconds above {low:g} and up to {high:.0f}", gt=low, le=high)
    return key(description, f"a number of seconds from {low:g} to {high:.0f}", ge=low, le=high)


@dataclass(frozen=True)
class Key:
    """A key of a table: what it is, what it expects, its default, and the table that it holds, if any.

    ``each`` is the kind of table that a table of free names holds, ``beside`` the keys that may stand among them.
    """

    name: str
    description: str
    expects: str
    required: bool
    default: Any
    table: type[Struct] | None
    each: type[Struct] | None = None
    beside: type[Struct] | None = None


@cache
def keys_of(table: type[Struct]) -> Mapping[str, Key]:
    """The keys a table may have."""
    info = types.type_info(table)
    return MappingProxyType({field.encode_name: key_of(field) for field in cast(types.StructType, info).fields})


def key_of(field: types.Field) -> Key:
    """What the schema says about one key."""
    kind, description = field.type, ""
    extra: dict[str, Any] = {}
    while isinstance(kind, types.Metadata):
        description = description or (kind.extra_json_schema or {}).get("description", "")
        extra = extra or kind.extra or {}
        kind = kind.type
    return Key(
        name=field.encode_name,
        description=description,
        expects=extra.get("expects", ""),
        required=field.required,
        default=None if field.default is msgspec.NODEFAULT else field.default,
        table=table_of(kind),
        each=each_of(kind),
        beside=extra.get("beside"),
    )


def table_of(kind: types.Type) -> type[Struct] | None:
    """The table that a key holds, also where it may be left out."""
    if isinstance(kind, types.UnionType):
        kind = next((one for one in kind.types if not isinstance(one, types.NoneType)), kind)
    return kind.cls if isinstance(kind, types.StructType) else None


def each_of(kind: types.Type) -> type[Struct] | None:
    """The kind of table that stands below free names, where it is such a table of tables."""
    for one in kind.types if isinstance(kind, types.UnionType) else (kind,):
        if isinstance(one, types.DictType):
            values = one.value_type.types if isinstance(one.value_type, types.UnionType) else (one.value_type,)
            return next((value.cls for value in values if isinstance(value, types.StructType)), None)
    return None


def paths(table: type[Struct]) -> Iterator[tuple[str, ...]]:
    """The paths of all keys of a table and of its tables."""
    for key in keys_of(table).values():
        yield (key.name,)
        if key.table is not None:
            yield from ((key.name, *path) for path in paths(key.table))
