"""The code of a release: made of the tree that serves and an upload, built by the deploy user, sealed by root.

Nobody but root ever writes to it: files that stay are hard links to those of the tree before, build commands write to
an overlay (:mod:`deployer.host.build.code.overlaid`), and new modules are compiled in a directory of their own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.host.build import bytecode, disk
from deployer.host.build.code import overlaid, shared, shipped
from deployer.host.build.code.delta import parse_delta
from deployer.host.build.code.unpack import Base, Mismatch, apply, merge
from deployer.host.build.command import run_build, stop_build
from deployer.host.errors import HostError
from deployer.host.state import contents
from deployer.host.state.app import Context
from deployer.host.state.store import Examined
from deployer.host.system import ownership
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass
from deployer.wire.release.spec import Spec
from deployer.wire.tree import EXECUTABLE, LINK, Delta, Entry


@dataclass(frozen=True)
class Plan:
    """What an upload makes of the tree that it builds on: its files, and those of them that stay from there."""

    delta: Delta
    base: Base | None
    entries: Sequence[Entry]
    kept: Sequence[Entry]

    @property
    def room(self) -> int:
        """The bytes that it needs on the disk."""
        shares = self.base is not None and self.base.shares
        return sum(entry.size for entry in (self.delta.add if shares else self.entries))


def plan(ctx: Context, value: object, compiled: str) -> Plan:
    """Check an upload's description against what is on the host. ``compiled`` names the interpreter: bytecode of
    another one is not taken over. Raises HostError."""
    try:
        delta = parse_delta(value)
    except ValueError as error:
        raise HostError(f"the upload's description is invalid: {error}") from None
    seal = ctx.trees.record(delta.base)
    if delta.base and seal is None:
        raise HostError("the tree that this upload builds on is gone from the host", next=run("fab deploy", "again"))
    base = _base(ctx, delta.base, seal, compiled) if seal is not None else None
    try:
        entries, kept = merge(delta, base)
    except ValueError as error:
        raise _mismatch(error) from None
    return Plan(delta, base, entries, kept)


def _base(ctx: Context, key: str, seal: Mapping[str, Any], compiled: str) -> Base:
    """What an upload builds on. A tree that an earlier version sealed is copied once: it knew no links."""
    entries = shipped.base(ctx.trees, key, seal)
    return Base(
        directory=str(ctx.trees.path(key)),
        entries=entries,
        ids=shipped.ids_of(ctx.trees, key, seal, entries),
        shares=shipped.is_listed(seal),
        bytecode=seal.get("compiled") == compiled,
    )


def _mismatch(error: ValueError) -> HostError:
    return HostError(f"the upload does not match its description: {error}", next=run("fab deploy", "uploads it again"))


def unpack(ctx: Context, key: str, plan: Plan, body: Path) -> None:
    """Write a tree from the base on the host and the upload. Until it is complete only root can reach it.

    Raises HostError when the content does not match its digest or the disk is full; nothing stays.
    """
    destination, base = ctx.trees.begin(key), plan.base
    os.chmod(str(destination), 0o700)
    try:
        apply(plan.delta, str(body), base, plan.kept, str(destination))
        shipped.record(ctx.trees, key, plan.entries)
    except Mismatch as error:
        ctx.trees.remove(key)
        lost = {entry.path for entry in plan.kept}.intersection(error.paths)
        if lost:
            shipped.mark_altered(ctx.trees, plan.delta.base, lost)  # the next upload brings them itself
        raise _mismatch(error) from None
    except OSError as error:
        ctx.trees.remove(key)
        raise disk.disk_error(error, destination, "unpacking the code") from error
    os.chmod(str(destination), 0o755)


def build(
    ctx: Context,
    key: str,
    spec: Spec,
    venv: Path | None,
    environment: Mapping[str, str],
    compiled: str,
    like: Sequence[str],
) -> None:
    """Run the build commands in the tree, compile its bytecode, seal it. ``like`` are trees that it may share files
    with. Raises HostError; nothing stays."""
    tree = ctx.trees.path(key)
    seen = dict(environment)
    if venv is not None:
        seen["VIRTUAL_ENV"] = str(venv)
    try:
        entries = shipped.unsealed(ctx.trees, key)
        refuse_no_directory(spec, tree)
        modules = [entry.path for entry in entries if entry.kind != LINK]
        if spec.build:  # afterwards nobody can tell who has changed a file
            _refuse_altered(ctx, key, _altered(ctx.trees.examine(key, like), entries))
            shared.prepare(tree, spec.shared)
            modules += overlaid.run(ctx, tree, lambda: _run_commands(ctx, tree, spec, venv, seen))
        bytecode.add_missing(ctx, tree, modules, venv, seen, spec.build_timeout)
        shared.link(tree, ctx.paths.state, spec.shared)
        found = ctx.trees.examine(key, like)
        altered = _altered(found, entries)
        if not spec.build:
            _refuse_altered(ctx, key, [path for path in altered if not any(one.holds(path) for one in spec.shared)])
        record = {"source": spec.source.digest, "compiled": compiled}
        ctx.trees.seal(key, {**record, **shipped.seal(ctx.trees, key, entries, altered)}, found)
    except BaseException:
        stop_build(ctx)
        ctx.trees.remove(key)
        raise


def _run_commands(ctx: Context, tree: Path, spec: Spec, venv: Path | None, seen: Mapping[str, str]) -> None:
    for command in spec.build:
        shell = ["/bin/sh", "-euc", command]
        what = f"the build command {command!r}"
        run_build(ctx, shell, tree / spec.directory, tree, seen, what, spec.build_timeout, venv)


def refuse_no_directory(spec: Spec, tree: Path) -> None:
    """Raises HostError when the directory that the app runs in did not ship, or is a link."""
    mode = 0
    with contextlib.suppress(OSError):  # a part of it is a link or a file
        mode = ownership.mode_below(tree, spec.directory) if spec.directory else 0
    if spec.directory and not stat.S_ISDIR(mode):
        raise HostError(
            f"{spec.directory}, the directory that deploy.toml names, is not among the files of this release",
            next=do("commit it, or correct directory in deploy.toml") + run("fab deploy"),
        )


def _altered(found: Examined, entries: Sequence[Entry]) -> list[str]:
    """Shipped files that are not there as they were shipped: a build command changed them, or a link is in their
    place."""
    digests = found.digests
    return [entry.path for entry in entries if digests.get(entry.path.encode()) != _as_shipped(entry)]


def _as_shipped(entry: Entry) -> bytes:
    if entry.kind == LINK:
        return contents.digest_and_mode(f"-> {entry.digest}", 0o777)
    return contents.digest_and_mode(entry.digest, 0o755 if entry.kind == EXECUTABLE else 0o644)


def _refuse_altered(ctx: Context, key: str, altered: Sequence[str]) -> None:
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
