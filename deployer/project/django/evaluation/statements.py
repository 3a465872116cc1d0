"""The statements of a module, followed as Python would on a host: imports, branches, loops, functions."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from deployer.project.django.evaluation import classes
from deployer.project.django.evaluation.changes import assign, changed
from deployer.project.django.evaluation.expressions import Names, evaluate
from deployer.project.django.evaluation.modules import TextFiles, module_path, relative_to
from deployer.project.django.evaluation.operators import combined, iterated
from deployer.project.django.evaluation.values import Function, Raised, Symbol, Value, merged, truth

__all__ = ["DEEPEST", "Frame"]

DEEPEST = 30
"""Modules and calls in one another."""
_MOST_STATEMENTS = 20_000
_MOST_ROUNDS = 100


class Program(Protocol):
    """The modules that were read, what is set, and how much has been done."""

    files: TextFiles
    environment: dict[str, Value]
    where: str
    required: list[str]
    asked: set[str]
    unseen: list[str]
    defaulted: set[str]
    depth: int
    statements: int

    def module(self, name: str) -> Names: ...


class _Returned(Exception):
    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


class Frame:
    """A module, or a call of a function, that is being followed: its names, and the program that it belongs to."""

    def __init__(self, program: Program, names: Names, module: str, path: str, *, inner: bool = False) -> None:
        self.program = program
        self.names = names
        self.where = program.where
        self.module = module
        self.path = path
        self.inner = inner

    def variable(self, name: str) -> Value | None:
        self.program.asked.add(name)
        return self.program.environment.get(name)

    def default(self, name: str) -> None:
        self.program.defaulted.add(name)

    def export(self, name: str, value: Value) -> None:
        self.program.environment[name] = value

    def miss(self, names: list[str]) -> None:
        self.program.required += names

    def member(self, symbol: Symbol, name: str) -> Value:
        if symbol.name == "sys" and name == "argv":
            return Value(content=(Value(content="gunicorn"),))
        full = f"{symbol.name}.{name}"
        if module_path(self.program.files, symbol.name) is not None:
            found = self.program.module(symbol.name).get(name)
            return found or Value(content=Symbol(name=full))
        return Value(content=Symbol(name=full))

    def call(self, function: Function, given: list[Value], named: Mapping[str, Value]) -> Value:
        """What a function of the project returns."""
        if self.program.depth >= DEEPEST:
            return Value()
        parameters = function.node.args
        names = [one.arg for one in (*parameters.posonlyargs, *parameters.args)]
        defaults = dict(zip(reversed(names), reversed(parameters.defaults), strict=False))
        defaults |= {
            one.arg: node for one, node in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True) if node
        }
        local = {**function.names, **{name: evaluate(node, self) for name, node in defaults.items()}}
        local |= {**dict(zip(names, given, strict=False)), **named}
        if parameters.vararg is not None:
            local[parameters.vararg.arg] = Value(content=tuple(given[len(names) :]))
        if parameters.kwarg is not None:
            others = {name: value for name, value in named.items() if name not in (*names, *defaults)}
            local[parameters.kwarg.arg] = Value(content=others)
        frame = Frame(self.program, local, function.module, self.path, inner=True)
        self.program.depth += 1
        try:
            frame.run(function.node.body)
        except _Returned as returned:
            return returned.value
        finally:
            self.program.depth -= 1
        return Value(content=None)

    def run(self, body: Sequence[ast.stmt], *, guarded: bool = False) -> None:
        """Follow the statements. Raises Raised in a function and where a ``try`` is around; else notes what misses."""
        for statement in body:
            self.program.statements += 1
            if self.program.statements > _MOST_STATEMENTS:
                return
            try:
                self._follow(statement, guarded or self.inner)
            except Raised as raised:
                if guarded or self.inner:
                    raise
                self.program.required += raised.variables
                _unknown(statement, self.names, raised)
            except RecursionError:
                return

    def _follow(self, statement: ast.stmt, guarded: bool) -> None:
        method = getattr(self, f"_{type(statement).__name__.lower()}", None)
        if method is not None:
            method(statement, guarded)

    def _assign(self, node: ast.Assign, _: bool) -> None:
        value = evaluate(node.value, self)
        for target in node.targets:
            assign(target, value, self)

    def _annassign(self, node: ast.AnnAssign, _: bool) -> None:
        if node.value is not None:
            assign(node.target, evaluate(node.value, self), self)

    def _augassign(self, node: ast.AugAssign, _: bool) -> None:
        assign(node.target, combined(node.op, evaluate(node.target, self), evaluate(node.value, self)), self)

    def _expr(self, node: ast.Expr, _: bool) -> None:
        if isinstance(node.value, ast.Call) and not changed(node.value, self):
            evaluate(node.value, self)

    def _if(self, node: ast.If, guarded: bool) -> None:
        test = evaluate(node.test, self)
        is_true = truth(test)
        if is_true is not None:
            self._taken(node.body if is_true else node.orelse, test, guarded)
            return
        before = dict(self.names)
        self.run(node.body, guarded=guarded)
        first, self_names = dict(self.names), self.names
        self_names.clear()
        self_names.update(before)
        self.run(node.orelse, guarded=guarded)
        for name in {**first, **self_names}:
            value = merged(first.get(name), self_names.get(name))
            if value is not None:
                self_names[name] = value

    def _taken(self, body: Sequence[ast.stmt], test: Value, guarded: bool) -> None:
        """One branch: what it assigns is decided by the test. Where it raises, what decided for it is missing."""
        if any(isinstance(one, ast.Raise) for one in body) and test.variables:
            missing = [name for name in test.variables if name not in self.program.defaulted]
            raise Raised(missing or test.variables)
        before = dict(self.names) if test.variables else self.names
        try:
            self.run(body, guarded=guarded)
        except _Returned as returned:
            raise _Returned(returned.value.on(test)) from None
        if test.variables:
            changes = {name: value for name, value in self.names.items() if before.get(name) is not value}
            self.names.update({name: value.on(test) for name, value in changes.items()})

    def _raise(self, _: ast.Raise, guarded: bool) -> None:
        if self.inner or guarded:
            raise Raised()

    def _return(self, node: ast.Return, _: bool) -> None:
        raise _Returned(evaluate(node.value, self) if node.value is not None else Value(content=None))

    def _try(self, node: ast.Try, guarded: bool) -> None:
        try:
            self.run(node.body, guarded=True)
            self.run(node.orelse, guarded=guarded)
        except Raised as raised:
            if not node.handlers:
                raise
            handler = next((one for one in node.handlers if raised.of_import == _of_import(one)), node.handlers[-1])
            try:
                self._taken(handler.body, Value(variables=raised.variables), guarded)
            except Raised as again:
                raise Raised(again.variables or raised.variables) from None
        self.run(node.finalbody, guarded=guarded)

    def _for(self, node: ast.For, guarded: bool) -> None:
        items = iterated(evaluate(node.iter, self))
        for item in (items or ())[:_MOST_ROUNDS]:
            assign(node.target, item, self)
            self.run(node.body, guarded=guarded)

    def _with(self, node: ast.With, guarded: bool) -> None:
        self.run(node.body, guarded=guarded)

    def _functiondef(self, node: ast.FunctionDef, _: bool) -> None:
        self.names[node.name] = Value(content=Function(node=node, names=self.names, module=self.module))

    def _classdef(self, node: ast.ClassDef, _: bool) -> None:
        """The attributes of a class, after those of its bases; those of its module can be read in it."""
        bases = [evaluate(one, self) for one in node.bases]
        known = [one.content for one in bases if isinstance(one.content, classes.Class)]
        body = Frame(self.program, dict(self.names), self.module, self.path)
        body.run(node.body)
        own = {name: value for name, value in body.names.items() if self.names.get(name) is not value}
        own |= {one.name: Value() for one in node.body if isinstance(one, ast.FunctionDef)}
        types = {
            one.target.id: ast.unparse(one.annotation)
            for one in node.body
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        }
        made = classes.Class(
            kind=classes.kind_of(bases),
            names={**{name: value for one in reversed(known) for name, value in one.names.items()}, **own},
            types={**{name: text for one in reversed(known) for name, text in one.types.items()}, **types},
        )
        self.names[node.name] = Value(content=made)

    def _import(self, node: ast.Import, guarded: bool) -> None:
        for one in node.names:
            self._refuse_missing(one.name, guarded)
            name = one.name if one.asname else one.name.partition(".")[0]
            self.names[one.asname or name] = Value(content=Symbol(name=name))

    def _importfrom(self, node: ast.ImportFrom, guarded: bool) -> None:
        module = relative_to(self.module, self.path, node.level, node.module or "")
        found = self.program.module(module) if module_path(self.program.files, module) is not None else None
        if found is None and node.level:
            self._refuse_missing(module, guarded, certain=True)
        for one in node.names:
            if one.name == "*":
                outside = not node.level and module.partition(".")[0] != self.module.partition(".")[0]
                self.program.unseen += [module] if found is None and outside else []
                self.names.update({name: value for name, value in (found or {}).items() if not name.startswith("_")})
                continue
            full = f"{module}.{one.name}"
            value = (found or {}).get(one.name)
            self.names[one.asname or one.name] = value or Value(content=Symbol(name=full))

    def _refuse_missing(self, module: str, guarded: bool, *, certain: bool = False) -> None:
        """Raises Raised for a module of the project that is not there, where that is provided for by a ``try``."""
        own = module.partition(".")[0] == self.module.partition(".")[0] or "local" in module
        if guarded and (certain or own) and module_path(self.program.files, module) is None:
            raise Raised(of_import=True)


def _of_import(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and any(
        "Import" in getattr(one, "id", "") or "ModuleNotFound" in getattr(one, "id", "")
        for one in ast.walk(handler.type)
    )


def _unknown(statement: ast.stmt, names: Names, raised: Raised) -> None:
    """What the statement would have assigned is not known, but for what decides it."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    for target in targets:
        if isinstance(target, ast.Name):
            before = names.get(target.id) or Value()
            names[target.id] = (
                replace(before, partial=True, variables=(*before.variables, *raised.variables))
                if (isinstance(statement, ast.AugAssign))
                else Value(variables=raised.variables)
            )
