"""What changes a name that is there already: items, attributes, and methods such as ``append`` and ``insert``."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace

from deployer.project.django.evaluation.expressions import Scope, evaluate
from deployer.project.django.evaluation.operators import iterated
from deployer.project.django.evaluation.values import Symbol, Value, hangs_on

__all__ = ["assign", "changed"]

Items = tuple[Value, ...]


def assign(target: ast.expr, value: Value, scope: Scope) -> None:
    """Give the target of an assignment its value."""
    if isinstance(target, ast.Name):
        scope.names[target.id] = value
    elif isinstance(target, (ast.Tuple, ast.List)):
        items = iterated(value) or ()
        for index, one in enumerate(target.elts):
            assign(one, items[index] if index < len(items) else Value(variables=value.variables), scope)
    elif isinstance(target, ast.Subscript):
        _assign_item(target, value, scope)


def _assign_item(target: ast.Subscript, value: Value, scope: Scope) -> None:
    """``DATABASES["default"]["NAME"] = …``: every table on the way there is made anew."""
    whole, key = evaluate(target.value, scope), evaluate(target.slice, scope).content
    if isinstance(whole.content, Symbol) and whole.content.name == "os.environ" and isinstance(key, str):
        scope.export(key, value)
    elif isinstance(whole.content, dict) and isinstance(key, (str, int)):
        assign(target.value, replace(whole, content={**whole.content, key: value}), scope)
    elif isinstance(whole.content, (dict, tuple)) or whole.variables:
        assign(target.value, replace(whole, partial=True), scope)


def changed(call: ast.Call, scope: Scope) -> bool:
    """Whether the call changed a list or a table in place; the new one is assigned."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in (*_LISTS, "update", "setdefault"):
        return False
    owner = evaluate(call.func.value, scope)
    spread = any(isinstance(one, ast.Starred) for one in call.args)
    given = [evaluate(one, scope) for one in call.args if not isinstance(one, ast.Starred)]
    if isinstance(owner.content, tuple) and call.func.attr in _LISTS:
        new = _LISTS[call.func.attr](owner.content, given)
        partial = owner.partial or new is None or spread
        found = replace(owner, content=owner.content if new is None else new, partial=partial)
        assign(call.func.value, found.on(*given), scope)
        return True
    if isinstance(owner.content, dict) and call.func.attr in ("update", "setdefault"):
        assign(call.func.value, _updated(owner, call, given, scope), scope)
        return True
    return False


def _updated(owner: Value, call: ast.Call, given: list[Value], scope: Scope) -> Value:
    named = {one.arg: evaluate(one.value, scope) for one in call.keywords if one.arg}
    if isinstance(call.func, ast.Attribute) and call.func.attr == "setdefault" and given:
        key = given[0].content
        default = given[1] if len(given) > 1 else Value(content=None)
        return replace(owner, content={key: default, **owner.content}) if isinstance(key, str) else owner
    tables = [one.content for one in given if isinstance(one.content, dict)]
    merged = {key: value for table in (owner.content, *tables, named) for key, value in table.items()}
    partial = owner.partial or len(tables) < len(given)
    return replace(owner, content=merged, partial=partial, variables=hangs_on([owner, *given, *named.values()]))


def _inserted(items: Items, given: list[Value]) -> Items | None:
    if len(given) != 2:
        return None
    at = given[0].content if type(given[0].content) is int else 0
    return (*items[:at], given[1], *items[at:])


def _extended(items: Items, given: list[Value]) -> Items | None:
    more = iterated(given[0]) if given else None
    return None if more is None else items + more


def _removed(items: Items, given: list[Value]) -> Items | None:
    return tuple(one for one in items if not given or one.content != given[0].content)


_LISTS: dict[str, Callable[[Items, list[Value]], Items | None]] = {
    "append": lambda items, given: items + tuple(given[:1]),
    "insert": _inserted,
    "extend": _extended,
    "remove": _removed,
}
