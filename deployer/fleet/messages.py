"""What the threads of a command tell its coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployer.errors import DeployerError
from deployer.remote.facts import Facts

__all__ = ["HookEnded", "HostEvent", "HostFailed", "HostLost", "HostMet", "HostStopped", "Message", "Tick"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMet:
    """The host has answered, and nothing was sent to it yet."""

    host: str
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvent:
    """An event of the host's job."""

    host: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFailed:
    """The host's job has not begun, and will not."""

    host: str
    error: DeployerError


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLost:
    """The host's job may have begun, and its end was not seen."""

    host: str
    error: DeployerError


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStopped:
    """The host's worker is done: the last event of its job was received, or there was nothing to do."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEnded:
    """The hook of a host (``drain`` or ``undrain``) has ended, well when ``error`` is empty."""

    host: str
    hook: str
    error: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Some time has passed."""


Message = HostMet | HostEvent | HostFailed | HostLost | HostStopped | HookEnded | Tick
