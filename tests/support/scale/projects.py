"""The sample app among generated files: half of them modules, the rest templates and pictures, a dozen a directory."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support.project import Project, make_project
from tests.support.site import FABFILE

LEFT_OUT = (".gitignore", "shop/asgi.py")
"""Of the sample app, so that with its configuration and the build command it has 20 files."""
A_DIRECTORY = 11
"""Files of one kind in each directory."""
SIZE = 2_100
"""Bytes of a generated file, on average."""
_WORDS = [f"word{number}" for number in range(2_000)]

SCRIPT = '''\
"""A build command: it writes 500 files, and changes one that was shipped, in place."""

import pathlib

built = pathlib.Path("built")
built.mkdir()
for number in range(500):
    (built / f"page{number}.txt").write_text(f"{number}\\n" * 200)
with open("catalog/static/catalog/site.css", "a") as style:
    style.write("/* built */\\n")
'''
BUILD = "python build.py"
"""The build command that runs SCRIPT."""


def grown(path: Path, files: int, *, config: str) -> Project:
    """The sample app in a repository of so many files, at least 20, all of them in one pack, as in a fresh clone."""
    project = make_project(path, extra_files={**FABFILE, "build.py": SCRIPT}, config=config)
    project.git("config", "gc.auto", "0")  # git would do it by itself, beside what is measured
    for name in LEFT_OUT:
        (path / name).unlink()
    project.commit("twenty files")
    grow(project, files - len(project.git("ls-files").splitlines()))
    project.git("-c", "pack.window=0", "-c", "core.fsync=none", "gc", "--quiet")  # to find deltas takes minutes
    return project


def grow(project: Project, files: int) -> None:
    """Add so many generated files, always the same ones, and commit them."""
    for number in range(files):
        name, content = _file(number)
        place = project.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    project.git("-c", "core.fsync=none", "add", "--all")  # else each file waits for the disk
    project.commit("grown")


def _file(number: int) -> tuple[str, bytes]:
    chance = random.Random(number)
    kind, place = number % 4, number // 4
    size = chance.randrange(SIZE // 2, SIZE + SIZE // 2)
    if kind == 3:
        return f"bulk/pictures/{_directory(place)}/picture{number}.png", chance.randbytes(size)
    words = " ".join(chance.choices(_WORDS, k=size // 9)).encode()
    if kind == 2:
        return f"bulk/pages/{_directory(place)}/page{number}.html", b"<p>" + words + b"</p>\n"
    of_modules = 2 * place + kind
    return f"bulk/{_directory(of_modules)}/module{number}.py", b'"""' + words + b'"""\n\nVALUE = %d\n' % number


def _directory(place: int) -> str:
    number = place // A_DIRECTORY
    return f"part{number // 40}/package{number}"
