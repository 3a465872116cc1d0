"""Install the host program: a directory for each version, and the launcher that starts one of them."""

from __future__ import annotations

import compileall
import hashlib
import io
import os
import zipfile
from pathlib import Path

from deployer.host.system import files
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import PROGRAM

BASE = Path(PROGRAM).parent
_VERSION = pattern(r"[0-9a-f]{64}\Z")
_KEPT = 3
"""Versions that are kept, including the new one: a running job still imports from its own."""


def install(content: bytes, base: Path = BASE) -> list[str]:
    """Unpack the program (a zip) into a directory named by its digest, point the launcher to it, remove old versions.

    Returns what was changed. Idempotent.
    """
    digest = hashlib.sha256(content).hexdigest()
    files.own_directory(base, 0o755, 0, 0)
    changed = []
    if not _is_whole(content, base / digest):
        _unpack(content, base, digest)
        changed.append(f"version {digest[:12]} of {Path(PROGRAM).name}")
    launcher, path = launcher_of(base / digest), base / Path(PROGRAM).name
    if files.write_if_changed(path, launcher, 0o755):
        os.utime(str(base / digest))
        changed.append(str(path))
    _prune(base)
    return changed


def launcher_of(directory: Path) -> str:
    """The launcher. ``-I``: the caller's environment and working directory do not affect imports. ``-X utf8``: nor does
    the host's locale affect the encoding of file names."""
    return (
        "#!/usr/bin/python3 -IXutf8\nimport sys\n"
        f"sys.path.insert(0, {str(directory)!r})\n"
        "from deployer.host.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
    )


def _is_whole(content: bytes, directory: Path) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return all((directory / name).read_bytes() == archive.read(name) for name in archive.namelist())
    except OSError:
        return False


def _unpack(content: bytes, base: Path, digest: str) -> None:
    temporary = base / f"{digest}.tmp"
    files.remove_tree(temporary)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(str(temporary))
    compileall.compile_dir(str(temporary), quiet=2, ddir=str(base / digest))
    for directory, _, names in os.walk(str(temporary)):
        for name in names:
            _sync(Path(directory) / name)
        files.sync_directory(Path(directory))
    files.remove_tree(base / digest)
    os.rename(str(temporary), str(base / digest))
    files.sync_directory(base)


def _sync(path: Path) -> None:
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(base: Path) -> None:
    versions = [path for path in base.iterdir() if _VERSION.fullmatch(path.name)]
    for path in sorted(versions, key=lambda one: one.stat().st_mtime)[:-_KEPT]:
        files.remove_tree(path)
