"""Answers of a few lines, to questions of their own."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from deployer.remote.answers.values import Moment, Name


class Calendar(Struct, frozen=True, kw_only=True):
    """When a calendar comes ``next`` (0.0: never), and the ``problem`` with one that the host does not understand."""

    calendar: str
    next: Moment = 0.0
    problem: str = ""


class Calendars(Struct, frozen=True, kw_only=True):
    calendars: tuple[Calendar, ...]


class Run(Struct, frozen=True, kw_only=True):
    """How a command ended. ``timed_out``: it was stopped at its time limit; ``masked`` secrets were replaced in what it
    printed on standard output."""

    status: Annotated[int, Meta(ge=0, le=255)]
    timed_out: bool = False
    masked: Annotated[int, Meta(ge=0)] = 0


class Previewed(Struct, frozen=True, kw_only=True):
    release: Name


class Nothing(Struct, frozen=True, kw_only=True):
    """An answer that only says that it is one."""
