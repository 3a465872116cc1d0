"""Throwaway projects to deploy: a copy of a sample app in a git repository of its own."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).resolve().parent.parent / "apps"
FAULTS: tuple[str, ...] = runpy.run_path(str(APPS / "shop/shop/faults.py"))["KINDS"]
_NOT_SHIPPED = ("__pycache__", "*.pyc", "db.sqlite3*", "staticfiles", ".venv", "FAULT.txt", "broken.py")
_IDENTITY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada Lovelace",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A git working tree that holds one app."""

    path: Path

    @property
    def sha(self) -> str:
        """The commit that is checked out, in full."""
        return self.git("rev-parse", "HEAD")

    def git(self, *args: str) -> str:
        """What git printed; CalledProcessError if it failed. The user's git configuration plays no part."""
        outside = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        command = ["git", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false", *args]
        done = subprocess.run(
            command, cwd=self.path, env=outside | _IDENTITY, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    def write(self, path: str, text: str) -> Path:
        """Write one file, its folders included, and commit nothing."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def change(
        self, *, version: str | None = None, fault: str | None = None, files: dict[str, str] | None = None
    ) -> str:
        """Edit, commit everything, and return the new commit's sha.

        None leaves the version or the fault as it is; `fault=""` takes the fault away.
        """
        if version is not None:
            self.write("VERSION.txt", f"{version}\n")
        if fault is not None:
            self._set_fault(fault)
        for path, text in (files or {}).items():
            self.write(path, text)
        return self.commit(f"version {version}" if version else "a change")

    def commit(self, message: str) -> str:
        """Commit the working tree as it is, changed or not, and return the sha."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.sha

    def _set_fault(self, fault: str) -> None:
        for name in ("FAULT.txt", "shop/broken.py"):
            (self.path / name).unlink(missing_ok=True)
        if not fault:
            return
        kind = fault.partition(":")[0]
        if kind not in FAULTS:
            raise ValueError(f"no such fault: {kind!r}; there are {', '.join(FAULTS)}")
        self.write("FAULT.txt", f"{fault}\n")
        if kind.endswith("syntax-error"):
            self.write("shop/broken.py", "def broken(:\n    pass\n")


def make_project(
    path: Path,
    *,
    app: str = "shop",
    version: str = "1",
    fault: str | None = None,
    extra_files: dict[str, str] | None = None,
    config: str | None = None,
) -> Project:
    """Copy a sample app (`shop` or `plain_asgi`) to `path`, which must not exist or be empty, and commit it.

    `config` is the text of deploy.toml; without it there is none. Faults are the shop's only.
    """
    if fault and app != "shop":
        raise ValueError(f"{app} has no faults to choose from")
    shutil.copytree(APPS / app, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_SHIPPED))
    project = Project(path)
    project.git("init", "--quiet", "--initial-branch=main")
    if config is not None:
        project.write("deploy.toml", config)
    project.change(version=version, fault=fault, files=extra_files)
    return project
