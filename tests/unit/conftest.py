"""What the tests of deploy.toml and of what ships share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.config import Config, load
from deployer.errors import ConfigError
from deployer.wire.protocol import Exit
from tests.support.repository import Repository


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """A repository with one commit: app.py and manage.py."""
    repository = Repository(tmp_path / "my project")
    repository.commit(app__py="one", manage__py="manage")
    return repository


@pytest.fixture
def toml(tmp_path: Path):
    """A function that loads a text as deploy.toml."""

    def loaded(text: str, environment: str | None = None) -> Config:
        path = tmp_path / "deploy.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environment=environment)

    return loaded


@pytest.fixture
def refusal(toml):
    """A function that gives the message with which a text is refused, without the directory."""

    def message(text: str, environment: str | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            toml(text, environment)
        assert caught.value.exit == Exit.USAGE
        return "\n".join(line.rpartition("/deploy.toml:")[2] or line for line in caught.value.message.split("\n"))

    return message


@pytest.fixture(autouse=True, scope="session")
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is written to the system's temporary directory and to the user's cache goes with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can show the marks, wherever the tests run."""
    for name in ("LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
