"""What an error of either half has: it is made once, and says what failed, the state of things, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployer.wire.advice import Next

__all__ = ["ExplainedError"]


class ExplainedError(Exception):
    """Base of the errors that are meant for a person.

    ``message`` says what failed, ``state`` what state the host or the fleet is in, ``next`` what to do now, ``logs``
    are the last lines of the process that failed. Each is set once: who wants another text makes another error. What
    Python itself keeps on an exception (``__traceback__``, ``__notes__``) can be set.
    """

    message: str
    state: str
    next: Next
    logs: Sequence[str]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ and not name.startswith("__"):
            raise AttributeError(f"{type(self).__name__}.{name} is set once")
        super().__setattr__(name, value)

    def __str__(self) -> str:
        return self.message
