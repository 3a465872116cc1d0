"""The environment of an app on a host: the answers to ``environment``, ``variables`` and ``stage``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from deployer.remote.answers.values import Count, Moment, Name
from deployer.wire.protocol import ENV_NAME

VariableName = Annotated[str, Meta(pattern=rf"\A{ENV_NAME.pattern}")]


class HostVariable(Struct, frozen=True, kw_only=True):
    """A variable that a new release gets of the host itself: from where, and whether it is empty."""

    source: str
    empty: bool = False


class VariableRow(Struct, frozen=True, kw_only=True):
    """A variable of what serves, or that the host keeps for the next release.

    ``sources`` are where what serves has it from, the one that wins first: none when it has no such variable. ``value``
    is empty when it is secret. ``serves`` and ``kept`` are marks of the values: equal values have equal marks, and
    without a value there is none. ``by`` and ``at`` say who set what is kept, and when.
    """

    name: VariableName
    sources: tuple[str, ...] = ()
    secret: bool = False
    value: str = ""
    serves: str = ""
    kept: str = ""
    by: str = ""
    at: Moment = 0.0


class Environment(Struct, frozen=True, kw_only=True):
    """The answer to ``environment``. ``version`` counts the changes of what the host keeps. ``host`` is the laptop's
    own."""

    host: str = ""
    current: Name = ""
    version: Count = 0
    variables: tuple[VariableRow, ...] = ()


class Variables(Struct, frozen=True, kw_only=True):
    """What a host keeps, with its values: secret. ``serves`` is what serves has of what was asked for."""

    version: Count = 0
    kept: dict[VariableName, str] = {}
    serves: dict[VariableName, str] = {}

    def __repr__(self) -> str:
        return f"Variables(version={self.version}, kept={sorted(self.kept)})"


class Staged(Struct, frozen=True, kw_only=True):
    """A change is kept for the next release."""

    version: Count
