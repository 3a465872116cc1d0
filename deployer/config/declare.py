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


def whole(description: str, limits: tuple[int, int]) -> Meta:
    """A key that holds a whole number within the limits."""
    low, high = limits
    return key(description, f"a whole number from {low} to {high}", ge=low, le=high)


def seconds(description: str, limits: tuple[float, float], *, above: bool = False) -> Meta:
    """A key that holds seconds within the limits, or (``above``) more than the lower one."""
    low, high = limits
    if above:
        return key(description, f"a number of seconds above {low:g} and up to {high:.0f}", gt=low, le=high)
    return key(description, f"a number of seconds from {low:g} to {high:.0f}", ge=low, le=high)
