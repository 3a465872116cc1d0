"""Expressions of a settings module, evaluated for a host: what is not known stays unknown."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from deployer.project.django.evaluation.classes import Class, Instance
from deployer.project.django.evaluation.operators import bare, combined, contains, iterated
from deployer.project.django.evaluation.values import (
    UNKNOWN,
    Function,
    Raised,
    Symbol,
    Value,
    hangs_on,
    truth,
)

__all__ = ["Scope", "evaluate"]

Names = dict[str, Value]
_BUILTINS = ("bool", "int", "str", "float", "list", "tuple", "set", "dict", "len", "any", "all", "sorted", "globals")
_MOST_ITEMS = 500


class Scope(Protocol):
    """Where names are looked up, and what calls do."""

    names: Names
    where: str
    """The working directory."""

    def variable(self, name: str) -> Value | None: ...

    def default(self, name: str) -> None:
        """A variable is not set, and has a default."""

    def export(self, name: str, value: Value) -> None: ...

    def call(self, function: Function, given: list[Value], named: Mapping[str, Value]) -> Value: ...

    def member(self, symbol: Symbol, name: str) -> Value: ...

    def miss(self, names: list[str]) -> None: ...


def evaluate(node: ast.expr, scope: Scope) -> Value:
    """What the expression is worth. Raises Raised where it would raise for a variable that is not set."""
    handler = _HANDLERS.get(type(node))
    return handler(node, scope) if handler else Value()


def _name(node: ast.Name, scope: Scope) -> Value:
    found = scope.names.get(node.id)
    if found is None and node.id in (*_BUILTINS, "os", "sys"):
        return Value(content=Symbol(name=node.id))
    return found or Value()


def _attribute(node: ast.Attribute, scope: Scope) -> Value:
    value = evaluate(node.value, scope)
    content = value.content
    if isinstance(content, Symbol):
        return scope.member(content, node.attr)
    if isinstance(content, (Class, Instance)):
        return content.names.get(node.attr) or Value()
    if isinstance(content, str) and node.attr in _PATH_PARTS:
        return replace(value, content=_PATH_PARTS[node.attr](content))
    if isinstance(content, str) and node.attr == "parents":
        parents, path = [], content
        while (above := posixpath.dirname(path)) != path:
            parents.append(Value(content=above))
            path = above
        return Value(content=tuple(parents), variables=value.variables)
    return Value(variables=value.variables)


_PATH_PARTS: dict[str, Callable[[str], str]] = {
    "parent": posixpath.dirname,
    "name": posixpath.basename,
    "stem": lambda path: posixpath.splitext(posixpath.basename(path))[0],
    "root": lambda path: path,  # environ.Path
}


def _binary(node: ast.BinOp, scope: Scope) -> Value:
    return combined(node.op, evaluate(node.left, scope), evaluate(node.right, scope))


def _boolean(node: ast.BoolOp, scope: Scope) -> Value:
    seen: list[Value] = []
    stops = isinstance(node.op, ast.Or)
    for part in node.values:
        seen.append(evaluate(part, scope))
        if truth(seen[-1]) is stops:
            break
        if truth(seen[-1]) is None:
            return Value(variables=hangs_on(seen))
    return seen[-1].on(*seen)


def _unary(node: ast.UnaryOp, scope: Scope) -> Value:
    value = evaluate(node.operand, scope)
    if isinstance(node.op, ast.Not) and (is_true := truth(value)) is not None:
        return Value(content=not is_true, variables=value.variables)
    if isinstance(node.op, ast.USub) and isinstance(value.content, (int, float)):
        return Value(content=-value.content, variables=value.variables)
    return Value(variables=value.variables)


def _compare(node: ast.Compare, scope: Scope) -> Value:
    left, right = evaluate(node.left, scope), evaluate(node.comparators[0], scope)
    variables = hangs_on([left, right])
    if len(node.ops) > 1 or left.others or right.others:
        return Value(variables=variables)
    operator, found = node.ops[0], None
    if isinstance(operator, (ast.In, ast.NotIn)):
        found = contains(right, left, scope.variable)
        if isinstance(right.content, Symbol) and isinstance(left.content, str):
            variables = (*variables, left.content)
    elif left.known and right.known and not left.partial and not right.partial:
        same = bare(left) == bare(right)
        if isinstance(operator, (ast.Eq, ast.Is, ast.NotEq, ast.IsNot)):
            found = same
    if found is None:
        return Value(variables=variables)
    return Value(content=found is not isinstance(operator, (ast.NotIn, ast.NotEq, ast.IsNot)), variables=variables)


def _conditional(node: ast.IfExp, scope: Scope) -> Value:
    test = evaluate(node.test, scope)
    is_true = truth(test)
    if is_true is not None:
        return evaluate(node.body if is_true else node.orelse, scope).on(test)
    both = evaluate(node.body, scope), evaluate(node.orelse, scope)
    return replace(both[0], others=(*both[0].others, both[1])).on(test, both[1])


def _sequence(node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Value:
    items: list[Value] = []
    partial = False
    for element in node.elts:
        if not isinstance(element, ast.Starred):
            items.append(evaluate(element, scope))
            continue
        value = evaluate(element.value, scope)
        inner = value.content if isinstance(value.content, tuple) else ()
        partial = partial or value.partial or not isinstance(value.content, tuple)
        items += [one.on(value) for one in inner]
    return Value(content=tuple(items), partial=partial, variables=hangs_on(items))


def _table(node: ast.Dict, scope: Scope) -> Value:
    table: dict[Any, Value] = {}
    partial = False
    for key, element in zip(node.keys, node.values, strict=True):
        value = evaluate(element, scope)
        name = evaluate(key, scope).content if key is not None else UNKNOWN
        if key is None and isinstance(value.content, dict):
            table |= value.content
            partial = partial or value.partial
        elif isinstance(name, (str, int)):
            table[name] = value
        else:
            partial = True
    return Value(content=table, partial=partial, variables=hangs_on(table.values()))


def _formatted(node: ast.JoinedStr, scope: Scope) -> Value:
    parts = [evaluate(one.value if isinstance(one, ast.FormattedValue) else one, scope) for one in node.values]
    texts = [part.content for part in parts]
    known = all(isinstance(text, (str, int)) for text in texts)
    return Value(content="".join(map(str, texts)) if known else UNKNOWN, variables=hangs_on(parts))


def _subscript(node: ast.Subscript, scope: Scope) -> Value:
    value, index = evaluate(node.value, scope), evaluate(node.slice, scope)
    content, key = value.content, index.content
    if isinstance(content, Symbol) and content.name == "os.environ" and isinstance(key, str):
        found = scope.variable(key)
        if found is None:
            raise Raised([key])
        return found
    try:
        item = content[key] if _has_items(content, key) else None
    except (KeyError, IndexError, TypeError):
        item = None
    return item.on(value) if isinstance(item, Value) else Value(variables=hangs_on([value, index]))


def _has_items(content: Any, key: Any) -> bool:
    return (isinstance(content, dict) and isinstance(key, (str, int))) or (
        isinstance(content, tuple) and isinstance(key, int)
    )


def _comprehension(node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> Value:
    loop = node.generators[0]
    over = evaluate(loop.iter, scope)
    items = iterated(over)
    if len(node.generators) > 1 or items is None or len(items) > _MOST_ITEMS or not isinstance(loop.target, ast.Name):
        return Value(variables=over.variables)
    before = scope.names.get(loop.target.id)
    found: list[Value] = []
    partial = False
    for item in items:
        scope.names[loop.target.id] = item
        tests = [truth(evaluate(test, scope)) for test in loop.ifs]
        partial = partial or None in tests
        if all(tests):
            found.append(evaluate(node.elt, scope))
    if before is None:
        scope.names.pop(loop.target.id, None)
    else:
        scope.names[loop.target.id] = before
    return Value(content=tuple(found), variables=over.variables, partial=partial)


def _call(node: ast.Call, scope: Scope) -> Value:
    from deployer.project.django.evaluation.calls import called  # the two modules need each other

    return called(node, scope)


def _constant(node: ast.Constant, _: Scope) -> Value:
    return Value(content=node.value)


def _assigned(node: ast.NamedExpr, scope: Scope) -> Value:
    value = evaluate(node.value, scope)
    scope.names[node.target.id] = value
    return value


_HANDLERS: dict[type, Callable[[Any, Scope], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.BinOp: _binary,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Set: _sequence,
    ast.Dict: _table,
    ast.JoinedStr: _formatted,
    ast.Subscript: _subscript,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.Call: _call,
    ast.NamedExpr: _assigned,
}
