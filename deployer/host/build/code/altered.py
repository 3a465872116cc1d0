"""Which files of a tree are not as they were shipped, though nobody but a disk or an admin can have changed them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Callable

from deployer.host.build import bytecode
from deployer.host.build.code import shipped
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.content import contents
from deployer.host.state.content.records import Examined
from deployer.wire.advice import do, run
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import EXECUTABLE, LINK, Entry


class Taken:
    """The shipped files of a tree that is being made, of which most are taken over from sealed trees ``like`` it.
    ``recorded`` gives what is known of those."""

    def __init__(
        self,
        ctx: Context,
        key: str,
        entries: Entries,
        like: Sequence[str],
        recorded: Callable[[], Examined | None],
    ) -> None:
        self._ctx, self._key, self._entries, self._like, self._recorded = ctx, key, entries, like, recorded

    def prove(self) -> None:
        """Look at the whole tree. Raises HostError when a file that was taken over is not what was shipped, OSError."""
        tree = self._ctx.trees.path(self._key)
        lost = altered(self._ctx.trees.examine(self._key, self._like).digests.by_path, self._entries)
        refuse(self._ctx, self._key, {path: tree / path for path in lost})

    def prove_replaced(self, directory: Path, names: Mapping[str, str]) -> None:
        """Look at what was moved from the tree to a directory, where it has those ``names`` for its paths. Raises what
        :meth:`prove` does."""
        place, recorded = os.fsencode(directory), self._recorded()
        before = recorded.seen.by_path if recorded is not None else {}
        seen, paths = contents.listing(place), dict[bytes, bytes]()
        for moved in seen:
            name, slash, rest = moved.partition(b"/")
            paths[moved] = os.fsencode(names[os.fsdecode(name)]) + slash + rest
        unknown = {moved: one for moved, one in seen.items() if before.get(paths[moved]) != one}
        found = {paths[moved]: one for moved, one in contents.digests(place, unknown, {}).items()}
        suspect = self._entries.those(map(os.fsdecode, found))
        where = {os.fsdecode(path): directory / os.fsdecode(moved) for moved, path in paths.items()}
        refuse(self._ctx, self._key, {path: where[path] for path in altered(found, suspect)})


def altered(digests: Mapping[bytes, bytes], entries: Iterable[Entry]) -> list[str]:
    """Shipped files that are not there as they were shipped: a build command changed them, or a link is in their
    place."""
    return [entry.path for entry in entries if digests.get(entry.path.encode()) != _as_shipped(entry)]


def _as_shipped(entry: Entry) -> bytes:
    if entry.kind == LINK:
        return contents.digest_and_mode(f"-> {entry.digest}", 0o777)
    return contents.digest_and_mode(entry.digest, 0o755 if entry.kind == EXECUTABLE else 0o644)


def refuse(ctx: Context, key: str, lost: Mapping[str, Path]) -> None:
    """Raises HostError when a file that was taken over from another tree is not what was shipped: nobody but a disk or
    an admin has changed it there. The next upload brings it. ``lost``: where each such file is now, by its path."""
    if not lost:
        return
    for other in ctx.trees.all_keys():
        shared = [path for path, place in lost.items() if ctx.trees.has(other, path, place)]
        if shared and other != key:
            shipped.mark_altered(ctx.trees, other, shared)
    raise HostError(
        f"{min(lost)} is no longer what was shipped: it was changed on the host",
        next=run("fab deploy", "uploads it again") + do("check the disk, too"),
    )


def settle(ctx: Context, key: str, damage: str, changed: Sequence[bytes]) -> bool:
    """Put a tree right that was sealed by what is recorded of the tree before, and is not like that: ``damage`` says
    so, at the paths ``changed``. True when only bytecode differed, which is then left out; False when nothing was done.

    Raises HostError when a file that was taken over is not what was shipped, OSError.
    """
    if not changed:  # it cannot be read, say
        return False
    seal = ctx.trees.record(key) or {}
    paths, outside = [os.fsdecode(path) for path in changed], set(seal.get("altered", ()))
    taken_over = [path for path in paths if path not in outside]
    lost = {one.path: ctx.trees.path(key) / one.path for one in shipped.entries(ctx.trees, key, seal).those(taken_over)}
    if lost:
        ctx.trees.mark(key, seal, damaged=damage)  # no other deploy takes it as it is
    refuse(ctx, key, lost)
    recorded = ctx.trees.recorded(key)
    if recorded is None or not all(bytecode.module_of(path) for path in changed):
        return False
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{ctx.trees.path(key)}/{path}")
    ctx.trees.seal(key, seal, ctx.trees.examine_again(key, recorded, paths)[0])
    return True
