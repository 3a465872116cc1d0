"""The programs that a release is to run: where each is found, and what is said of one that is not there.

Whoever deploys chooses the names: root opens nothing through them, and follows no link of a build's. An absolute path
is looked up with the app's rights, so that nobody learns from it what only root may know.
"""

from __future__ import annotations

import posixpath
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import files, runner
from deployer.wire.advice import Next
from deployer.wire.spec import Spec

_HOST_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Place:
    """Where a release's programs may be: its environment, its code (None: not looked at), and for whom they are."""

    app: str
    venv: Path | None
    code: Path | None = None


def on_host(name: str, venv: Path | None) -> str:
    """The path of a program that the host has and the environment lacks; empty for any other."""
    if "/" in name or _installed(name, venv):
        return ""
    return shutil.which(name, path=_HOST_PATH) or ""


def refuse_missing(spec: Spec, place: Place) -> None:
    """Raises HostError naming the process whose program is not there."""
    for program, key in spec.programs.items():
        for why, next in _missing(program, spec, place):
            raise HostError(f"{key}: {program} {why}", next=Next.of(next))


def _missing(program: str, spec: Spec, place: Place) -> Iterator[tuple[str, str]]:
    """Why a program cannot be run, and what to do about it."""
    lock = spec.lock.path or "requirements.txt"
    if "/" not in program:
        if not _installed(program, place.venv) and not on_host(program, place.venv):
            why = f"is not among the installed dependencies ({spec.lock.path or 'no lock file'})"
            add = f"add {program} (uv add {program})" if spec.lock.kind == "uv" else f"add {program} to {lock}"
            yield why, f"{add}, commit, fab deploy"
    elif program.startswith("/"):
        if not runner.run(["test", "-x", program], user=place.app).ok:
            why = f"is no program on this host that the user {place.app} can run"
            yield why, f"install it there, or mend {program} in deploy.toml; then fab deploy"
    elif place.code is not None and not _is_program(place.code, program):
        yield (
            "is no program of the code",
            f"commit it with its x bit (git update-index --chmod=+x {program}), fab deploy",
        )


def _installed(name: str, venv: Path | None) -> bool:
    """Whether the environment has a program of that name. Where a link leads is not looked at."""
    return venv is not None and files.mode_below(venv, f"bin/{name}") != 0


def _is_program(code: Path, program: str) -> bool:
    """Of one that is a link, or lies behind one, only the start can tell."""
    try:
        mode = files.mode_below(code, posixpath.normpath(program))
    except OSError:
        return True
    return stat.S_ISLNK(mode) or bool(stat.S_ISREG(mode) and mode & 0o111)
