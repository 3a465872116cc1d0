"""Causes of failures, each declared once: for the error, the reference page and the name of its test."""

from __future__ import annotations

from typing import Any

from deployer.wire.advice import Next, Step
from deployer.wire.lazydata import dataclass

__all__ = ["Cause"]


@dataclass(frozen=True)
class Cause:
    """``when`` says what was observed. ``message`` and ``next`` hold ``{names}`` to be filled in."""

    name: str
    when: str
    message: str
    next: Next

    def told(self, **values: Any) -> dict[str, Any]:
        """``message`` and ``next``, filled in, as the errors of both halves take them."""
        return {"message": self.message.format(**values), "next": self.advice(**values)}

    def finding(self, **values: Any) -> tuple[str, str]:
        """``message`` and ``next``, filled in, as ``fab doctor`` shows them: a sentence, and its repair on one line."""
        return self.message.format(**values), "; ".join(map(str, self.advice(**values)))

    def advice(self, **values: Any) -> Next:
        """``next``, filled in. Steps that are empty then are left out."""
        steps = (Step(step.command.format(**values), step.text.format(**values)) for step in self.next)
        return Next(step for step in steps if any(step) and step.text.strip() != "or")
