"""What a task returns: an exit code, and how its answer is printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from deployer.errors import Exit

if TYPE_CHECKING:
    from deployer.fleet.results import Answers

__all__ = ["TaskAnswer", "ended_with", "would_do"]


class TaskAnswer(NamedTuple):
    """What a task found out: ``show(json=…)`` prints it when the reporter has gone, ``exit`` ends the process."""

    show: Callable[..., None]
    exit: int = Exit.OK


def ended_with(exit: int) -> TaskAnswer:
    """The answer of a command whose events have already told everything."""

    def show(*, json: bool) -> None:
        pass

    return TaskAnswer(show=show, exit=exit)


def would_do(found: Answers[str]) -> TaskAnswer:
    """What a task would do on each host."""

    def show(*, json: bool) -> None:
        from deployer.ui.answers.plan import show_would

        show_would(found.values, found.missing, json=json)

    return TaskAnswer(show=show, exit=found.exit)
