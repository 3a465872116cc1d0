"""All that this machine has of an app's environment, read once for all hosts of a command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from deployer.config.environment.command import run_env_command
from deployer.config.environment.dotenv import read_env_file
from deployer.config.environment.secret import Secret
from deployer.wire.environment import COMMAND, FILE, PLAIN
from deployer.wire.lazydata import dataclass

__all__ = ["LocalEnvironment", "read_local"]


@dataclass(frozen=True, kw_only=True)
class LocalEnvironment:
    """The variables of the ``env_file`` and of the ``env_command``, and which ones a release must have."""

    file: Mapping[str, Secret] = field(default_factory=dict)
    command: Mapping[str, Secret] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    @property
    def secret(self) -> tuple[str, ...]:
        """The names whose values no output may show."""
        return tuple(sorted({*self.file, *self.command}))

    def over(self, plain: Mapping[str, str]) -> dict[str, str]:
        """The values, over those of ``[env]``. They go into the channel and nowhere else."""
        return {**plain, **{name: one.reveal() for name, one in {**self.file, **self.command}.items()}}

    def sources(self, plain: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Where each variable comes from, the source that wins first."""
        layers = ((COMMAND, self.command), (FILE, self.file), (PLAIN, plain))
        names = {name: None for _, layer in layers for name in layer}
        return {name: tuple(source for source, layer in layers if name in layer) for name in names}


def read_local(
    root: Path, *, env_file: str | None, env_command: str | None, required: tuple[str, ...]
) -> LocalEnvironment:
    """Read the file and run the command. Raises ConfigError."""
    return LocalEnvironment(
        file=read_env_file(root / env_file) if env_file else {},
        command=run_env_command(env_command, root) if env_command else {},
        required=required,
    )
