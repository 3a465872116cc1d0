"""The Pythons of a host: its own, those that ``fab setup`` has installed, and which one a release gets."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system.runner import run, which
from deployer.wire.advice import do
from deployer.wire.advice import run as type_in
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.release.versions import fits, numbers

_IDENTITY = "import sys,platform;print(platform.python_implementation(),sys.version.split()[0],platform.machine())"
HOST_PATH = "/usr/local/bin:/usr/bin:/bin"
INSTALLED = Path("/usr/local/lib/deployer/pythons")
"""Where ``fab setup`` has uv install interpreters. All of it is root's, and shared by all apps."""
OWN = sys.version_info[1]
"""The minor version of the host's own python3, which runs this program."""
READY = ".ready"
"""The end of the name of a file beside an interpreter whose installation was finished."""
_NAME = pattern(r"python(3\.[0-9]{1,2})\Z")
_INSTALLED_NAME = pattern(r"cpython-(3\.[0-9]{1,2})\.[0-9]+-linux-[a-z0-9_-]+\Z")


NO_PYTHON = Cause(
    "no-such-python",
    "the host has no program of the name that `python` in deploy.toml, or .python-version, stands for, and `fab setup` "
    "has installed none",
    "this host has no {name}{asks}",
    type_in("fab setup -H root@HOST", "installs it, beside what the host has") + do("or {other}"),
)
OTHER_PYTHON = Cause(
    "python-does-not-fit",
    "the lock, or `requires-python` beside requirements.txt, accepts no Python that the host has",
    "{lock} is for Python {requires}, and {name} of this host is {version}",
    type_in("fab setup -H root@HOST", "installs one that fits, beside what the host has") + do("or {other}"),
)
CAUSES = (NO_PYTHON, OTHER_PYTHON)


@dataclass(frozen=True)
class Interpreter:
    """A Python on the host: its path and its identity (``CPython 3.11.2 x86_64``).

    The identity of an installed one holds its path besides: it goes away when nothing uses it, and must not be taken
    for one of the host's own of the same version.
    """

    path: str
    identity: str

    @property
    def version(self) -> str:
        return self.identity.split()[1]


def find_interpreter(version: str, requires: str = "", lock: str = "") -> Interpreter:
    """The Python for a release: of that version (``3.12``), or, if it is empty, any that ``requires`` (``>=3.12``)
    accepts; the host's python3 before others of its own, those before installed ones, the nearest to python3 first.

    Raises HostError when there is none. ``lock`` is the file that ``requires`` is from.
    """
    tried = []
    for path in _candidates(version):
        interpreter = identify(path)
        if fits(interpreter.version, requires):
            return interpreter
        tried.append(interpreter)
    name = f"python{version or '3'}"
    other = " or ".join(_ways(requires))
    if not tried:
        asks = ", which deploy.toml or .python-version asks for" if version else ""
        raise HostError(**NO_PYTHON.told(name=name, asks=asks, other=other))
    lower = f"lower requires-python to what suits {tried[0].version}, lock again, commit"
    values = {"lock": lock, "requires": requires, "name": name, "version": tried[0].version}
    raise HostError(**OTHER_PYTHON.told(**values, other=other or lower))


def _candidates(version: str) -> Iterator[str]:
    """The paths to try, the best first."""
    others = [f"python{one}" for one in sorted(pythons(), key=distance)]
    names = [f"python{version}"] if version else ["python3", *others]
    yield from filter(None, (which(name, HOST_PATH) for name in names))
    for one in installed():
        if version in ("", minor_of(one)):
            yield program(one)


def distance(version: str) -> tuple[int, int]:
    """How far a version (``3.12``) is from the host's own; of two that are as far, the newer is the nearer."""
    minor = numbers(version)[1]
    return abs(minor - OWN), -minor


def identify(path: str) -> Interpreter:
    """Ask an interpreter who it is. Raises HostError when it does not start."""
    identity = _own_identity() if _is_own(path) else _asked(path)
    return Interpreter(path, f"{identity} {path}" if path.startswith(f"{INSTALLED}/") else identity)


def _is_own(path: str) -> bool:
    """Whether this program runs on that interpreter: on the same file, whatever its name (proc(5), /proc/pid/exe)."""
    with contextlib.suppress(OSError):
        return os.path.samefile(path, "/proc/self/exe")
    return False


def _own_identity() -> str:
    """What this program's interpreter would print of itself."""
    import platform

    return f"{platform.python_implementation()} {sys.version.split()[0]} {platform.machine()}"


def _asked(path: str) -> str:
    done = run([path, "-I", "-S", "-c", _IDENTITY])
    if not done.ok:
        raise HostError(f"{path} does not start", logs=done.tail())
    return done.out.strip()


def pythons() -> list[str]:
    """The versions that have a ``python3.N`` of the host's own, oldest first."""
    found = set()
    for directory in HOST_PATH.split(":"):
        names = os.listdir(directory) if os.path.isdir(directory) else []
        found |= {match[1] for match in map(_NAME.match, names) if match}
    return sorted(found, key=numbers)


def installed() -> list[Path]:
    """The directories of installed interpreters: the version nearest to the host's own first, of one version the newest
    patch release."""
    with contextlib.suppress(FileNotFoundError):
        found = [one for one in INSTALLED.iterdir() if _INSTALLED_NAME.fullmatch(one.name) and not one.is_symlink()]
        ready = [one for one in found if (INSTALLED / f"{one.name}{READY}").exists()]
        return sorted(ready, key=lambda one: (distance(minor_of(one)), [-part for part in numbers(one.name[8:])]))
    return []


def minor_of(directory: Path) -> str:
    """``3.13`` for ``cpython-3.13.1-linux-x86_64-gnu``; empty for what is no such directory."""
    match = _INSTALLED_NAME.fullmatch(directory.name)
    return match[1] if match else ""


def program(directory: Path) -> str:
    """The program of an installed interpreter."""
    return f"{directory}/bin/python{minor_of(directory)}"


def _ways(requires: str) -> list[str]:
    """What else can be done about a missing Python: only what this host really offers."""
    there = [version for version in pythons() if fits(version, requires)]
    return [f'set python = "{there[-1]}" in deploy.toml (this host has {", ".join(there)})'] if there else []
