"""The ``deployer`` command: all that ``fab`` does with our tasks, in any directory, without a fabfile."""

from __future__ import annotations

from typing import Any

from fabric.config import Config
from invoke.program import Program

from deployer import __version__
from deployer.cli.usage import ExplainedFab
from deployer.executor import FleetExecutor


class OwnConfig(Config):  # type: ignore[misc]
    """Fabric's configuration, but ssh_config is left to OpenSSH."""

    def _load_ssh_files(self) -> None:
        """Fabric would read them with Paramiko, by half, and stop at what that doesn't know."""


class Deployer(ExplainedFab):
    """Fabric's program with our tasks bundled: the project's own fabfile is not looked at."""

    def print_version(self) -> None:
        """One line."""
        Program.print_version(self)

    def parse_core(self, argv: Any) -> None:
        with self._explained():
            super().parse_core(argv)


def program() -> Deployer:
    from deployer.tasks import namespace

    return Deployer(
        name="deployer",
        binary="deployer",
        version=__version__,
        namespace=namespace,
        executor_class=FleetExecutor,
        config_class=OwnConfig,
    )


def main() -> None:
    """The console script."""
    program().run()
