"""Symbolic links in static directories, for a proxy that follows them anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from deployer.host.errors import HostError
from deployer.wire.advice import do, run
from deployer.wire.site import ProxySite


def refuse(tree: Path, site: ProxySite) -> None:
    """Raises HostError when a static directory of this code has a symbolic link in it, or is one.

    For a proxy that follows them: it may read every app of the host, and its own keys.
    """
    for _, directory in site.static:
        parts = directory.split("/")
        above = ("/".join(parts[: one + 1]) for one in range(len(parts)))
        found = next((one for one in above if (tree / one).is_symlink()), "") or next(_links(tree / directory), "")
        if found:
            where = found if found in directory else f"{directory}/{found}"
            raise HostError(
                f"{where} is a symbolic link, and Caddy would follow it wherever it leads",
                next=do("have the build copy files instead (collectstatic without --link)") + run("fab deploy"),
            )


def _links(directory: Path, prefix: str = "") -> Iterator[str]:
    """The symbolic links below a directory, relative to it; none when there is no such directory."""
    for entry in os.scandir(directory) if directory.is_dir() else ():
        if entry.is_symlink():
            yield prefix + entry.name
        elif entry.is_dir(follow_symlinks=False):
            yield from _links(Path(entry.path), f"{prefix}{entry.name}/")
