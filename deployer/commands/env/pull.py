"""``fab env.get`` and ``fab env.pull``: values, for who asks for them by name."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from deployer.commands.env import typed
from deployer.commands.env.values import kept, value_of
from deployer.config.environment.dotenv import written
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.wire.advice import run

__all__ = ["get", "pull", "refuse_pull"]


def get(fleet: Fleet, words: list[str]) -> tuple[str, str]:
    """A variable's name, and its value. Raises ConfigError, Mixed, NoAnswer."""
    names = typed.names(words, "env.get")
    if len(names) > 1:
        raise ConfigError(message="one variable at a time", next=run("fab env.pull", "has all that the hosts keep"))
    return names[0], value_of(fleet, names[0]).reveal()


def refuse_pull(file: str, *, yes: bool) -> None:
    """Raises ConfigError where secrets would be written over something, or to a terminal, and ``yes`` was not said."""
    if yes:
        return
    if file == typed.STANDARD and sys.stdout.isatty():
        raise ConfigError(
            message="this would show secrets on the terminal",
            next=run("fab env.pull FILE", "writes them to a file that only you can read")
            + run("fab env.pull --yes", "shows them"),
        )
    if file != typed.STANDARD and os.path.lexists(file):
        raise ConfigError(message=f"{file} is there already", next=run(f"fab env.pull {file} --yes", "writes over it"))


def pull(fleet: Fleet, file: str) -> dict[str, str]:
    """What the hosts keep. It is written to ``file``, mode 0600, unless that is standard output. Raises ConfigError,
    Mixed, NoAnswer."""
    values = {name: value.reveal() for name, value in kept(fleet).items()}
    if file != typed.STANDARD:
        _write(Path(file), written(values))
    return values


def _write(path: Path, text: str) -> None:
    """In one step; nobody else can read it at any moment. Raises ConfigError."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise ConfigError(message=f"{path}: cannot be written: {error.strerror}") from None
