"""An upload's bytes, from the channel to a file: resumed where the last try ended, believed by their digest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from deployer.host import build
from deployer.host.context import free_bytes
from deployer.host.errors import BadRequest, HostError
from deployer.host.manifest import Delta

_CHUNK = 256 * 1024
_ROOM = 16 * 1024 * 1024
"""Bytes that stay free beyond what an upload needs, for records and logs."""


def upload_size(message: dict[str, Any]) -> tuple[int, int]:
    """Takes ``offset`` and ``body``, in bytes, out of a request. Raises BadRequest."""
    offset, length = (message.pop(name, 0) for name in ("offset", "body"))
    if any(type(size) is not int or size < 0 for size in (offset, length)):
        raise BadRequest("offset and body must be whole numbers")
    return offset, length


def receive(stream: BinaryIO, incoming: Path, delta: Delta, offset: int, length: int) -> None:
    """Take the body's bytes from ``offset`` on. What has arrived stays when the rest does not, for the next try."""
    part, whole = (incoming / f"{delta.body}.{kind}" for kind in ("part", "body"))
    have = part.stat().st_size if part.exists() else 0
    if offset != have or offset + length != delta.length:
        raise BadRequest("the upload does not continue where it stopped", next="fab deploy   (again)")
    free, needed = free_bytes(str(incoming)), length + _ROOM
    if free < needed:
        raise HostError(
            f"the disk is full: the upload needs {needed // 1024} KiB below {incoming}, {free // 1024} KiB are free",
            state="nothing was touched",
            next="make room, then fab deploy",
        )
    _append(stream, part, length)
    if _sha256(part) != delta.body:
        part.unlink()
        raise HostError("what arrived is not what was sent: its digest differs", next="fab deploy   (sends it afresh)")
    os.replace(str(part), str(whole))


def _append(stream: BinaryIO, part: Path, length: int) -> None:
    try:
        with open(str(part), "ab") as file:
            os.fchmod(file.fileno(), 0o600)
            whole = _copy(stream, file, length)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        part.unlink()
        raise build.disk_error(error, part, "the upload") from error
    if not whole:
        raise HostError("the connection ended in the middle of the upload", next="fab deploy   (goes on there)")


def _copy(stream: BinaryIO, file: BinaryIO, length: int) -> bool:
    """False when the stream ends before ``length`` bytes."""
    while length:
        chunk = stream.read(min(_CHUNK, length))
        if not chunk:
            return False
        file.write(chunk)
        length -= len(chunk)
    return True


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
