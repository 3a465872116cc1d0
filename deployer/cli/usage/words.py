"""Words behind a task that are the values of one of its options: ``fab env.set DEBUG=0 LANG=C``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from invoke.parser.context import ParserContext

__all__ = ["with_options"]


def with_options(
    words: Sequence[str], contexts: dict[str, ParserContext], initial: ParserContext, option_of: Callable[[str], str]
) -> Iterator[str]:
    """The tokens, with the option before each word that belongs to one. ``option_of`` tells it for a task, or "".

    The name of another task ends the words of a task; what stands behind an option that takes a value is its value.
    """
    option, context, value = "", None, False
    for word in words:
        if value or (word.startswith("-") and word != "-"):
            value = not value and _takes_value(word, context, initial)
        elif word in contexts:
            context, option = contexts[word], option_of(word)
        elif option:
            yield option
        yield word


def _takes_value(word: str, context: ParserContext | None, initial: ParserContext) -> bool:
    """Whether the next word is the value of this one."""
    flags: list[Any] = [one.flags[word] for one in (context, initial) if one is not None and word in one.flags]
    return bool(flags) and flags[0].takes_value and not flags[0].optional
