"""What each question is answered by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from deployer.remote.answers.doctor import Diagnosis
from deployer.remote.answers.environment import Environment, Staged, Variables
from deployer.remote.answers.job import Aborted, AskAnswer, LockAnswer
from deployer.remote.answers.maintenance import MaintenanceBegun, MaintenanceEnded
from deployer.remote.answers.operate import Prunable, Restarted, Started, Stopped
from deployer.remote.answers.releases import History, Releases
from deployer.remote.answers.status import StatusOf
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


ANSWERS: Mapping[str, type[Struct]] = {
    "ask": AskAnswer,
    "status": StatusOf,
    "releases": Releases,
    "history": History,
    "doctor": Diagnosis,
    "calendars": Calendars,
    "run": Run,
    "abort": Aborted,
    "preview": Previewed,
    "lock": LockAnswer,
    "unlock": LockAnswer,
    "stop": Stopped,
    "start": Started,
    "restart": Restarted,
    "timer": Run,
    "prune": Prunable,
    "maintenance.on": MaintenanceBegun,
    "maintenance.off": MaintenanceEnded,
    "environment": Environment,
    "variables": Variables,
    "stage": Staged,
}
"""What an answer holds, by the ``op`` of the question; to others, nothing."""
