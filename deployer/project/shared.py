"""What is committed at paths that a host keeps outside the code: refused where it is code, else told."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from deployer.errors import ConfigError
from deployer.project.filters import listed
from deployer.project.source import Source
from deployer.wire.advice import do, run
from deployer.wire.release.shared import Shared

__all__ = ["shared_warnings"]

_PLACEHOLDERS = (".gitignore", ".gitkeep", ".keep", ".placeholder", ".empty")


def shared_warnings(source: Source, outside: Sequence[Shared]) -> list[str]:
    """What people should know of files that are committed at shared paths, one line each.

    Raises ConfigError for a directory with Python modules, for a directory where a file is shared, and the reverse.
    """
    found = []
    for one in outside:
        paths = [path for path in source.entries.paths if one.holds(path)]
        _refuse(one, paths)
        content = [path for path in paths if posixpath.basename(path) not in _PLACEHOLDERS]
        if content and one.directory:
            found.append(
                f"{one.key} is shared, and files in it ship ({listed(content)}): a host's directory begins with them, "
                "and later changes to them are not seen there"
            )
        elif content:
            found.append(f"{one.key} is shared, and ships: a host has its own, and does not read this one")
    return found


def _refuse(one: Shared, paths: Sequence[str]) -> None:
    if one.directory == (one.path in paths) and paths:
        is_one, wanted = ("a file", one.path) if one.directory else ("a directory", f"{one.path}/")
        raise ConfigError(
            message=f"release.shared of deploy.toml names {one.key}, which is {is_one} in the code",
            state="nothing was touched",
            next=do(f'write "{wanted}" there, or another path') + run("fab deploy"),
        )
    modules = [path for path in paths if path.endswith(".py")]
    if modules:
        raise ConfigError(
            message=f"release.shared of deploy.toml names {one.key}, which has Python modules ({listed(modules)}): the "
            "app could write its own code",
            state="nothing was touched",
            next=do("name a directory without code there; or have the app write elsewhere, below STATE_DIRECTORY")
            + run("fab deploy"),
        )
