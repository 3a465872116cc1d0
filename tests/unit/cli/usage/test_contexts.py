"""The parser makes the options of the tasks on the command line, and those are as Invoke's."""

from __future__ import annotations

import copy
from typing import Any
from unittest.mock import ANY

import pytest
from fabric import task
from invoke.collection import Collection
from invoke.parser import Parser
from invoke.parser.context import ParserContext

from deployer.__main__ import program
from deployer.cli.fleettask import FleetTask
from deployer.cli.task import HostTask
from deployer.cli.usage.contexts import contexts_of
from deployer.tasks import namespace


def parser() -> Parser:
    return Parser(initial=program().initial_context, contexts=contexts_of(namespace))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose options are made during a test."""
    seen: list[str] = []
    real = HostTask.get_arguments

    def watched(self: HostTask, *args: Any, **kwargs: Any) -> Any:
        seen.append(self.name)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(HostTask, "get_arguments", watched)
    return seen


def test_only_the_tasks_that_are_named_are_looked_at(asked: list[str]) -> None:
    """And each of them once."""
    made = parser()
    made.parse_argv([])
    assert asked == []
    made.parse_argv(["deploy", "--wait", "status"])
    made.parse_argv(["deploy"])
    assert asked == ["deploy", "status"]


def test_each_has_what_invoke_makes_of_it() -> None:
    """Names, aliases, options with their letters, defaults and kinds; and the help, however often it is asked for."""
    for _ in range(2):
        ours = {one.name: one for one in contexts_of(namespace)}
        theirs = {one.name: one for one in namespace.to_contexts()}
        assert list(ours) == list(theirs)
        for name, context in theirs.items():
            assert _shape(ours[name]) == _shape(context)
    assert ("--dirty", ANY) in [(name, text) for name, text in parser().contexts["deploy"].help_tuples() if text]


def _shape(context: ParserContext) -> Any:
    options = [(one.names, one.kind, one.default, one.optional, one.positional) for one in context.args.values()]
    return context.aliases, options, sorted(context.flags), context.inverse_flags, context.positional_args


def test_values_do_not_meet() -> None:
    """A task that is named twice has its own in each place, and none is left for the next line."""
    made = parser()
    _, first, second = made.parse_argv(["logs", "--lines", "5", "logs", "--follow"])
    assert (first.args["lines"].value, second.args["follow"].value) == ("5", True)
    assert first.args["follow"].value is False and second.args["lines"].value != "5"
    assert made.contexts["logs"].args["lines"].value == made.parse_argv(["logs"])[1].args["lines"].value != "5"
    assert copy.deepcopy(first).args["lines"].value == "5" and copy.deepcopy(first).flags["--lines"].value == "5"


def test_a_task_of_the_project_is_looked_at_by_invoke() -> None:
    """At once, as under stock fab: what is wrong with it is told at each start."""

    @task(help={"nothing": "is there"})  # type: ignore[untyped-decorator]
    def theirs(c: Any) -> None: ...

    assert not isinstance(theirs, FleetTask)
    with pytest.raises(ValueError, match="nothing"):
        contexts_of(Collection(theirs))
