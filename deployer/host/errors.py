"""The one error the host program raises on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deployer.wire.advice import NOTHING, Advice, Next, run
from deployer.wire.protocol import Exit


class HostError(Exception):
    """A failure with all that a person needs: what failed, the state everything is in, what to type next.

    ``logs`` are the last lines of the process that failed; ``stays`` is what it did that no undo takes back.
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
    """What came over the channel is not a request this program accepts: nothing was touched."""

    def __init__(self, message: str, *, next: Advice = NOTHING) -> None:
        super().__init__(message, exit=Exit.USAGE, state="nothing was touched", next=next)


class Damaged(HostError):
    """A file of deployer's own does not hold what was written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged: it does not hold what deployer wrote there", next=run("fab doctor"))
        self.path = path
