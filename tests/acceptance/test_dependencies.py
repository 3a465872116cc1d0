"""Dependencies whose sources are in the code itself: what serves is what was committed, and rollback brings it back."""

from __future__ import annotations

import pytest

from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance
MAIN = """\
import runpy
import sys

import one
import two

APP = "app 1"
sys.argv = ["server.py", one.VALUE, two.VALUE, APP]
runpy.run_path("server.py", run_name="__main__")
"""
BACKEND = '''\
"""Makes a wheel of the one module in this directory: a build that needs no index."""

import pathlib
import zipfile

NAME = pathlib.Path.cwd().name


def build_wheel(directory, settings=None, metadata=None):
    pathlib.Path("build.log").write_text("a build writes beside its sources, as setuptools does")
    info = f"{NAME}-1.dist-info"
    with zipfile.ZipFile(pathlib.Path(directory) / f"{NAME}-1-py3-none-any.whl", "w") as wheel:
        wheel.write(f"{NAME}.py")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{NAME}-1-py3-none-any.whl"


build_editable = build_wheel
'''
PROJECT = """\
[project]
name = "{name}"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
UV_PROJECT = """\
[project]
name = "mini"
version = "1"
requires-python = ">=3.9"
dependencies = ["one", "two"]
[tool.uv.workspace]
members = ["libs/one"]
[tool.uv.sources]
one = { workspace = true }
two = { path = "libs/two", editable = true }
"""
UV_LOCK = """\
version = 1
requires-python = ">=3.9"
[manifest]
members = ["mini", "one"]
[[package]]
name = "mini"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "one" }, { name = "two" }]
[[package]]
name = "one"
version = "1"
source = { editable = "libs/one" }
[[package]]
name = "two"
version = "1"
source = { editable = "libs/two" }
"""
PYLOCK = """\
lock-version = "1.0"
created-by = "a person"
[[packages]]
name = "one"
directory = { path = "libs/one", editable = true }
[[packages]]
name = "two"
[packages.directory]
path = "libs/two"
"""
KINDS = {
    "uv": {"uv.lock": UV_LOCK, "pyproject.toml": UV_PROJECT},
    "pylock": {"pylock.toml": PYLOCK},
    "requirements": {"requirements.txt": "-r req/more.txt\n./libs/one\n", "req/more.txt": "-e ./libs/two\n"},
}


def lib(name: str, value: str) -> dict[str, str]:
    """The files of one dependency."""
    return {
        f"libs/{name}/{name}.py": f'VALUE = "{name} {value}"\n',
        f"libs/{name}/backend.py": BACKEND,
        f"libs/{name}/pyproject.toml": PROJECT.format(name=name),
    }


def built(site: TinySite) -> str:
    """Deploy; what the host says of the build."""
    return str(site.deploy().event("phase.done", phase="build")["detail"])


@pytest.mark.parametrize("kind", KINDS)
def test_sources_in_the_code_are_served_as_they_were_committed(mini: TinySite, kind: str) -> None:
    """One changed line of a dependency is served, one of the app's builds no environment, and rollback undoes both."""
    deploy = mini.project.path / "deploy.toml"
    mini.project.write("deploy.toml", deploy.read_text().replace("/usr/bin/python3 server.py", "python main.py"))
    mini.project.change(files={"main.py": MAIN, **lib("one", "1"), **lib("two", "1"), **KINDS[kind]})
    assert "installed" in built(mini)
    assert mini.get("/argv") == ["one 1", "two 1", "app 1"]
    first = mini.get()["release"]
    mini.project.change(files={**lib("one", "2"), **lib("two", "2")})
    assert "installed" in built(mini)
    assert mini.get("/argv") == ["one 2", "two 2", "app 1"]
    mini.project.change(files={"main.py": MAIN.replace("app 1", "app 2")})
    assert "dependencies unchanged" in built(mini)
    assert mini.get("/argv") == ["one 2", "two 2", "app 2"]
    found = mini.host.run(
        "ls -A /srv/mini/venvs/*/ | grep sources; cat /srv/mini/venvs/*/lib/python*/site-packages/*.pth", check=False
    )
    assert "/srv/mini" not in found.stdout and "sources" not in found.stdout
    mini.expect(0, "rollback", "--to", first)
    assert mini.get("/argv") == ["one 1", "two 1", "app 1"]


def test_what_a_new_lock_leaves_alone_is_shared(mini: TinySite) -> None:
    """One file in both environments, and compiled once; what differs is new, and compiled as well."""
    packages = "/srv/mini/current/venv/lib/python*/site-packages"
    names = ("one.py", "__pycache__/one.cpython-*.pyc", "two.py", "__pycache__/two.cpython-*.pyc")
    look = " ".join(f"{packages}/{name}" for name in names)
    mini.project.change(files={**lib("one", "alone"), **lib("two", "first"), **KINDS["requirements"]})
    assert "installed" in built(mini)
    before = mini.host.run(f"stat -c %i {look}").stdout.split()
    mini.project.change(files=lib("two", "second"))
    assert "installed" in built(mini)
    after = mini.host.run(f"stat -c %i {look}").stdout.split()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, False]
    said = mini.host.run("/srv/mini/current/venv/bin/python -B -v -c 'import one, two; print(two.VALUE)' 2>&1").stdout
    assert "two second" in said
    assert said.count("matches") >= 2, "their bytecode is that of their source"
    assert "no problems found" in mini.expect(0, "doctor").out
