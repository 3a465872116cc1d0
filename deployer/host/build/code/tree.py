"""The code of a release: made of the tree that serves and an upload, built by the deploy user, sealed by root.

Nobody but root ever writes to it: files that stay are hard links to those of the tree before, build commands write to
an overlay (:mod:`deployer.host.build.code.overlaid`), and new modules are compiled in a directory of their own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from deployer.host.build import bytecode, disk
from deployer.host.build.code import clone, overlaid, shared, shipped
from deployer.host.build.code.altered import Taken, altered
from deployer.host.build.code.delta import parse_delta
from deployer.host.build.code.overlaid import Built, Proof
from deployer.host.build.code.unpack import Base, Merged, Mismatch, apply, merge
from deployer.host.build.command import run_build, stop_build
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.content.records import Examined
from deployer.host.system import ownership
from deployer.host.system.alongside import alongside
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import LINK, Delta


@dataclass(frozen=True)
class Plan:
    """What an upload makes of the tree that it builds on."""

    delta: Delta
    base: Base | None
    merged: Merged = field(repr=False)

    @property
    def entries(self) -> Entries:
        return self.merged.entries

    @property
    def inodes(self) -> int:
        """How many it needs at least."""
        return len(self.delta.add)

    @property
    def room(self) -> int:
        """The bytes that it needs on the disk."""
        shares = self.base is not None and self.base.shares
        return sum(entry.size for entry in (self.delta.add if shares else self.entries))

    @property
    def takes_bytecode(self) -> bool:
        """Whether all that stays has its bytecode; not where some of it was shipped, or is now."""
        base = self.base
        if base is None or not base.entries or not base.shares or not base.bytecode:
            return False
        return not any(map(clone.brings_bytecode, (base.entries, self.merged.entries)))

    @property
    def fresh(self) -> list[str] | None:
        """The paths of the files that are new; None when others may lack their bytecode, too."""
        return [entry.path for entry in self.delta.add if entry.kind != LINK] if self.takes_bytecode else None


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
        merged = merge(delta, base)
    except ValueError as error:
        raise _mismatch(error) from None
    return Plan(delta, base, merged)


def _base(ctx: Context, key: str, seal: Mapping[str, Any], compiled: str) -> Base:
    """What an upload builds on. A tree that an earlier version sealed is copied once: it knew no links."""
    return Base(
        directory=str(ctx.trees.path(key)),
        entries=shipped.base(ctx.trees, key, seal),
        shares=shipped.is_listed(seal),
        bytecode=seal.get("compiled") == compiled,
        altered=tuple(seal.get("altered", ())),
    )


def _mismatch(error: ValueError) -> HostError:
    return HostError(f"the upload does not match its description: {error}", next=run("fab deploy", "uploads it again"))


def unpack(ctx: Context, key: str, plan: Plan, body: Path) -> None:
    """Write a tree from the base on the host and the upload. Until it is complete only root can reach it.

    Raises HostError when the content does not match its digest or the disk is full; nothing stays.
    """
    destination, base = ctx.trees.begin(key), plan.base
    try:
        cloned = plan.takes_bytecode and clone.take(ctx, plan.delta.base, destination)
        os.chmod(str(destination), 0o700)
        apply(plan.delta, str(body), base, plan.merged, str(destination), cloned=cloned)
        shipped.record(ctx.trees, key, plan.entries)
    except Mismatch as error:
        ctx.trees.remove(key)
        lost = [entry.path for path in error.paths if (entry := plan.merged.kept.find(path))]
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
    plan: Plan | None = None,
) -> None:
    """Run the build commands in the tree, compile its bytecode, seal it. ``like`` are trees that it may share files
    with; ``plan`` is what it was made by, where that is known. Raises HostError; nothing stays.

    Of files that stay from the tree before it is believed what is recorded there: :func:`altered.settle` is for those
    that are not so.
    """
    tree = ctx.trees.path(key)
    seen = dict(environment)
    if venv is not None:
        seen["VIRTUAL_ENV"] = str(venv)
    try:
        entries = shipped.unsealed(ctx.trees, key) if plan is None else plan.entries
        fresh = plan.fresh if plan is not None else None
        refuse_no_directory(spec, tree)
        modules = [entry.path for entry in entries if entry.kind != LINK] if fresh is None else fresh
        built, recorded = Built([], []), alongside(lambda: _recorded(ctx, plan), "records")
        if spec.build:
            shared.prepare(tree, spec.shared)
            taken = Taken(ctx, key, entries, like, recorded)
            proof = Proof(taken.prove, taken.prove_replaced)
            built = overlaid.run(ctx, tree, lambda: _run_commands(ctx, tree, spec, venv, seen), proof)
        modules, total = [*modules, *built.written], entries.text.count(b".py\0")
        made = bytecode.add_missing(ctx, tree, modules, venv, seen, spec.build_timeout, total=total)
        linked = shared.link(tree, ctx.paths.state, spec.shared)
        stays = recorded()
        if plan is None or built.changed is None or stays is None:
            found, suspect = ctx.trees.examine(key, like), list(entries)
        else:
            added = [entry.path for entry in plan.delta.add]
            found, again = ctx.trees.examine_again(key, stays, [*added, *built.changed, *made, *linked])
            suspect = entries.those(map(os.fsdecode, again))
        not_as_shipped = altered(found.digests.by_path, suspect)
        record = {"source": spec.source.digest, "compiled": compiled}
        ctx.trees.seal(key, {**record, **shipped.seal(ctx.trees, key, entries, not_as_shipped)}, found)
    except BaseException:
        stop_build(ctx)
        ctx.trees.remove(key)
        raise


def _recorded(ctx: Context, plan: Plan | None) -> Examined | None:
    """What is recorded of the files that stay from the tree before; None when it is not known which do. It takes a
    while for many files, and can be found out while others build. Raises OSError."""
    base = plan.base if plan is not None else None
    if plan is None or base is None or not base.shares or base.bytecode != plan.takes_bytecode:
        return None
    found = ctx.trees.recorded(plan.delta.base)
    if found is None:
        return None
    kept = {path.encode() for path in plan.merged.kept.paths}
    modules = kept if plan.takes_bytecode else set()
    left_out = found.seen.by_path.keys() - kept
    return found.changed([path for path in left_out if bytecode.module_of(path) not in modules], {}, {}).prepared()


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
