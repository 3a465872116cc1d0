"""Where the programs of a release are, and what is said of one that is missing.

The names come from whoever deploys: root opens nothing through them, and follows no link that a build made. An absolute
path is checked with the app's rights, so that the answer reveals nothing that only root may know.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import ownership, runner
from deployer.wire.advice import Next
from deployer.wire.lazydata import dataclass
from deployer.wire.release.spec import Spec

_HOST_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Place:
    """Where a release's programs may be: its environment, its code (None: not checked), and the app that runs them."""

    app: str
    venv: Path | None
    code: Path | None = None


def on_host(name: str, venv: Path | None) -> str:
    """The path of a program that the host has and the environment lacks; empty otherwise."""
    if "/" in name or _installed(name, venv):
        return ""
    return runner.which(name, _HOST_PATH) or ""


def refuse_missing(spec: Spec, place: Place) -> None:
    """Raises HostError naming the first process whose program is missing."""
    for program, key in spec.programs.items():
        for why, next in _missing(program, spec, place):
            raise HostError(f"{key}: {program} {why}", next=Next.of(next))


def _missing(program: str, spec: Spec, place: Place) -> Iterator[tuple[str, str]]:
    """Why a program cannot be run, and what to do about it; nothing if it can."""
    lock = spec.lock.path or "requirements.txt"
    if "/" not in program:
        if not _installed(program, place.venv) and not on_host(program, place.venv):
            why = f"is not among the installed dependencies ({spec.lock.path or 'no lock file'})"
            add = f"add {program} (uv add {program})" if spec.lock.kind == "uv" else f"add {program} to {lock}"
            yield why, f"{add}, commit, fab deploy"
    elif program.startswith("/"):
        if not runner.run(["test", "-x", program], user=place.app).ok:
            why = f"is not a program on this host that the user {place.app} can run"
            yield why, f"install it there, or correct {program} in deploy.toml; then fab deploy"
    elif place.code is not None and not _is_program(place.code, f"{spec.directory or '.'}/{program}"):
        yield (
            "is not a program in the code",
            f"commit it with its x bit (git update-index --chmod=+x {program}), fab deploy",
        )


def _installed(name: str, venv: Path | None) -> bool:
    """Whether the environment has a program of that name. Links are not followed."""
    return venv is not None and ownership.mode_below(venv, f"bin/{name}") != 0


def _is_program(code: Path, program: str) -> bool:
    """Whether the code has that program. For a link, or behind one, only starting it can tell: True."""
    try:
        mode = ownership.mode_below(code, posixpath.normpath(program))
    except OSError:
        return True
    return stat.S_ISLNK(mode) or bool(stat.S_ISREG(mode) and mode & 0o111)
