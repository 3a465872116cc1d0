"""The build commands of a tree, in an overlay: what they write is kept apart, and what they leave alone goes on being
shared with the tree before.

Where the host offers no overlay (a kernel before 5.19, a file system that cannot be a part of one, as in most
containers), they get a copy of the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, NamedTuple

from deployer.host.build import bytecode, disk, hardlinks
from deployer.host.build.command import refused, stop_build, take
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.content.store import scratch_of
from deployer.host.system import files, overlay, ownership, runner
from deployer.host.units import transient
from deployer.wire.advice import do


class Built(NamedTuple):
    """The paths of the files that were ``written``, and all paths at which, or below which, something has ``changed``;
    None: it may have anywhere."""

    written: list[str]
    changed: list[str] | None


class Proof(NamedTuple):
    """Raise HostError when what is taken over from the tree before is not what was shipped: ``whole`` looks at all of
    it, ``replaced`` at what was moved to a directory, whose paths are known by the names there."""

    whole: Callable[[], None]
    replaced: Callable[[Path, Mapping[str, str]], None]


def run(ctx: Context, tree: Path, commands: Callable[[], None], proof: Proof) -> Built:
    """Run ``commands``, which may change all of the tree as the deploy user, and take the result for root.

    What a command replaces is proven here: nobody can tell afterwards what it was. Raises HostError, OSError.
    """
    scratch = scratch_of(tree)
    files.remove_tree(scratch)
    scratch.mkdir(mode=0o700)
    try:
        overlay.mount(tree, scratch, *ctx.builder())
    except OSError:
        files.remove_tree(scratch)
        proof.whole()
        return Built(_in_a_copy(ctx, tree, commands), None)
    try:
        commands()
    except HostError:
        _tell_why(ctx, tree, proof)
        raise
    transient.refuse_running(ctx, "build")
    renamed = overlay.is_renamed(scratch / overlay.UPPER)
    if renamed:
        _copy(tree, scratch / "whole")
    try:
        overlay.unmount(tree)
    except PermissionError as error:
        end = do("end that process, or have it leave: a shell whose working directory is there counts, too")
        raise refused(error, end) from None
    if renamed:
        proof.whole()
        built = Built(_replace(ctx, tree, scratch / "whole"), None)
    else:
        built = _add(ctx, tree, scratch, proof)
    files.remove_tree(scratch)
    return built


def _tell_why(ctx: Context, tree: Path, proof: Proof) -> None:
    """A command has failed. Raises HostError when a file that it has found is not what was shipped."""
    stop_build(ctx)
    try:
        overlay.unmount(tree)
    except OSError:  # another process keeps it
        return
    proof.whole()


def _add(ctx: Context, tree: Path, scratch: Path, proof: Proof) -> Built:
    removed = scratch / "removed"
    removed.mkdir(mode=0o700)
    try:
        written, changed, replaced = overlay.copy(scratch / overlay.UPPER, tree, removed, ctx.builder()[0])
    except PermissionError as error:
        raise refused(error) from None
    proof.replaced(removed, replaced)
    return Built(written, [*changed, *bytecode.drop(tree, written)])


def _copy(tree: Path, whole: Path) -> None:
    """Copy all that the overlay shows: a shipped directory has another name now, and most of it is not above."""
    done = runner.run(["/bin/cp", "-a", "--", str(tree), str(whole)], timeout=3600)
    if not done.ok:
        raise HostError("what was built cannot be copied", logs=done.tail())


def _replace(ctx: Context, tree: Path, whole: Path) -> list[str]:
    take(ctx, whole)
    before = _files(tree)
    files.remove_tree(tree)
    os.rename(str(whole), str(tree))
    return _written(tree, before)


def _in_a_copy(ctx: Context, tree: Path, commands: Callable[[], None]) -> list[str]:
    before = _files(tree)
    disk.require_room(tree.parent, sum(one.st_size for one in before.values() if one.st_nlink > 1), "the code")
    hardlinks.copy_shared(tree)
    ownership.give(tree, *ctx.builder())
    commands()
    take(ctx, tree)
    return _written(tree, before)


def _written(tree: Path, before: Mapping[str, os.stat_result]) -> list[str]:
    """The files that are new or have changed; what was compiled of them before is dropped."""
    written = [path for path, seen in _files(tree).items() if not _is_as_before(before.get(path), seen)]
    bytecode.drop(tree, written)
    return written


def _files(tree: Path) -> dict[str, os.stat_result]:
    """Each regular file of a tree."""
    found = {}
    for directory, _, names in os.walk(str(tree)):
        for name in names:
            status = os.lstat(f"{directory}/{name}")
            if stat.S_ISREG(status.st_mode):
                found[os.path.relpath(f"{directory}/{name}", str(tree))] = status
    return found


def _is_as_before(before: os.stat_result | None, after: os.stat_result) -> bool:
    return before is not None and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
