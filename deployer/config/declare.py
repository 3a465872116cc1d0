"""How a key of ``deploy.toml`` is declared: its description, and what it expects in the words of an error message."""

from __future__ import annotations

from typing import Any

from msgspec import Meta, Struct


def key(description: str, expects: str, *, beside: type[Struct] | None = None, **constraints: Any) -> Meta:
    """A key's description (for the reference) and what it expects (for the reference and for errors).

    ``beside`` declares the keys with a meaning of their own in a table whose other keys are names.
    """
    return Meta(description=description, extra={"expects": expects, "beside": beside}, **constraints)


def text(pattern: str, length: int = 1024) -> Meta:
    """A constraint on a string: all of it must match, in at most ``length`` characters."""
    return Meta(pattern=rf"^(?:{pattern})\Z", max_length=length)
