"""What a function of the host program does, in its order: its steps are noted, and each can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def nothing(*_: Any, **__: Any) -> None:
    return None


class Steps:
    """``done`` are the steps so far, as text. Whatever begins with a key of ``errors`` fails like that; ``answers`` are
    what a step returns instead of what it does."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.ctx: Any = None
        self.done: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.answers: dict[str, Any] = {}

    def put(self, module: Any, name: str, told: Callable[..., str], does: Callable[..., Any] = nothing) -> None:
        """Stands in for a function that is given the context first."""
        self.patch.setattr(module, name, self.step(told, does, given=1))

    def step(self, told: Callable[..., str], does: Callable[..., Any] = nothing, given: int = 0) -> Callable[..., Any]:
        """A function that notes what it is asked for, without its first ``given`` arguments, and does it or fails."""

        def taken(*arguments: Any, **named: Any) -> Any:
            rest = arguments[given:]
            assert all(one is self.ctx for one in arguments[:given])
            text = told(*rest, **named)
            self.done.append(text)
            for begins, error in self.errors.items():
                if text.startswith(begins):
                    raise error
            return self.answers[text] if text in self.answers else does(*rest, **named)

        return taken

    def emit(self, name: str, **fields: Any) -> None:
        """The context's: told in the order of the steps."""
        self.done.append(f"{name}: {', '.join(f'{key} {value}' for key, value in fields.items())}")
