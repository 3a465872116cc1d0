"""What the tests of deploy.toml and of what ships share."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.config import Config, load
from deployer.errors import ConfigError
from deployer.host.protocol import Exit
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
