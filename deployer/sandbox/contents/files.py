"""Files to be laid into a host's file system, whichever backend carries them there."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file, owned by root; `path` is absolute inside the host."""

    path: str
    content: bytes
    mode: int = 0o644


def write_into(root: Path, files: Iterable[File]) -> None:
    """Write `files` below `root`, an unbooted file system; nothing in it is running, so no races."""
    for file in files:
        target = root / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # never write through a link that points out of `root`
        target.touch(mode=0o600)
        target.write_bytes(file.content)
        target.chmod(file.mode)


def as_tar(files: Iterable[File]) -> bytes:
    """The same files as a tar stream of relative paths, for `docker cp - CONTAINER:/`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for file in files:
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.size = len(file.content)
            member.mode = file.mode
            archive.addfile(member, io.BytesIO(file.content))
    return stream.getvalue()
