"""Requirements with hashes: what uv would install unchecked is asked to be checked, or told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployer.config import Config
from deployer.config.tables.web import WebConfig
from deployer.host.build.environment.venv import commands as venv_commands
from deployer.release.spec import spec_of
from deployer.wire.protocol import dumps
from deployer.wire.release.spec import Spec
from tests.support.repository import Repository
from tests.unit.project.locks.test_lockfile import locked, ship

HASH = f"\\\n    --hash=sha256:{'0' * 64}"
A = f"a==1 {HASH}\n"


@pytest.mark.parametrize(
    ("files", "required", "told"),
    [
        ({"requirements.txt": "a==1\nb==2\n"}, False, ""),
        ({"requirements.txt": f"{A}b==2 {HASH}\n"}, True, ""),
        ({"requirements.txt": f"--index-url https://example.com\n{A}"}, True, ""),
        ({"requirements.txt": "--require-hashes\na==1\n"}, True, ""),
        ({"requirements.txt": f"{A}b==2\nc==3\nd==4\ne==5\n"}, False, "requirements.txt:3: b==2; "),
        ({"requirements.txt": f"{A}b==2\nc==3\nd==4\ne==5\n"}, False, "; and 1 more"),
        ({"requirements.txt": f"{A}-r more.txt\n", "more.txt": "b==2\n"}, False, "more.txt:1: b==2"),
        ({"requirements.txt": "-c c.txt\na==1\n", "c.txt": A}, True, ""),
        ({"requirements.txt": "-c c.txt\na==1\nb==1\n", "c.txt": A}, False, "b==1"),
        ({"requirements.txt": f"{A}-c c.txt\n", "c.txt": "b==1\n"}, True, ""),
        ({"requirements.txt": f"{A}./lib\n", "lib/pyproject.toml": ""}, False, ""),
        ({"requirements.txt": f"-e .\n{A}", "pyproject.toml": ""}, False, ""),
        ({"requirements.txt": f"{A}git+https://example.com/x@{'a' * 40}\n"}, False, ""),
        ({"requirements.txt": f"{A}https://example.com/x-1.tar.gz\n"}, False, "x-1.tar.gz"),
    ],
)
def test_where_hashes_are_required(repo: Repository, files: dict[str, str], required: bool, told: str) -> None:
    """As pip has it: one hash asks for all. What is built from source has none, and is no news."""
    lock = locked(repo, files)
    warnings = [text for text in lock.warnings if "hashes" in text]
    assert lock.hashes is required
    assert [told in text for text in warnings] == ([True] if told else [])


@pytest.mark.parametrize("required", [True, False])
def test_the_installer_is_asked(repo: Repository, required: bool) -> None:
    """uv passes over the option where it stands in a file."""
    files: dict[str, Any] = {"requirements.txt": A if required else "a==1\n"}
    lock = locked(repo, files)
    config = Config(app="shop", web=WebConfig(wsgi="shop.wsgi:application"))
    again = Spec.parse(json.loads(dumps(spec_of(config, ship(repo, {}), lock).as_json())))
    assert ("--require-hashes" in venv_commands(again, "/venv", "python3")[1]) is required
