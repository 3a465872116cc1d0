"""Which files of a tree are not as they were shipped."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from deployer.host.build.code import shipped
from deployer.host.errors import HostError
from deployer.host.state import contents
from deployer.host.state.app import Context
from deployer.host.state.store import Examined
from deployer.host.system.signals import uninterrupted
from deployer.wire.advice import do, run
from deployer.wire.tree import EXECUTABLE, LINK, Entry


class Unbuilt:
    """A tree as it was unpacked, examined in a thread of its own while its build commands run: these change an overlay,
    and the tree is examined below it."""

    def __init__(self, ctx: Context, key: str, entries: Sequence[Entry], like: Sequence[str]) -> None:
        """``like`` are sealed trees that it may share files with. Raises OSError."""
        self._ctx, self._key, self._entries, self._like = ctx, key, entries, like
        self._directory = os.open(str(ctx.trees.path(key)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._found = Examined({}, {})
        self._altered: list[str] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._examine, daemon=True, name="examination")
        with uninterrupted():
            self._thread.start()

    def _examine(self) -> None:
        try:
            self._found = self._ctx.trees.examine(self._key, self._like, self._directory)
            self._altered = altered(self._found, self._entries)
        except Exception as error:
            self._error = error
        finally:
            os.close(self._directory)

    def prove(self) -> Examined:
        """What there was, once it is known. Raises HostError when a file that was taken over from another tree is not
        what was shipped, OSError."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        refuse(self._ctx, self._key, self._altered)
        return self._found


def altered(found: Examined, entries: Sequence[Entry]) -> list[str]:
    """Shipped files that are not there as they were shipped: a build command changed them, or a link is in their
    place."""
    digests = found.digests
    return [entry.path for entry in entries if digests.get(entry.path.encode()) != _as_shipped(entry)]


def _as_shipped(entry: Entry) -> bytes:
    if entry.kind == LINK:
        return contents.digest_and_mode(f"-> {entry.digest}", 0o777)
    return contents.digest_and_mode(entry.digest, 0o755 if entry.kind == EXECUTABLE else 0o644)


def refuse(ctx: Context, key: str, altered: Sequence[str]) -> None:
    """Raises HostError when a file that was taken over from another tree is not what was shipped: nobody but a disk or
    an admin has changed it there. The next upload brings it."""
    if not altered:
        return
    for other in ctx.trees.all_keys():
        lost = [path for path in altered if ctx.trees.shares(key, other, path)]
        if lost and other != key:
            shipped.mark_altered(ctx.trees, other, lost)
    raise HostError(
        f"{altered[0]} is no longer what was shipped: it was changed on the host",
        next=run("fab deploy", "uploads it again") + do("check the disk, too"),
    )
