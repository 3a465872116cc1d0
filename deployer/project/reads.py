"""What a lock tells: the files an installer reads, and what is to be said about the rest."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deployer.errors import ConfigError
from deployer.project.shipped import Shipped
from deployer.wire.advice import do

_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """``absent`` names packages that the lock has and that are not installed, each with what they belong to."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    requires: str = ""
    floating: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    def joined(self, other: Reads) -> Reads:
        """With the files of another."""
        return replace(self, files=self.files + other.files, directories=self.directories + other.directories)


def is_archive(path: str) -> bool:
    """Whether a path is that of a wheel or a source archive."""
    return path.endswith(_ARCHIVES)


def inside(path: str, where: str) -> str:
    """The path, normalised. Raises ConfigError when it leads out of the project."""
    normal = posixpath.normpath(path)
    if normal.startswith("/"):
        raise ConfigError(
            message=f"{where}: {path} is a place of the machine where this was written (conda writes such lines): "
            "no host has it",
            next=do("name the version instead (pip list --format=freeze > requirements.txt), then commit"),
        )
    if normal.startswith("../") or normal == ".." or ":" in normal:
        raise ConfigError(
            message=f"{where}: {path} is not a file of the project, so it does not ship",
            next=do("move it into the project, or deploy the directory that holds both"),
        )
    return normal


def local(shipped: Shipped, path: str, where: str) -> Reads:
    """An archive, or a directory whose sources are installed. Raises ConfigError when it does not ship."""
    path = inside(path, where)
    if shipped.is_file(path):
        return Reads(files=(path,))
    if shipped.is_directory(path):
        return Reads(directories=(path,))
    raise ConfigError(
        message=f"{where} names {path}, which does not ship with the code",
        next=do(f"git add {path}, and commit it"),
    )
