"""``fab shell``: a shell in a release, for a person at a terminal, or for a script that is piped in."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from deployer.commands.console.session import Place, Wanted, execute, is_interactive, is_terminal
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.wire.advice import do, run
from deployer.wire.release.command import SHELL

__all__ = ["refuse_misuse", "shell"]


def shell(fleet: Fleet, words: Sequence[str], place: Place) -> int:
    """Open a shell on the host; the exit status of the last command in it.

    Raises ConfigError for words, for several hosts, and where there is neither a terminal nor a script.
    """
    refuse_misuse(fleet, words)
    if is_terminal(0) and not is_interactive(fleet):
        raise ConfigError(
            message="a shell needs a terminal for what it prints, too: standard output is none here, or takes JSON",
            next=run("fab run -- COMMAND", "for one command whose output goes to a file or to another program"),
        )
    return execute(fleet, Wanted(argv=(), place=place, kind=SHELL))


def refuse_misuse(fleet: Fleet, words: Sequence[str]) -> None:
    """Raises ConfigError for words, and for several hosts."""
    if words:
        raise ConfigError(message="fab shell takes no command", next=run(f"fab run -- {shlex.join(words)}"))
    if len(fleet.hosts) > 1:
        raise ConfigError(
            message=f"a shell is opened on one host, and {len(fleet.hosts)} were named: {', '.join(fleet.hosts)}",
            next=run(f"fab shell -H {fleet.hosts[0]}") + do("or name a command for all of them: fab run -- sh -c '…'"),
        )
