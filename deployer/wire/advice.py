"""What to do next, as a value: steps, each a command to type or something to do by hand. Used by both halves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Union

__all__ = ["NOTHING", "Advice", "Next", "Step", "do", "run"]

# Patterns are compiled when one is first needed: every `fab` imports this module.
_TYPED = r"(?:fab|deployer|git|ssh|ssh-[a-z]+|uv|apt-get|pip|pipx|sudo|journalctl) "
"""How a command begins where advice comes as text."""
_OURS = r"(?:(?:fab|deployer) [\w@.:/=, -]+|git status --ignored)"
"""The commands that a host may advise: they start only what the reader has installed."""
_LOOKS_TYPED = r"\S+ +-|\S*/|(?:sudo|doas|rm|curl|wget|sh|bash|dd|chmod|chown|eval|exec|python3?|perl) "
"""How text begins that is no sentence but a command."""
_WHY = r"(?s)   \((?P<why>.*)\)\Z"


class Step(NamedTuple):
    """``command`` can be typed as it stands; ``text`` says why, or, without a command, what to do by hand."""

    command: str
    text: str

    def __str__(self) -> str:
        if self.command and self.text:
            return f"{self.command}   ({self.text})"
        return self.command or self.text


class Next(tuple[Step, ...]):
    """What to do now, the best step first. False when there is nothing to say; as text one line for each step."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Any) -> Next:
        """``value`` as it came: a Next, the pairs of one, or text. What is none of these says nothing."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(_read(line) for line in value.splitlines() if line.strip())
        pairs = value if isinstance(value, (list, tuple)) else ()
        return cls(Step(*map(str, pair)) for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2)

    @classmethod
    def told(cls, message: Mapping[str, Any]) -> Next:
        """The advice of an event: in ``steps``, or in ``next`` alone from an older half.

        Without a message there is none. A host may be compromised: only commands of ours become commands to type, the
        rest is shown as what the host says.
        """
        if not str(message.get("message") or "").strip():
            return NOTHING
        return cls(map(_trusted, cls.of(message["steps"] if "steps" in message else message.get("next"))))

    def fields(self) -> dict[str, Any]:
        """``next`` as text and ``steps`` as pairs: how an event carries it to the other half."""
        return {"next": str(self), "steps": [list(step) for step in self]}

    @property
    def commands(self) -> tuple[str, ...]:
        """All that can be typed as it stands."""
        return tuple(step.command for step in self if step.command)

    def change(self, edit: Callable[[str], str]) -> Next:
        """The same steps with each command, and each that a text names, changed by ``edit``."""
        return Next(Step(edit(step.command), step.text if step.command else edit(step.text)) for step in self)

    def __add__(self, other: object) -> Next:
        return Next((*self, *Next.of(other)))

    def __str__(self) -> str:
        return "\n".join(map(str, self))


Advice = Union[Next, str]
"""What errors take."""
NOTHING = Next()


def run(command: str, why: str = "") -> Next:
    """A command to type; ``why`` says what it does."""
    return Next((Step(command, why),))


def do(text: str) -> Next:
    """Something to do by hand."""
    return Next((Step("", text),))


def _trusted(step: Step) -> Step:
    """A step that a host advises, as it may be shown."""
    foreign = not re.fullmatch(_OURS, step.command) if step.command else bool(re.match(_LOOKS_TYPED, step.text))
    return Step("", f"the host says: {step}") if foreign else step


def _read(line: str) -> Step:
    """One line of text: a command (with its reason in brackets) where it begins as one, else something to do."""
    found = re.search(_WHY, line)
    command, why = (line[: found.start()], found["why"]) if found else (line, "")
    if re.match(_TYPED, command) and not re.search(r", (?:or|then|and) ", command):
        return Step(command, why)
    return Step("", line)
