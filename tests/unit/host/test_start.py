"""What the host program imports each time it starts, several times in a deploy: as little as it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "ssl", "shutil", "logging", "mimetypes", "configparser", "calendar", "urllib.request", "tempfile")
"""Standard modules of which most requests need none; together they take as long as half of the program."""


@pytest.mark.parametrize("module", ["session.session", "job.main", "service"])
def test_a_start_imports_nothing_heavy(module: str) -> None:
    """They are imported where they are used."""
    code = f"import sys, deployer.host.{module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert _run(code) == []


MODULES = """
import importlib, pathlib, re, sys
import deployer.host, deployer.wire
real, compiled = re._compile, []
def watched(*given):
    at, frames = sys._getframe(1), []
    while at:
        frames.append(at.f_globals.get("__name__", ""))
        at = at.f_back
    if next(name for name in frames if name != "re").startswith("deployer."):
        compiled.append(given[0])
    return real(*given)
re._compile = watched
for package in (deployer.host, deployer.wire):
    top = pathlib.Path(package.__file__).parent
    for path in sorted(top.rglob("*.py")):
        name = ".".join([package.__name__, *path.relative_to(top).with_suffix("").parts])
        importlib.import_module(name.removesuffix(".__init__"))
"""


def test_no_module_compiles_an_expression_as_it_is_imported() -> None:
    """``deployer.wire.lazyre`` has those of the program: a start matches a few of them."""
    assert _run(MODULES + "print(*map(repr, compiled), sep='\\n')") == []


def test_every_expression_can_be_compiled() -> None:
    """A wrong one would only be told by the first that is matched with it."""
    check = """
import gc
from deployer.wire.lazyre import _Pattern
found = [one for one in gc.get_objects() if isinstance(one, _Pattern)]
for one in found:
    one.match
print(len(found) > 100)
"""
    assert _run(MODULES + check) == ["True"]


def test_garbage_is_looked_for_rarely_and_not_at_the_end() -> None:
    """Python would look through all that was imported, again and again, in a program that ends within a second."""
    code = """
import atexit, gc
atexit.register(lambda: print(gc.get_threshold()[0] >= 10_000, gc.get_freeze_count() > 1000))
from deployer.host.__main__ import main
main([])
"""
    assert _run(code) == ["True", "True"]


def _run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()
