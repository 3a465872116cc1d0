"""What Invoke's parser knows of each task, made for the tasks that it meets on the command line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

from invoke.collection import Collection
from invoke.parser.context import ParserContext

from deployer.cli.fleettask import FleetTask

__all__ = ["contexts_of"]

_OPTIONS = frozenset(("args", "flags", "inverse_flags", "positional_args"))


def contexts_of(tasks: Collection, *, ignore_unknown_help: bool | None = None) -> list[ParserContext]:
    """As ``tasks.to_contexts()``, but the options of our own tasks are made when they are first looked at.

    Invoke makes and copies those of all tasks at each start, which took as long as half of what it imports.
    """

    def context(name: str, aliases: list[str]) -> ParserContext:
        task = tasks[name]

        def whole() -> ParserContext:
            options = task.get_arguments(ignore_unknown_help=ignore_unknown_help)
            return ParserContext(name=name, aliases=aliases, args=options)

        # a task has its help for the first who asks
        return _TaskContext(name, aliases, cache(whole)) if isinstance(task, FleetTask) else whole()

    return [context(name, aliases) for name, aliases in tasks.task_names.items()]


class _TaskContext(ParserContext):
    """A context that has no options yet. A copy has values of its own; what all copies start with is made once."""

    def __init__(self, name: str, aliases: list[str], whole: Callable[[], ParserContext]) -> None:
        self.name: str = name
        self.aliases: list[str] = aliases
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        if name not in _OPTIONS:
            raise AttributeError(name)
        made = copy.deepcopy(self._whole())
        for one in _OPTIONS:
            setattr(self, one, getattr(made, one))
        return getattr(self, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> _TaskContext:
        made = _TaskContext(self.name, self.aliases, self._whole)
        options = {name: value for name, value in vars(self).items() if name in _OPTIONS}
        vars(made).update(copy.deepcopy(options, memo))
        return made

    def __repr__(self) -> str:
        return f"<context of {self.name}>"
