"""Settings that are classes: those of django-configurations, and of pydantic-settings, as their libraries read them.

An attribute may be a variable of the environment whose name follows from the attribute's own, so that it is looked up
when the class is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Protocol

from deployer.project.django.evaluation import databases
from deployer.project.django.evaluation.values import UNKNOWN, Raised, Symbol, Value
from deployer.wire.lazydata import dataclass

__all__ = [
    "CONFIGURATIONS",
    "FIELD",
    "Class",
    "Instance",
    "Variable",
    "field_of",
    "instance",
    "kind_of",
    "resolved",
    "variable",
]

CONFIGURATIONS = "DJANGO_CONFIGURATION"
"""The variable that names the class among the settings."""
_TRUE = ("yes", "y", "true", "1", "on", "t")
_FALSE = ("no", "n", "false", "0", "off", "f", "")
_OWN_NAMES = {"DatabaseURLValue": "DATABASE_URL", "CacheURLValue": "CACHE_URL", "EmailURLValue": "EMAIL_URL",
              "SearchURLValue": "SEARCH_URL"}  # fmt: skip
FIELD = ("pydantic.Field", "pydantic.fields.Field")
"""What makes a field with more than a default."""


class Environment(Protocol):
    """The variables that are set."""

    def variable(self, name: str) -> Value | None: ...

    def miss(self, names: list[str]) -> None: ...


class Given(Protocol):
    """The arguments of a call."""

    @property
    def values(self) -> list[Value]: ...

    @property
    def named(self) -> dict[str, Value]: ...

    def get(self, place: int, *names: str) -> Value | None: ...

    def text(self, place: int, *names: str) -> str: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Class:
    """A class of the project. ``kind`` is ``configuration``, ``settings`` or empty; ``names`` are its attributes with
    those of its bases, ``types`` the annotations of its own."""

    kind: str
    names: Mapping[str, Value] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """An object of a class; ``names`` are its attributes."""

    names: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True, eq=False)
class Variable:
    """A value of django-configurations, ``BooleanValue(False)``, or a field of pydantic's. An empty ``name`` is made of
    the attribute's."""

    kind: str
    default: Value
    name: str = ""
    prefix: str = "DJANGO"
    reads: bool = True
    required: bool = False


def kind_of(bases: list[Value]) -> str:
    """What a class with these bases is: of django-configurations, or of pydantic-settings."""
    for base in bases:
        if isinstance(base.content, Class) and base.content.kind:
            return base.content.kind
        name = base.content.name if isinstance(base.content, Symbol) else ""
        if name.startswith("configurations.") and name.endswith("Configuration"):
            return "configuration"
        if name.startswith(("pydantic_settings.", "pydantic.")) and name.endswith("BaseSettings"):
            return "settings"
    return ""


def variable(name: str, given: Given) -> Value | None:
    """A call of one of ``configurations.values``; None for any other."""
    module, _, kind = name.rpartition(".")
    if module != "configurations.values" or not kind.endswith("Value"):
        return None
    prefix = given.named.get("environ_prefix")
    own = _OWN_NAMES.get(kind, "")
    default = given.get(0, "default") or Value(content=None)
    return Value(
        content=Variable(
            kind=kind,
            default=default,
            name=given.text(9, "environ_name") or own,
            prefix="" if own and prefix is None else "DJANGO" if prefix is None else _text(prefix),
            reads=_text(given.named.get("environ")) != "False",
            required=kind == "SecretValue" or _text(given.named.get("environ_required")) == "True",
        ),
        variables=default.variables,
    )


def _text(value: Value | None) -> str:
    return "" if value is None or value.content in (None, UNKNOWN) else str(value.content)


def resolved(attribute: str, value: Value, scope: Environment) -> Value:
    """What an attribute of a configuration is. Raises Raised for a variable that is missing."""
    one = value.content
    if not isinstance(one, Variable):
        return value
    if not one.reads:
        return _of_kind(one.kind, one.default)
    name = "_".join(filter(None, [one.prefix, one.name or attribute.upper()]))
    found = scope.variable(name)
    if found is None and one.required:
        raise Raised([name])
    return _of_kind(one.kind, found if found is not None else one.default).on(Value(variables=(name,)))


def _of_kind(kind: str, value: Value) -> Value:
    content = value.content
    if kind == "DatabaseURLValue":
        table = databases.of_url(value) if isinstance(content, str) else value
        return replace(table, content={"default": table}) if isinstance(table.content, dict) and content else table
    if kind in ("CacheURLValue", "EmailURLValue", "SearchURLValue", "DictValue"):
        return Value(variables=value.variables)
    if kind == "BooleanValue" and isinstance(content, str):
        return replace(value, content=_flag(content))
    if kind in ("ListValue", "TupleValue", "SetValue", "SingleNestedListValue") and isinstance(content, str):
        items = tuple(Value(content=one.strip()) for one in content.split(",") if one.strip())
        return replace(value, content=items)
    return value


def _flag(text: str) -> Any:
    low = text.strip().lower()
    return True if low in _TRUE else False if low in _FALSE else UNKNOWN


def field_of(given: Given) -> Value:
    """A call of pydantic's ``Field``: its default, and the variable that an alias names."""
    default = given.get(0, "default")
    factory = given.named.get("default_factory")
    alias = next((text for one in ("validation_alias", "alias") if (text := _text(given.named.get(one)))), "")
    needed = default is None or default.content is ...
    made = Variable(
        kind="Field", default=Value(content=None) if needed and default is None else default or Value(), name=alias,
        required=needed and factory is None,
    )  # fmt: skip
    return Value(content=replace(made, default=Value()) if factory is not None else made)


def instance(made: Class, given: Given, scope: Environment) -> Value:
    """What an object of a class of pydantic-settings has: each field from its variable, else its default. A list comes
    as JSON. A field without both is missed, and not known."""
    config = made.names.get("model_config")
    table = config.content if config is not None and isinstance(config.content, dict) else {}
    prefix = _text(table.get("env_prefix"))
    found = dict(made.names)
    for attribute, annotation in made.types.items():
        default = made.names.get(attribute)
        one = default.content if default is not None else None
        name = f"{prefix}{attribute}".upper()
        if isinstance(one, Variable):
            default, name = None if one.required else one.default, one.name.upper() or name
        value = given.named.get(attribute) or scope.variable(name)
        if value is None and default is None:
            scope.miss([name])
        typed = _typed(annotation, value, name) if value is not None else default or Value()
        found[attribute] = typed.on(Value(variables=(name,)))
    return Value(content=Instance(names=found))


def _typed(annotation: str, value: Value, name: str) -> Value:
    """A text as pydantic takes it for an annotation. Raises Raised for one that it would refuse."""
    text, kind = value.content, annotation.partition("|")[0].removeprefix("Optional[").strip().partition("[")[0]
    if not isinstance(text, str) or kind == "str":
        return value
    if kind == "bool":
        return replace(value, content=_flag(text))
    if kind == "int":
        return replace(value, content=int(text) if text.strip().isdigit() else UNKNOWN)
    if kind.lower() not in ("list", "tuple", "set", "dict", "sequence"):
        return value
    try:
        parsed = json.loads(text)
    except ValueError:
        raise Raised([name]) from None
    items = tuple(Value(content=one) for one in parsed) if isinstance(parsed, list) else UNKNOWN
    return replace(value, content=items)
