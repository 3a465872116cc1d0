"""One exception tree. Every error has its exit code, the state of things, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployer.wire.advice import NOTHING, Next, run
from deployer.wire.errors import ExplainedError
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit

__all__ = [
    "BadAnswer",
    "Busy",
    "ConfigError",
    "DeployerError",
    "Exit",
    "Interrupted",
    "Mixed",
    "Unreachable",
    "lost_before",
]


_LONGEST_WHAT = 300


@dataclass(kw_only=True, eq=False)
class DeployerError(ExplainedError):
    """Base of all errors meant for the person who typed the command. ``host`` is where it happened."""

    message: str
    state: str = ""
    next: Next = NOTHING
    host: str = ""
    logs: Sequence[str] = ()

    exit = Exit.BUG

    def __post_init__(self) -> None:
        super().__init__(self.message)


class ConfigError(DeployerError):
    """Bad usage or a bad ``deploy.toml``: nothing was touched (exit 2), which ``state`` says unless told otherwise."""

    exit = Exit.USAGE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "state", self.state or "nothing was touched")


class Unreachable(DeployerError):
    """A host could not be reached or logged in to, or its key is unknown or changed: nothing was touched (exit 3)."""

    exit = Exit.UNREACHABLE


class BadAnswer(Unreachable):
    """A host said what its program never says: it is broken, or it is not the program that ``fab setup`` installed."""

    @classmethod
    def of(cls, host: str, what: str) -> BadAnswer:
        """``what`` it said, for people. What state the host is in then depends on what it was asked for."""
        bare = host.rpartition("@")[2]
        return cls(
            message=f"{host} said what its program never says: {what[:_LONGEST_WHAT]}",
            next=run(f"fab setup -H root@{bare}", "installs the host program again; first see who changed it"),
            host=host,
        )


class Busy(DeployerError):
    """Another deploy of the same app runs on the host: nothing was touched (exit 4)."""

    exit = Exit.BUSY


class Mixed(DeployerError):
    """The hosts disagree, or it is not known what a host serves (exit 7)."""

    exit = Exit.MIXED


class Interrupted(DeployerError):
    """Ctrl-C here, or SIGTERM while the host was at work (exit 130, as shells report SIGINT)."""

    exit = Exit.INTERRUPTED


def lost_before(error: Unreachable, *, next: Next) -> Unreachable:
    """The same error, of a connection that was lost before the host had begun, and what to type then."""
    return replace(error, state=error.state or "nothing was touched", next=error.next or next)
