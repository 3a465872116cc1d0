"""What an app that is removed has written: files, Redis, a database and its dumps. Kept, or removed when asked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from deployer.host.setup.software import dumps, postgresql, redis
from deployer.host.state.paths import AppPaths
from deployer.host.system import files


def keep(paths: AppPaths, *, database: bool) -> tuple[list[str], list[str]]:
    """Remove the directories in which there is nothing. Returns those, and what stays.

    ``database``: a setup made one.
    """
    removed, kept = [], []
    for path in _places(paths):
        with contextlib.suppress(OSError):
            os.rmdir(str(path))
            removed.append(str(path))
            continue
        kept.append(str(path))
    if database and postgresql.has_database(paths.app):
        kept.append(f"the PostgreSQL database {paths.app}")
    return removed, kept


def remove(paths: AppPaths, *, database: bool) -> tuple[list[str], list[str]]:
    """Remove all of it. Returns what was removed, and what stays: nothing. Raises HostError, OSError."""
    removed = postgresql.drop(paths.app) if database else []
    for path in _places(paths):
        files.remove_tree(path)
        removed.append(str(path))
    return removed, []


def _places(paths: AppPaths) -> Iterator[Path]:
    for path in (paths.state, redis.DATA / paths.app, dumps.DIRECTORY / paths.app):
        if path.is_dir() and not path.is_symlink():
            yield path
