"""The Pythons of a host: which exist, which one a release asks for, and whether it fits the lock file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass

from deployer.host.errors import HostError
from deployer.host.system.runner import run
from deployer.wire.advice import do
from deployer.wire.causes import Cause
from deployer.wire.versions import fits, numbers

_IDENTITY = "import sys,platform;print(platform.python_implementation(),sys.version.split()[0],platform.machine())"
HOST_PATH = "/usr/local/bin:/usr/bin:/bin"
_NAME = re.compile(r"python(3\.[0-9]{1,2})\Z")


NO_PYTHON = Cause(
    "no-such-python",
    "the host has no program of the name that `python` in deploy.toml, or .python-version, stands for",
    "this host has no {name}{asks}",
    do("{way}") + do("or {other}"),
)
OTHER_PYTHON = Cause(
    "python-does-not-fit",
    "the lock, or `requires-python` beside requirements.txt, does not accept the Python of the environment",
    "{lock} is for Python {requires}, and {name} of this host is {version}",
    do("{way}") + do("or {other}"),
)
CAUSES = (NO_PYTHON, OTHER_PYTHON)


@dataclass(frozen=True)
class Interpreter:
    """A Python on the host: its path and its identity (``CPython 3.11.2 x86_64``)."""

    path: str
    identity: str

    @property
    def version(self) -> str:
        return self.identity.split()[1]


def find_interpreter(version: str, requires: str = "", lock: str = "") -> Interpreter:
    """The host's Python of that version (for example ``3.12``; empty: its ``python3``).

    Raises HostError when there is none, or it does not fit the lock file ``lock`` (``requires``, for example
    ``>=3.12``).
    """
    name = f"python{version or '3'}"
    found = shutil.which(name, path=HOST_PATH)
    if found is None:
        asks = ", which deploy.toml or .python-version asks for" if version else ""
        way, *others = _ways(name, requires)
        raise HostError(**NO_PYTHON.told(name=name, asks=asks, way=way, other=" or ".join(others)))
    done = run([found, "-I", "-S", "-c", _IDENTITY])
    if not done.ok:
        raise HostError(f"{found} does not start", logs=done.tail())
    interpreter = Interpreter(found, done.out.strip())
    if not fits(interpreter.version, requires):
        wanted = next((there for there in reversed(pythons()) if fits(there, requires)), "")
        lower = f"lower requires-python to what suits {interpreter.version}, lock again, commit"
        ways = [f'set python = "{wanted}" in deploy.toml, which this host has; commit, fab deploy'] if wanted else []
        way, *others = ways or [*_ways("", requires), lower]
        values = {"lock": lock, "requires": requires, "name": name, "version": interpreter.version}
        raise HostError(**OTHER_PYTHON.told(**values, way=way, other=" or ".join(others)))
    return interpreter


def pythons() -> list[str]:
    """The versions that have a ``python3.N`` on the host, oldest first."""
    found = set()
    for directory in HOST_PATH.split(":"):
        names = os.listdir(directory) if os.path.isdir(directory) else []
        found |= {match[1] for match in map(_NAME.match, names) if match}
    return sorted(found, key=numbers)


def _ways(name: str, requires: str) -> list[str]:
    """What can be done about a missing Python: only what this host really offers."""
    there = [version for version in pythons() if fits(version, requires)]
    ways = [f'set python = "{there[-1]}" in deploy.toml (this host has {", ".join(there)})'] if there else []
    if name and _has_package(name):
        ways.insert(0, f"install it: apt-get install {name} {name}-venv")
    else:
        ways.append(
            f"put {name or 'a Python ' + requires} into /usr/local/bin (the package lists of this host have none)"
        )
    return ways


def _has_package(name: str) -> bool:
    with contextlib.suppress(HostError):  # another kind of system
        return run(["apt-cache", "show", name], timeout=60).ok
    return False
