"""A mirror of python-build-standalone for hosts without a way to it: made of an interpreter of this machine.

It has the layout of the real one, and a list of downloads with their SHA-256 in uv's own format.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LOOK = (
    "import json, sys, sysconfig; print(json.dumps([sys.version.split()[0], sys.base_prefix, "
    "sysconfig.get_config_var('LDLIBRARY')]))"
)
_LEFT_OUT = ("site-packages", "test", "tests", "__pycache__", "idlelib", "tkinter", "turtledemo", "ensurepip")
_RELEASE = "20260101"


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHand:
    """An interpreter of this machine: its version (``3.12.1``), its prefix and its shared library."""

    version: str
    prefix: Path
    library: str

    @property
    def minor(self) -> str:
        return self.version.rpartition(".")[0]


def at_hand(minors: tuple[str, ...] = ("3.12", "3.13", "3.14")) -> AtHand | None:
    """An interpreter of this machine that can be moved, of one of these versions; None when it has none."""
    places = [shutil.which(f"python{minor}") for minor in minors]
    places += [
        str(path) for minor in minors for path in sorted(Path("/root/.pyenv/versions").glob(f"{minor}.*/bin/python3"))
    ]
    for place in filter(None, places):
        done = subprocess.run([place, "-I", "-c", _LOOK], capture_output=True, text=True)
        if done.returncode == 0:
            version, prefix, library = json.loads(done.stdout)
            if Path(prefix, "lib", library).exists() and prefix != "/usr":
                return AtHand(version=version, prefix=Path(prefix), library=library)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """``directory`` is its root on this machine; ``key`` is uv's name for the one interpreter that it has."""

    directory: Path
    key: str
    archive: Path
    digest: str

    def listing(self, url: str) -> str:
        """uv's list of downloads, where the mirror is reached at ``url``."""
        numbers = [int(part) for part in self.key.split("-")[1].split(".")]
        one = {
            "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu",
            **dict(zip(("major", "minor", "patch"), numbers, strict=True)), "prerelease": "", "variant": None,
            "url": f"{url}/{self.archive.relative_to(self.directory)}", "sha256": self.digest, "build": _RELEASE,
        }  # fmt: skip
        return json.dumps({self.key: one})


def make_mirror(directory: Path, python: AtHand) -> Mirror:
    """Pack an interpreter as python-build-standalone does."""
    root = directory / "python"
    shutil.copytree(
        python.prefix / f"lib/python{python.minor}",
        root / f"lib/python{python.minor}",
        ignore=shutil.ignore_patterns(*_LEFT_OUT, "config-*"),
        symlinks=True,
    )
    (root / f"lib/python{python.minor}/site-packages").mkdir()
    shutil.copy(python.prefix / "lib" / python.library, root / "lib" / _soname(python))
    (root / "bin").mkdir()
    program = root / f"bin/python{python.minor}"
    program.write_bytes(_moved(Path(python.prefix, f"bin/python{python.minor}").read_bytes(), python.prefix))
    program.chmod(0o755)
    for name in ("python3", "python"):
        (root / "bin" / name).symlink_to(program.name)
    archive = directory / _RELEASE / f"cpython-{python.version}+{_RELEASE}-x86_64-unknown-linux-gnu-install_only.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(root, "python")
    shutil.rmtree(root)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Mirror(directory=directory, key=f"cpython-{python.version}-linux-x86_64-gnu", archive=archive, digest=digest)


def _soname(python: AtHand) -> str:
    return (python.prefix / "lib" / python.library).resolve().name


def _moved(program: bytes, prefix: Path) -> bytes:
    """The program, looking for its library beside itself: the new path is shorter than the old, so it fits."""
    old = str(prefix / "lib").encode()
    new = b"$ORIGIN/../lib"
    return re.sub(re.escape(old) + rb"(?=\0)", new.ljust(len(old), b"\0"), program)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(directory: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """The URL under which hosts reach the files of a directory, for as long as the block."""
    handler = functools.partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_address[1]}"
        finally:
            server.shutdown()
