"""Hosts that begin where another one has ended: it is prepared once, and what it wrote lies under its copies' disks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.sandbox.backends import mounts
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.machine.commands import run
from deployer.sandbox.machine.locks import exclusive
from deployer.sandbox.records.state import State

UNUSED_SECONDS = 600.0
"""A layer that no host stands on, and that none was made from for so long, goes when a newer one is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What makes a fresh host such a one. ``key`` tells apart what comes out differently: a change of code, say.

    A copy has an address, a name and keys of its own; what ``act`` wrote about those must be corrected by the caller.
    """

    name: str
    key: str
    act: Callable[[SandboxHost], None]


def layers(
    state: State, image: str, preparation: Preparation, boot: Callable[[], SandboxHost], say: Callable[[str], None]
) -> str:
    """What a copy's disk lies upon; made now, on a host from ``boot``, unless it is there. Raises what ``act`` does."""
    places = state.directory / "prepared"
    places.mkdir(exist_ok=True)
    digest = hashlib.sha256(f"{image}\n{preparation.key}".encode()).hexdigest()[:12]
    place = places / f"{preparation.name}-{digest}"
    with exclusive(places / f"{preparation.name}.lock"):
        if not place.is_dir():
            _remove_unused(state, preparation.name)
            say(f"preparing {preparation.name} (once)")
            _make(state, place, preparation, boot)
        os.utime(place)
    return f"{place}:{image}"


def _make(state: State, place: Path, preparation: Preparation, boot: Callable[[], SandboxHost]) -> None:
    with boot() as host:
        preparation.act(host)
        host.power_off()
        with _unfinished(place) as copy:
            run(["cp", "-a", f"{state.host(host.name)}/disk/upper", str(copy)], timeout=300)
            copy.rename(place)


@contextlib.contextmanager
def _unfinished(place: Path) -> Iterator[Path]:
    copy = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        yield copy
    finally:
        mounts.remove_tree(copy)


def _remove_unused(state: State, name: str) -> None:
    """Layers of that name on which no host stands, and what a maker that was killed has left: we hold the lock."""
    used = [path.read_text(encoding="utf-8") for path in state.hosts.glob("*/image")]
    for place in (state.directory / "prepared").glob(f"*{name}-*"):
        recent = time.time() - place.stat().st_mtime < UNUSED_SECONDS
        if place.name.startswith(".") or not (recent or any(str(place) in image for image in used)):
            mounts.remove_tree(place)
