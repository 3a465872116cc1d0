"""Where a release's programs are looked for, and with whose eyes."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.host.errors import HostError
from deployer.host.units import programs
from deployer.host.units.programs import Place
from deployer.wire.release.processes import Process
from tests.unit.wire.release.test_spec import SPEC

if os.getuid() != 0:
    pytest.skip("only root can look with another's eyes", allow_module_level=True)
NOBODY = pwd.getpwuid(65534).pw_name


def missing(program: str, place: Place) -> str:
    """Why a program is refused; empty when it is not."""
    process = Process(name="w", command=(program,), count=1, stop=1, overlap=True, check="", unit=())
    try:
        programs.refuse_missing(replace(SPEC, web=None, processes=(process,)), place)
    except HostError as error:
        return error.message
    return ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An environment and a code tree, each with a program; and beside them what nobody but root may know."""
    for path in ("venv/bin/tool", "code/bin/work", "code/plain", "hidden/there"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("#!/bin/sh\n")
        (tmp_path / path).chmod(0o644 if path.endswith("plain") else 0o755)
    (tmp_path / "hidden").chmod(0o700)
    return Place(NOBODY, tmp_path / "venv", tmp_path / "code")


@pytest.mark.parametrize("program", ["tool", "sh", "bin/work", "./bin/work", "bin//work", "/bin/sh"])
def test_programs_that_are_there(program: str, place: Place) -> None:
    """In the environment, on the host, in the code, from the root."""
    assert missing(program, place) == ""


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("absent", "not among the installed"), ("plain", "not among"), ("bin/absent", "not a program in the code"),
        ("plain/x", ""), ("./plain", "not a program in the code"), ("bin", "not among"), ("/etc/passwd", "can run"),
        ("/absent", "can run"), ("../hidden/there", ""),
    ],
)  # fmt: skip
def test_programs_that_are_not(program: str, why: str, place: Place) -> None:
    """Each is refused before anything starts; of what lies behind something odd only the start can tell."""
    assert why in missing(program, place)
    assert bool(missing(program, place)) == bool(why)


def test_what_only_root_can_see_looks_like_what_is_not_there(place: Place) -> None:
    """Nobody learns from a deploy whether a file exists that the app could not see."""
    assert place.code is not None
    hidden = place.code.parent / "hidden"
    there, absent = missing(f"{hidden}/there", place), missing(f"{hidden}/gone", place)
    assert there.replace("there", "gone") == absent != ""


def test_links_of_a_builds_are_not_followed(place: Place) -> None:
    """Where one leads, to what is there or is not, makes no difference."""
    assert place.code is not None and place.venv is not None
    hidden = place.code.parent / "hidden"
    for name, target in (("yes", hidden / "there"), ("no", hidden / "gone")):
        (place.venv / "bin" / name).symlink_to(target)
        (place.code / name).symlink_to(target)
        assert missing(name, place) == ""
        assert missing(f"./{name}", place) == ""


def test_a_pipe_keeps_nobody(place: Place) -> None:
    """Nothing is opened: neither one in the code, nor one at a path from the root."""
    assert place.code is not None
    os.mkfifo(place.code / "pipe", 0o777)
    assert "not a program" in missing("./pipe", place)
    assert missing(str(place.code / "pipe"), replace(place, app="root")) == ""  # of that only the start can tell
