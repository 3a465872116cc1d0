"""The Invoke tasks `sandbox.up`, `sandbox.down`, `sandbox.list` and `sandbox.ssh`: parse, call, show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

from deployer.cli.fleettask import Dry, fleet_task
from deployer.sandbox import hosts
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.host import SandboxHost


def _would(text: str) -> None:
    print(f"would {text}")


def _dry_up(_: Context, name: str, distribution: str, backend: str) -> None:
    kind = f" by {backend}" if backend else ""
    _would(f"boot a throwaway host of {distribution}{kind}, called {name or 'box1, box2 or so'}")


def _dry_down(_: Context, name: str) -> None:
    with _mistakes_shown():
        _would(f"remove {hosts.get(name).name} and all it holds")


def _dry_ssh(_: Context, name: str) -> None:
    with _mistakes_shown():
        _would(f"run: ssh -F {hosts.get(name).ssh_config} {name}")


@fleet_task(  # type: ignore[untyped-decorator]
    dry=_dry_up,
    auto_shortflags=False,
    help={
        "name": "what to call it (box1, box2 … when left out)",
        "distribution": "bullseye, bookworm or trixie",
        "backend": "nspawn or docker (the best that works here when left out)",
    },
)
def up(_: Context, name: str = "", distribution: str = "bookworm", backend: str = "") -> None:
    """Boot a throwaway host on this machine; it stays until sandbox.down."""
    with _mistakes_shown():
        host = hosts.up(name or None, distribution=distribution, backend=backend or None, progress=_say, owned=False)
    _say(f"{host.name} is up at {host.address}. Next: ssh -F {host.ssh_config} {host.name}")


@fleet_task(dry=_dry_down, auto_shortflags=False, positional=["name"], help={"name": "which host"})  # type: ignore[untyped-decorator]
def down(_: Context, name: str) -> None:
    """Remove a throwaway host and all it holds."""
    with _mistakes_shown():
        hosts.down(name)
    _say(f"{name} is gone. Next: fab sandbox.list")


@fleet_task(name="list", dry=Dry.SAME)  # type: ignore[untyped-decorator]
def list_(_: Context) -> None:
    """List the throwaway hosts."""
    with _mistakes_shown():
        found = hosts.listing()
        rows = [(host, "on" if host.is_on() else "off") for host in found]
    if rows:
        print(table(rows))
    else:
        _say("There are no sandbox hosts. Next: fab sandbox.up")


@fleet_task(dry=_dry_ssh, auto_shortflags=False, positional=["name"], help={"name": "which host"})  # type: ignore[untyped-decorator]
def ssh(_: Context, name: str) -> None:
    """Log in to a throwaway host, as root."""
    with _mistakes_shown():
        host = hosts.get(name)
    os.execvp("ssh", ["ssh", "-F", str(host.ssh_config), name])  # noqa: S606


def table(rows: list[tuple[SandboxHost, str]]) -> str:
    """The hosts as plain text, a line each, under a heading."""
    cells = [("NAME", "ADDRESS", "SSH", "HTTP", "DISTRIBUTION", "BACKEND", "STATE")]
    for host, state in rows:
        ports = (str(host.ssh_port), str(host.http_port))
        cells.append((host.name, host.address, *ports, host.distribution, host.backend, state))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


@contextmanager
def _mistakes_shown() -> Iterator[None]:
    try:
        yield
    except SandboxError as error:
        raise Exit(str(error), code=error.exit_code) from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


namespace = Collection("sandbox", up, down, list_, ssh)
