"""The ``deployer`` command: ``fab`` with our tasks, in any directory, without a fabfile."""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import takewhile
from typing import Any

from fabric.config import Config
from invoke.program import Program

from deployer import __version__
from deployer.cli.usage.program import ExplainedFab
from deployer.executor import FleetExecutor

LOCAL = {
    "demo": "The whole product on a throwaway host, every request counted.",
    "sandbox": "Throwaway hosts on this machine: sandbox up, down, list, ssh.",
}
"""Commands that need no project and no host: modules of deployer.commands, which parse their own arguments."""
_AHEAD = ("--dry", "-R", "--help", "-h")
"""Options that may also precede them."""


class OwnConfig(Config):  # type: ignore[misc]
    """Fabric's configuration without ssh_config, which OpenSSH resolves."""

    def _load_ssh_files(self) -> None:
        """Does nothing: Fabric would read them with Paramiko, which supports only some options and fails at others."""


class Deployer(ExplainedFab):
    """Fabric's program with our tasks bundled; the project's own fabfile is not loaded."""

    def print_version(self) -> None:
        """One line."""
        Program.print_version(self)

    def list_flat(self) -> None:
        """The tasks, then the commands that are not tasks."""
        super().list_flat()
        sys.stdout.write("On this machine alone:\n\n")
        self.print_columns(list(LOCAL.items()))

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
    words = sys.argv[1:]
    ahead = list(takewhile(_AHEAD.__contains__, words))
    command, rest = next(iter(words[len(ahead) :]), ""), words[len(ahead) + 1 :]
    if command in LOCAL:
        at = rest.index("--") if "--" in rest else len(rest)
        raise SystemExit(import_module(f"deployer.commands.{command}").main([*rest[:at], *ahead, *rest[at:]]))
    program().run()
