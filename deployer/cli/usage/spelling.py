"""Corrections for mistyped words."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["corrected", "meant", "near", "of_letter", "place"]


def near(token: str, known: Iterable[str]) -> list[str]:
    """The known name closest to ``token``, if any; none for a single letter."""
    if len(token.lstrip("-")) < 2:
        return []
    bare = {name.lstrip("-"): name for name in known if len(name.lstrip("-")) > 1}
    return [bare[name] for name in difflib.get_close_matches(token.strip("-").partition("=")[0], bare, n=1)]


def of_letter(token: str, options: Iterable[str]) -> list[str]:
    """The options that begin with the letter in ``token`` (``-d``)."""
    letter = token.lstrip("-")
    return [name for name in options if len(letter) == 1 and name.startswith(f"--{letter}")]


def meant(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def corrected(program: Any, wrong: str, *right: str) -> str:
    """The command line as typed, with ``right`` in place of ``wrong``."""
    words = program.argv[1:]
    at = place(words, wrong)
    return f"{program.binary} {shlex.join([*words[:at], *right, *words[at + 1 :]])}"


def place(words: Sequence[str], token: str) -> int:
    """The index of the first occurrence of ``token`` that is not an option's value, else of the first."""
    places = [at for at, word in enumerate(words) if word == token]
    return next((at for at in places if at == 0 or not words[at - 1].startswith("-")), places[0] if places else 0)
