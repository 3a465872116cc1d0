"""The ``deployer`` command: all that ``fab`` does with our tasks, in any directory, without a fabfile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from fabric.config import Config
from fabric.main import Fab
from invoke.exceptions import Exit as Quit
from invoke.exceptions import ParseError
from invoke.program import Program

from deployer.errors import Exit
from deployer.executor import FleetExecutor


class OwnConfig(Config):  # type: ignore[misc]
    """Fabric's configuration, but ssh_config is left to OpenSSH."""

    def _load_ssh_files(self) -> None:
        """Fabric would read them with Paramiko, by half, and stop at what that doesn't know."""


@contextmanager
def usage() -> Iterator[None]:
    """A wrong command line exits with 2; Invoke's own code is 1."""
    try:
        yield
    except ParseError as error:
        sys.stderr.write(f"deployer: {error}\nnext: deployer --help\n")
        raise Quit(code=int(Exit.USAGE)) from error


class Deployer(Fab):  # type: ignore[misc]
    """Fabric's program with our tasks bundled: the project's own fabfile is not looked at."""

    def print_version(self) -> None:
        """One line."""
        Program.print_version(self)

    def parse_core(self, argv: Any) -> None:
        with usage():
            super().parse_core(argv)

    def parse_tasks(self) -> None:
        with usage():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with usage():
            super().parse_cleanup()


def program() -> Deployer:
    from deployer.tasks import namespace

    return Deployer(
        name="deployer",
        binary="deployer",
        version=version("deployer"),
        namespace=namespace,
        executor_class=FleetExecutor,
        config_class=OwnConfig,
    )


def main() -> None:
    """The console script."""
    program().run()
