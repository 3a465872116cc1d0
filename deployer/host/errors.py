"""The one error the host program raises on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deployer.wire.advice import NOTHING, Advice, Next, run
from deployer.wire.protocol import Exit


class HostError(Exception):
    """A failure, with what failed, the state everything is in, and what to type next.

    ``logs`` are the last lines of the process that failed; ``stays`` is what it did that cannot be undone.
    """

    def __init__(
        self,
        message: str,
        *,
        exit: Exit = Exit.REFUSED,
        state: str = "",
        next: Advice = NOTHING,
        logs: Sequence[str] = (),
        stays: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit = exit
        self.state = state
        self.next = Next.of(next)
        self.logs = tuple(logs)
        self.stays = stays


class BadRequest(HostError):
    """The input is not a request that this program accepts; nothing was touched."""

    def __init__(self, message: str, *, next: Advice = NOTHING) -> None:
        super().__init__(message, exit=Exit.USAGE, state="nothing was touched", next=next)


class Damaged(HostError):
    """A file written by deployer has been changed or cut off."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged: it does not hold what deployer wrote there", next=run("fab doctor"))
        self.path = path
