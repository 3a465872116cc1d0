"""A clone of the tree that serves, made before it is needed: an upload then only replaces in it what has changed.

It is what an upload makes of all that it may build on (:mod:`deployer.host.build.hardlinks`), made behind a release of
a large project by a unit of its own. It is complete once it has its name. Nothing is believed of it that is not of
other trees: a release whose tree lacks a file, or has another one, is refused before it migrates or gets traffic.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from deployer.host.build import bytecode, hardlinks
from deployer.host.build.code import shipped
from deployer.host.errors import HostError
from deployer.host.state import cleanup
from deployer.host.state.app import Context
from deployer.host.state.content.store import IDS
from deployer.host.system import files, idle, runner, systemd
from deployer.wire import advice
from deployer.wire.protocol import PROGRAM
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import ID_BYTES, directories_of

WORTH = 2000
"""Files: fewer are linked in less time than it takes to start a unit."""
COMMAND = "clone"
"""The command of the host program that makes one."""
_STAYS = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR)
"""The directory is not empty, or there is none."""


def unit_of(app: str) -> str:
    """The unit that makes one; no app's name has a dot."""
    return f"deployer-{app}.clone.service"


def start(ctx: Context) -> None:
    """Begin to clone what serves, where that is worth it and there is room. Raises HostError, OSError."""
    key = _serving(ctx)
    if key and _is_worth_it(ctx, key) and not ctx.trees.clone(key).exists() and not cleanup.is_tight(ctx.paths.trees):
        idle.start(unit_of(ctx.app), f"{ctx.app}: preparing the next deploy", [PROGRAM, COMMAND, ctx.app])


def _serving(ctx: Context) -> str:
    release = ctx.catalog.serving()
    return release.tree if release is not None else ""


def _is_worth_it(ctx: Context, key: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.getsize(str(ctx.trees.beside(key, IDS))) >= WORTH * ID_BYTES
    return False


def make(ctx: Context) -> None:
    """Clone what serves, where its files can be linked; what the unit runs. Raises HostError, OSError; what is left
    then is debris."""
    key = _serving(ctx)
    seal, place, draft = ctx.trees.record(key), ctx.trees.clone(key), ctx.trees.clone_draft(key)
    entries = shipped.base(ctx.trees, key, seal) if seal is not None and shipped.is_listed(seal) else None
    if not entries or brings_bytecode(entries) or place.exists():
        return
    files.remove_tree(draft)
    draft.mkdir(mode=0o700)
    files.lock(draft)  # to the end of this process
    try:
        hardlinks.share(str(ctx.trees.path(key)), str(draft), entries, (), modules=True, link=hardlinks.link)
    except hardlinks.Missing as error:
        raise HostError(f"{ctx.trees.path(key)} has lost files: {error}", next=advice.run("fab doctor")) from None
    except OSError as error:
        if error.errno not in hardlinks.NO_LINK:
            raise
        files.remove_tree(draft)
        return
    done = runner.run(["sync", "-f", str(draft)], timeout=600)
    if not done.ok:
        raise HostError(f"{draft} could not be made durable", logs=done.tail())
    os.rename(str(draft), str(place))


def take(ctx: Context, key: str, destination: Path) -> bool:
    """Make the clone of ``key`` the content of ``destination``, an empty directory. False when there is none. Raises
    OSError."""
    drafts = ctx.trees.clone_drafts()
    if drafts:  # it comes too late
        systemd.systemctl("stop", unit_of(ctx.app))
    for draft in drafts:
        files.put_away_or_remove(draft)
    place = ctx.trees.clone(key)
    if not place.is_dir():
        return False
    os.rename(str(place), str(destination))
    files.sync_directory(destination.parent)  # before anything in it changes
    return True


def brings_bytecode(entries: Entries) -> bool:
    """Whether a tree's files are where bytecode is kept: nothing of it is cloned then."""
    return bytecode.CACHE.encode() in entries.text


def reduce(tree: Path, dropped: Sequence[str], kept: Entries) -> None:
    """Remove files from a clone, with the bytecode of those that are modules, and the directories that hold nothing of
    what is ``kept``. Raises OSError."""
    for path in dropped:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{tree}/{path}")
    bytecode.drop(tree, dropped)
    for directory in sorted({path.rpartition("/")[0] for path in dropped} | directories_of(dropped), key=len)[::-1]:
        _remove_empty(f"{tree}/{directory}/{bytecode.CACHE}")
        if directory and not kept.has_directory(directory):
            _remove_empty(f"{tree}/{directory}")


def _remove_empty(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in _STAYS:
            raise
