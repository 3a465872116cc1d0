"""The host program as one content-addressed file: what ``fab setup`` ships."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from deployer.wire.lazydata import dataclass

SHIPPED = ("deployer.host", "deployer.wire")
"""The packages that run on the host, with all packages inside them."""
_MAKING = threading.Lock()
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A zip of what runs on the host; ``digest`` is its SHA-256 in hex and names its directory on the host.

    Every command compares the digest with the host's, so nothing in the zip is compressed: that took eight times as
    long as the rest. ``packed()`` is the zip as ``fab setup`` sends it.
    """

    content: bytes
    digest: str

    def packed(self) -> bytes:
        return zlib.compress(self.content, 9)


def host_program() -> Program:
    """The program of this version: the same sources give the same bytes. Any thread may ask for it; it is made once."""
    with _MAKING:
        return _made()


@cache
def _made() -> Program:
    sources = {"deployer/__init__.py": b""}
    for package in SHIPPED:
        sources.update(_sources(resources.files(package), package.replace(".", "/")))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(sources.items()):
            _add(archive, name, content)
    content = buffer.getvalue()
    return Program(content=content, digest=hashlib.sha256(content).hexdigest())


def _sources(package: Any, path: str) -> Iterator[tuple[str, bytes]]:
    """The modules of a package and of those inside it, each with its place in the zip."""
    for entry in package.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{path}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{path}/{entry.name}", entry.read_bytes()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


TOO_OLD = 64
"""The exit status that says so."""
BOOTSTRAP = """
import hashlib, os, sys, tempfile, zlib
if sys.version_info < (3, 9):
    sys.stderr.write("deployer needs Python 3.9 or newer on the host; its python3 is " + sys.version.split()[0])
    sys.exit(64)
if os.geteuid() != 0:
    sys.exit("fab setup must log in as root, or as an admin whom sudo lets be root without a password")
size, digest = int(sys.argv[1]), sys.argv[2]
content = b""
while len(content) < size:
    part = os.read(0, size - len(content))
    if not part:
        sys.exit("the connection ended before the host program had arrived")
    content += part
try:
    content = zlib.decompress(content)
except zlib.error:
    content = b""
if hashlib.sha256(content).hexdigest() != digest:
    sys.exit("the host program did not arrive as it was sent")
try:
    archive = tempfile.NamedTemporaryFile(prefix="deployer-", suffix=".zip", dir="/run")
    archive.write(content)
    archive.flush()
except OSError as error:
    sys.exit("the host program cannot be written to /run: " + str(error))
with archive:
    sys.path.insert(0, archive.name)
    from deployer.host.__main__ import set_up
    sys.exit(set_up(content))
"""
"""Run by the host's own python3: takes the program from standard input, and runs it. It installs itself."""
