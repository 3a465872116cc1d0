"""Calls in a settings module: variables of the environment, paths, and what else decides a setting."""

from __future__ import annotations

import ast
import posixpath
from dataclasses import field, replace
from typing import Any

from deployer.project.django.evaluation import classes, databases
from deployer.project.django.evaluation.expressions import Scope, evaluate
from deployer.project.django.evaluation.operators import iterated
from deployer.project.django.evaluation.values import (
    UNKNOWN,
    Function,
    Raised,
    Symbol,
    Value,
    VariableReader,
    hangs_on,
    truth,
)
from deployer.wire.lazydata import dataclass

__all__ = ["called"]

_TRUE = ("true", "on", "ok", "y", "yes", "1", "t")
_NONE = Value(content=None)


@dataclass(frozen=True, kw_only=True)
class Given:
    """The arguments of a call."""

    values: list[Value]
    named: dict[str, Value] = field(default_factory=dict)

    def get(self, place: int, *names: str) -> Value | None:
        """One of them, by its place or else by one of its names."""
        if place < len(self.values):
            return self.values[place]
        return next((self.named[name] for name in names if name in self.named), None)

    def text(self, place: int, *names: str) -> str:
        """The same as text; empty when it is none."""
        found = self.get(place, *names)
        return found.content if found is not None and isinstance(found.content, str) else ""

    @property
    def variables(self) -> tuple[str, ...]:
        return hangs_on([*self.values, *self.named.values()])


def called(node: ast.Call, scope: Scope) -> Value:
    """What the call is worth. Raises Raised where it would for a variable that is not set."""
    given, spread = _given(node, scope)
    if spread is not None:
        return Value(variables=(*given.variables, *spread.variables))
    if isinstance(node.func, ast.Attribute):
        owner = evaluate(node.func.value, scope)
        if not isinstance(owner.content, Symbol):
            return _method(owner, node.func.attr, given, scope)
    function = evaluate(node.func, scope).content
    if isinstance(function, Symbol):
        return _outside(function.name, given, scope)
    if isinstance(function, VariableReader):
        return _of_reader(function, "", given, scope)
    if isinstance(function, classes.Class):
        return classes.instance(function, given, scope) if function.kind == "settings" else Value()
    if isinstance(function, Function):
        return scope.call(function, given.values, given.named)
    if isinstance(function, str):  # environ.Path: root("static")
        return _joined(Value(content=function), given)
    return Value(variables=given.variables)


def _given(node: ast.Call, scope: Scope) -> tuple[Given, Value | None]:
    """The arguments, and what of ``*args`` or ``**more`` is not known: then nothing of the call is."""
    values: list[Value] = []
    named: dict[str, Value] = {}
    spread: Value | None = None
    for one in node.args:
        value = evaluate(one.value if isinstance(one, ast.Starred) else one, scope)
        items = iterated(value) if isinstance(one, ast.Starred) else (value,)
        values += items or ()
        spread = value if items is None else spread
    for keyword in node.keywords:
        value = evaluate(keyword.value, scope)
        if keyword.arg:
            named[keyword.arg] = value
        elif isinstance(value.content, dict) and not value.partial:
            named |= {str(name): item for name, item in value.content.items()}
        else:
            spread = value
    return Given(values=values, named=named), spread


def _method(owner: Value, name: str, given: Given, scope: Scope) -> Value:
    content = owner.content
    if isinstance(content, VariableReader):
        return _of_reader(content, name, given, scope)
    if isinstance(content, dict) and name == "get":
        found = content.get(given.get(0).content if given.values else None)  # type: ignore[union-attr]
        return (found or given.get(1) or _NONE).on(owner)
    if name == "copy" or (isinstance(content, (dict, tuple)) and name in ("items", "keys", "values")):
        return owner if name == "copy" else _listed(owner, name)
    if isinstance(content, str):
        return _of_text(owner, content, name, given)
    return Value(variables=hangs_on([owner, *given.values]))


