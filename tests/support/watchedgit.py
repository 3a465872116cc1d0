"""What git is asked by the code under test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


class Watched:
    """What git is asked, seen by a program of its name before it in PATH."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = shutil.which("git")
        place.mkdir()
        self._runs, self._names = place / "runs", place / "names"
        tool = place / "git"
        tool.write_text(
            f"#!/bin/sh\necho \"$*\" >> '{self._runs}'\n"
            f"case \"$*\" in *' cat-file --batch') tee -a '{self._names}' | {real} \"$@\"; exit;; esac\n"
            f'exec {real} "$@"\n'
        )
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        self.forget()

    def forget(self) -> None:
        self._runs.write_text("")
        self._names.write_text("")

    @property
    def runs(self) -> list[str]:
        """The git commands that were started."""
        return [line.removeprefix("-c core.quotePath=false ") for line in self._runs.read_text().splitlines()]

    @property
    def names(self) -> list[str]:
        """The objects that git cat-file was asked for."""
        return self._names.read_text().split()
