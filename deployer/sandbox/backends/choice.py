"""Chooses how hosts are run on this machine."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.sandbox.backends import docker, nspawn
from deployer.sandbox.backends.backend import Backend
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.records.state import State

BACKENDS = ("nspawn", "docker")


def choose(name: str | None, state: State, environment: Mapping[str, str]) -> Backend:
    """The backend called `name`; without one, systemd-nspawn if it works here, else Docker.

    Raises SandboxError when `name` is unknown or neither works.
    """
    if name is None:
        name = environment.get("DEPLOYER_SANDBOX_BACKEND") or _best(environment)
    if name == "nspawn":
        return nspawn.Nspawn(state, environment)
    if name == "docker":
        return docker.Docker(state, environment)
    raise SandboxError(
        f"There is no sandbox backend {name!r}.",
        state="Nothing was created.",
        hint=f"choose one of {', '.join(BACKENDS)}",
    )


def _best(environment: Mapping[str, str]) -> str:
    problem = nspawn.unusable()
    if problem is None:
        return "nspawn"
    if docker.unusable(environment) is None:
        return "docker"
    raise SandboxError(
        "Neither systemd-nspawn (which needs root on Linux) nor Docker can be used here.",
        state="Nothing was created.",
        hint=f"{problem.hint}, or install and start Docker",
    )
