"""The host program as one content-addressed file: what ``fab setup`` ships."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A zip of the package ``deployer.host``; ``digest`` is its SHA-256 in hex and names its directory on the host."""

    content: bytes
    digest: str


@cache
def host_program() -> Program:
    """The program of this version: the same sources give the same bytes."""
    host = resources.files("deployer.host")
    sources = {entry.name: entry.read_bytes() for entry in host.iterdir() if entry.name.endswith(".py")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "deployer/__init__.py", b"")
        for name, content in sorted(sources.items()):
            _add(archive, f"deployer/host/{name}", content)
    content = buffer.getvalue()
    return Program(content=content, digest=hashlib.sha256(content).hexdigest())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


BOOTSTRAP = """
import compileall, hashlib, io, os, shutil, sys, zipfile
if sys.version_info < (3, 9):
    sys.exit("deployer needs Python 3.9 or newer on the host; this is " + sys.version.split()[0])
if os.geteuid() != 0:
    sys.exit("fab setup must log in as root, or as an admin whom sudo lets be root without a password")
size, digest, base, program = int(sys.argv[1]), sys.argv[2], "/usr/local/lib/deployer", sys.argv[3]
content = b""
while len(content) < size:
    part = os.read(0, size - len(content))
    if not part:
        sys.exit("the connection ended before the host program had arrived")
    content += part
if hashlib.sha256(content).hexdigest() != digest:
    sys.exit("the host program did not arrive as it was sent")
os.umask(0o022)
os.makedirs(base, exist_ok=True)
target = os.path.join(base, digest)
fresh = not os.path.isdir(target)
if fresh:
    temporary = target + ".tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    zipfile.ZipFile(io.BytesIO(content)).extractall(temporary)
    compileall.compile_dir(temporary, quiet=2, ddir=target)
    os.rename(temporary, target)
launcher = (
    "#!/usr/bin/python3 -I\\nimport sys\\nsys.path.insert(0, %r)\\n"
    "from deployer.host.__main__ import main\\nsys.exit(main(sys.argv[1:]))\\n" % target
)
with open(program + ".tmp", "w") as file:
    file.write(launcher)
    file.flush()
    os.fchmod(file.fileno(), 0o755)
    os.fsync(file.fileno())
os.replace(program + ".tmp", program)
os.execv(program, [program, "setup", digest[:12] if fresh else ""])
"""
"""Run by the host's own python3: takes the program from standard input, installs it root-owned, and becomes it."""
