"""Receives an upload into a file: resumed where the last try ended, accepted by its digest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deployer.host.build import disk
from deployer.host.build.disk import free_bytes
from deployer.host.errors import BadRequest, HostError
from deployer.host.system import files
from deployer.wire.advice import do, run
from deployer.wire.protocol import DIGEST
from deployer.wire.tree.entry import Delta

_CHUNK = 256 * 1024
_TRIES = 10
_ROOM = 16 * 1024 * 1024
"""Bytes that must stay free beyond the upload, for records and logs."""


def upload_size(message: dict[str, Any]) -> tuple[int, int]:
    """Removes ``offset`` and ``body``, in bytes, from a request. Raises BadRequest."""
    offset, length = (message.pop(name, 0) for name in ("offset", "body"))
    if any(type(size) is not int or size < 0 for size in (offset, length)):
        raise BadRequest("offset and body must be whole numbers")
    return offset, length


def partials(incoming: Path) -> dict[str, int]:
    """Interrupted uploads that can be resumed: bytes present, by digest. Not those that are being sent now."""
    found = {path.name[:-5]: path for path in incoming.glob("*.part")}
    return {
        digest: path.stat().st_size
        for digest, path in found.items()
        if DIGEST.fullmatch(digest) and not files.is_locked(path)
    }


@contextlib.contextmanager
def receive(stream: BinaryIO, incoming: Path, delta: Delta, offset: int, length: int) -> Iterator[Path]:
    """Receive the body's bytes from ``offset``; for the block, the complete file, which only this process uses.

    What has arrived is kept for the next try when the rest does not come. The file is locked (flock(2)) meanwhile:
    nobody removes it, and a stalled laptop blocks no other. Raises BadRequest, HostError.
    """
    token = secrets.token_hex(4)
    with _open_part(incoming, delta.body, token) as (file, part):
        if offset != os.fstat(file.fileno()).st_size or offset + length != delta.length:
            raise BadRequest("the upload does not continue where the last one stopped", next=run("fab deploy", "again"))
        _require_room(incoming, length)
        _append(stream, file, part, length)
        if _sha256(part) != delta.body:
            part.unlink()
            raise HostError(
                "the upload was damaged on the way: its digest differs", next=run("fab deploy", "uploads it again")
            )
        whole = incoming / f"{delta.body}.{token}.body"
        os.replace(str(part), str(whole))
        try:
            yield whole
        finally:
            if whole.exists():  # no job has taken it
                whole.unlink()


@contextlib.contextmanager
def _open_part(incoming: Path, digest: str, token: str) -> Iterator[tuple[BinaryIO, Path]]:
    """The partial file, locked; a new one if another laptop is using the usual one."""
    for name in (digest, f"{digest}.{token}"):
        part = incoming / f"{name}.part"
        with open(str(part), "ab") as file:
            os.fchmod(file.fileno(), 0o600)
            if not _lock(file, part):
                continue
            try:
                yield file, part
            finally:
                if os.fstat(file.fileno()).st_size == 0 and part.exists():
                    part.unlink()
            return
    raise AssertionError("a name that nobody else has is locked")


def _lock(file: BinaryIO, path: Path) -> bool:
    """Lock the file; False if that fails, or it is no longer the one at ``path``.

    Retried briefly: another process may be testing the lock at this moment.
    """
    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.stat(str(path)).st_ino == os.fstat(file.fileno()).st_ino
        except BlockingIOError:
            time.sleep(0.02)
        except FileNotFoundError:
            return False
    return False


def _require_room(incoming: Path, length: int) -> None:
    free, needed = free_bytes(str(incoming)), length + _ROOM
    if free < needed:
        raise HostError(
            f"the disk is full: the upload needs {needed // 1024} KiB below {incoming}, {free // 1024} KiB are free",
            state="nothing was touched",
            next=do("make room") + run("fab deploy"),
        )


def _append(stream: BinaryIO, file: BinaryIO, part: Path, length: int) -> None:
    try:
        whole = _copy(stream, file, length)
        file.flush()
        os.fsync(file.fileno())
    except TimeoutError:
        whole = False
    except OSError as error:
        part.unlink()
        raise disk.disk_error(error, part, "the upload") from error
    if not whole:
        raise HostError("the connection ended in the middle of the upload", next=run("fab deploy", "goes on there"))


def _copy(stream: BinaryIO, file: BinaryIO, length: int) -> bool:
    """Copy ``length`` bytes; False when the stream ends before."""
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