def _listed(owner: Value, name: str) -> Value:
    if not isinstance(owner.content, dict):
        return Value(variables=owner.variables)
    pairs = [(Value(content=key), value) for key, value in owner.content.items()]
    found = {"keys": [key for key, _ in pairs], "values": [value for _, value in pairs]}
    items = found.get(name, [Value(content=pair) for pair in pairs])
    return Value(content=tuple(items), variables=owner.variables, partial=owner.partial)


def _of_text(owner: Value, text: str, name: str, given: Given) -> Value:
    """A method of a string, or of a path."""
    if name in ("joinpath", "path"):
        return _joined(owner, given)
    if name in _SAME_PATH:
        return owner
    if name == "join" and given.values:
        items = iterated(given.values[0])
        known = items is not None and all(isinstance(one.content, str) for one in items)
        content: Any = text.join(one.content for one in items or ()) if known else UNKNOWN
        return Value(content=content, variables=hangs_on([owner, *given.values]))
    plain = [one.content for one in given.values]
    if name not in _TEXT_METHODS or any(not isinstance(one, (str, int, tuple, type(None))) for one in plain):
        return Value(variables=hangs_on([owner, *given.values]))
    try:
        found = getattr(text, name)(*plain)
    except (TypeError, ValueError, IndexError, KeyError):
        return Value(variables=owner.variables)
    found = tuple(Value(content=one) for one in found) if isinstance(found, list) else found
    return Value(content=found, variables=hangs_on([owner, *given.values]))


_SAME_PATH = ("resolve", "absolute", "as_posix", "expanduser", "__str__", "encode", "decode")
_TEXT_METHODS = (
    "split", "rsplit", "strip", "lstrip", "rstrip", "lower", "upper", "title", "replace", "format", "startswith",
    "endswith", "removeprefix", "removesuffix", "splitlines", "isdigit",
)  # fmt: skip


def _joined(owner: Value, given: Given) -> Value:
    parts = [owner, *given.values]
    if not all(isinstance(part.content, str) for part in parts):
        return Value(variables=hangs_on(parts))
    return Value(
        content=posixpath.normpath(posixpath.join(*(part.content for part in parts))), variables=hangs_on(parts)
    )


def _outside(name: str, given: Given, scope: Scope) -> Value:
    """A call of something outside the project, by its full name."""
    if (found := classes.variable(name, given)) is not None:
        return found
    if name in classes.FIELD:
        return classes.field_of(given)
    if name in ("pydantic_settings.SettingsConfigDict", "dict"):
        return Value(content=given.named) if given.named else Value(variables=given.variables)
    if name in _GETTERS:
        return _read(scope, given.text(0, "key"), given.get(1, "default", "failobj") or _NONE)
    if name == "os.environ.setdefault":
        value = _read(scope, given.text(0), given.get(1) or _NONE)
        scope.export(given.text(0), value)
        return value
    if name == "decouple.config":
        return _of_decouple(given, scope)
    if name in ("decouple.AutoConfig", "decouple.Config"):
        return Value(content=Symbol(name="decouple.config"))
    if name in ("environ.Env", "environs.Env", "environ.FileAwareEnv", "environs.FileAwareEnv"):
        return Value(content=VariableReader(scheme=_scheme(given)))
    if name.startswith("dj_database_url."):
        return _of_database_url(name.rpartition(".")[2], given, scope)
    if name in _JOINS:
        return _joined(given.values[0], Given(values=given.values[1:])) if given.values else Value()
    if name in ("os.getcwd", "pathlib.Path.cwd"):
        return Value(content=scope.where)
    if name in _PATHS:
        return given.values[0] if given.values else Value()
    if name == "os.path.dirname" and isinstance(given.get(0), Value):
        path = given.values[0]
        return replace(path, content=posixpath.dirname(path.content)) if isinstance(path.content, str) else path
    return _cast_by(name, given.get(0), given, builtin=name == "bool")


_GETTERS = ("os.environ.get", "os.getenv")
_JOINS = ("os.path.join", "environ.Path", "pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath")
_PATHS = ("os.path.abspath", "os.path.realpath", "os.path.normpath", "os.path.expanduser", "os.fspath", "str", "repr",
          "typing.cast", "django.utils.encoding.force_str")  # fmt: skip


