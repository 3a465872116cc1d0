"""The programs that a release is to run: where each is found, and what is said of one that is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deployer.host import files
from deployer.host.errors import HostError
from deployer.host.spec import Spec

_HOST_PATH = "/usr/local/bin:/usr/bin:/bin"


def on_host(name: str, venv: Path | None) -> str:
    """The path of a program that the host has and the environment lacks; empty for any other."""
    if "/" in name or (venv is not None and (venv / "bin" / name).exists()):
        return ""
    return shutil.which(name, path=_HOST_PATH) or ""


def refuse_missing(spec: Spec, venv: Path | None, code: Path | None = None) -> None:
    """Raises HostError naming the process whose program is not there. Those of the ``code`` are looked for if it is."""
    for program, key in spec.programs.items():
        for why, next in _missing(program, spec, venv, code):
            raise HostError(f"{key}: {program} {why}", next=next)


def _missing(program: str, spec: Spec, venv: Path | None, code: Path | None) -> Iterator[tuple[str, str]]:
    """Why a program cannot be run, and what to do about it."""
    lock = spec.lock.path or "requirements.txt"
    if "/" not in program:
        if not (venv is not None and (venv / "bin" / program).exists()) and not on_host(program, venv):
            why = f"is not among the installed dependencies ({spec.lock.path or 'no lock file'})"
            add = f"uv add {program}" if spec.lock.kind == "uv" else f"add {program} to {lock}"
            yield why, f"{add}, commit, fab deploy"
    elif program.startswith("/"):
        if not os.access(program, os.X_OK):
            yield "is no program on this host", f"install it there, or mend {program} in deploy.toml; then fab deploy"
    elif code is not None and not _is_program(code, program):
        yield (
            "is no program of the code",
            f"commit it with its x bit (git update-index --chmod=+x {program}), fab deploy",
        )


def _is_program(code: Path, program: str) -> bool:
    """A build made the tree: no link is followed. Of one that is a link only the start can tell."""
    try:
        descriptor = files.open_below(code, program, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return bool(os.fstat(descriptor).st_mode & 0o111)
    finally:
        os.close(descriptor)
