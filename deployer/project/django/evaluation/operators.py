"""Operators of Python, on values that may be known in part."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deployer.project.django.evaluation.values import Symbol, Value, hangs_on

__all__ = ["bare", "combined", "contains", "iterated"]

_MOST_ITEMS = 500


def iterated(value: Value) -> tuple[Value, ...] | None:
    """What a loop over the value gets; None when that is not known."""
    content = value.content
    if isinstance(content, tuple) and not value.partial:
        return content
    if isinstance(content, dict) and not value.partial:
        return tuple(Value(content=key) for key in content)
    return None


def combined(operator: ast.operator, left: Value, right: Value) -> Value:
    """``left OPERATOR right``. Of lists that are known in part, what is known."""
    first, second = left.content, right.content
    variables = hangs_on([left, right])
    if isinstance(operator, ast.Add) and (isinstance(first, tuple) or isinstance(second, tuple)):
        parts = [one if isinstance(one, tuple) else () for one in (first, second)]
        partial = left.partial or right.partial or not (isinstance(first, tuple) and isinstance(second, tuple))
        return Value(content=parts[0] + parts[1], variables=variables, partial=partial)
    if isinstance(operator, ast.BitOr) and isinstance(first, dict) and isinstance(second, dict):
        return Value(content={**first, **second}, variables=variables, partial=left.partial or right.partial)
    if isinstance(first, str) and isinstance(second, str) and isinstance(operator, (ast.Add, ast.Div)):
        text = first + second if isinstance(operator, ast.Add) else posixpath.join(first, second)
        return Value(content=text, variables=variables)
    if isinstance(operator, ast.Sub) and isinstance(first, str) and isinstance(second, int):
        for _ in range(min(second, _MOST_ITEMS)):
            first = posixpath.dirname(first)
        return Value(content=first, variables=variables)
    if isinstance(operator, ast.Mod) and isinstance(first, str) and isinstance(second, (str, int)):
        return Value(content=first.replace("%s", str(second), 1), variables=variables)
    if type(first) is int and type(second) is int and type(operator) in _NUMBERS:
        return Value(content=_NUMBERS[type(operator)](first, second), variables=variables)
    return Value(variables=variables)


_NUMBERS: dict[type, Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b if abs(a) < 1 << 40 and abs(b) < 1 << 40 else 0,
}


def contains(whole: Value, part: Value, variable: Callable[[str], Value | None]) -> bool | None:
    """``part in whole``; None when that is not known. ``variable`` looks into the environment."""
    if isinstance(whole.content, Symbol) and whole.content.name == "os.environ" and isinstance(part.content, str):
        return variable(part.content) is not None
    if not part.known or not whole.known:
        return None
    if isinstance(whole.content, str) and isinstance(part.content, str):
        return part.content in whole.content
    if isinstance(whole.content, (tuple, dict)):
        found = any(one.content == part.content for one in (iterated(replace(whole, partial=False)) or ()))
        return found or (None if whole.partial else False)
    return None


def bare(value: Value) -> Any:
    """The value without what decides it, to be compared."""
    content = value.content
    return tuple(map(bare, content)) if isinstance(content, tuple) else content