def _scheme(given: Given) -> dict[str, tuple[Value, Value]]:
    """``Env(DEBUG=(bool, False))``: the cast and the default of each variable."""
    pairs = {name: value.content for name, value in given.named.items()}
    return {name: (pair[0], pair[1]) for name, pair in pairs.items() if isinstance(pair, tuple) and len(pair) == 2}


def _read(scope: Scope, name: str, default: Value | None) -> Value:
    """A variable, or its default. Raises Raised when it is not set and has no default."""
    if not name:
        return Value()
    found = scope.variable(name)
    if found is None and default is None:
        raise Raised([name])
    if found is None and default is not None and default.content is not None:
        scope.default(name)
    value = found if found is not None else default or _NONE
    return value.on(Value(variables=(name,)))


def _of_decouple(given: Given, scope: Scope) -> Value:
    value = _read(scope, given.text(0, "option", "key"), given.get(1, "default"))
    cast = given.get(2, "cast")
    return value if cast is None else _cast(value, cast)


def _of_reader(reader: VariableReader, method: str, given: Given, scope: Scope) -> Value:
    """``env("DEBUG")``, ``env.bool("DEBUG", default=False)`` and the like."""
    if method in ("read_env", "read_envfile", "seal", "prefixed"):
        return Value()
    kind = "url" if "db" in method else method
    name = given.text(0, "var", "name") or {"db": "DATABASE_URL", "db_url": "DATABASE_URL", "cache": "CACHE_URL",
            "cache_url": "CACHE_URL", "email": "EMAIL_URL", "email_url": "EMAIL_URL"}.get(method, "")  # fmt: skip
    casts = method == "" and isinstance(given.get(1) and given.values[1].content, Symbol)  # env("DEBUG", bool, False)
    default = given.get(2 if casts else 1, "default")
    cast = given.values[1] if casts else given.named.get("cast")
    if name in reader.scheme:
        known, fallback = reader.scheme[name]
        cast, default = cast or known, default or fallback
    value = _read(scope, name, default)
    if kind == "url":
        return databases.of_url(value) if isinstance(value.content, str) else value
    if "cache" in method or "email" in method:
        return Value(variables=value.variables)
    return _cast(value, cast) if cast is not None else _cast_by(kind, value, given)


def _of_database_url(function: str, given: Given, scope: Scope) -> Value:
    if function == "parse":
        return databases.of_url(given.get(0, "url") or Value())
    name = given.text(0, "env") or "DATABASE_URL"
    return databases.of_url(_read(scope, name, given.get(1, "default") or Value(content="")))


def _cast(value: Value, cast: Value) -> Value:
    name = cast.content.name if isinstance(cast.content, Symbol) else ""
    if cast.content is UNKNOWN and not name:
        name = "list" if isinstance(value.content, str) and "," in value.content else ""
    return _cast_by(name, value, Given(values=[]))


def _cast_by(name: str, value: Value | None, given: Given, *, builtin: bool = False) -> Value:
    """A value of another type, by the name of the type or of the function that makes it."""
    last = name.rpartition(".")[2].lower()
    if value is None:
        return Value(content=Symbol(name="decouple.Csv")) if last == "csv" else Value(variables=given.variables)
    content = value.content
    if last in ("bool", "boolean", "strtobool", "str_to_bool", "str2bool"):
        return _boolean(value, of_environment=not builtin)
    if last in ("list", "csv", "tuple", "set", "sorted"):
        if isinstance(content, str) and last != "sorted":
            parts = [Value(content=one.strip()) for one in content.split(",") if one.strip()]
            return Value(content=tuple(parts), variables=value.variables)
        return value
    if last in ("int", "float") and isinstance(content, str):
        return replace(value, content=int(content) if content.strip().isdigit() else UNKNOWN)
    if last in ("", "str", "path", "int", "float", "url", "dict"):
        return value
    return Value(variables=hangs_on([value, *given.values, *given.named.values()]))


def _boolean(value: Value, *, of_environment: bool) -> Value:
    if isinstance(value.content, str) and of_environment:
        return replace(value, content=value.content.strip().lower() in _TRUE)
    is_true = truth(value)
    return replace(value, content=UNKNOWN if is_true is None else is_true, partial=False)
