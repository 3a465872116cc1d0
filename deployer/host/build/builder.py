"""The phases ``upload`` and ``build``: code tree and virtual environment, built by the deploy user, sealed by root."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from deployer.host.build import bytecode, disk, installer, pipconf, shared
from deployer.host.build.command import run_build, stop_build
from deployer.host.build.delta import parse_delta
from deployer.host.build.unpack import Mismatch, apply
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.store import Store
from deployer.host.system import ownership
from deployer.host.units import transient
from deployer.wire.advice import do, run
from deployer.wire.release.shared import Shared
from deployer.wire.release.spec import Spec
from deployer.wire.tree import LINK, Delta, Entry

UV = "/usr/local/lib/deployer/tools/bin/uv"
_LOCK_COMMANDS = {
    "requirements": ["pip", "install", "--requirement"],
    "pylock": ["pip", "sync"],
}


def entries_of(record: Mapping[str, object]) -> list[Entry]:
    """The source files of a sealed tree, from its seal."""
    return [Entry(*value) for value in record["entries"]]  # type: ignore[attr-defined]


def base_of(record: Mapping[str, object]) -> list[Entry]:
    """The source files of a sealed tree that are unchanged since they were shipped: what an upload may build on."""
    if record.get("damaged"):
        return []
    altered = set(record.get("altered", ()))  # type: ignore[call-overload]
    return [entry for entry in entries_of(record) if entry.path not in altered]


def builds_on(ctx: Context, delta: Delta) -> dict[str, Any] | None:
    """The seal of the tree that an upload builds on; None when it brings everything. Raises HostError."""
    base = ctx.trees.record(delta.base)
    if delta.base and base is None:
        raise HostError("the tree that this upload builds on is gone from the host", next=run("fab deploy", "again"))
    return base


def unpack(ctx: Context, key: str, delta_value: object, body: Path) -> Sequence[Entry]:
    """Write a tree from the base on the host and the upload. Until it is complete only root can reach it.

    Raises HostError when the content does not match its digest or the disk is full; nothing stays.
    """
    try:
        delta = parse_delta(delta_value)
    except ValueError as error:
        raise HostError(f"the upload's description is invalid: {error}") from None
    base = builds_on(ctx, delta)
    destination = ctx.trees.begin(key)
    os.chmod(str(destination), 0o700)
    base_path = ctx.trees.path(delta.base) if base else None
    try:
        entries = apply(
            delta,
            str(body),
            str(base_path) if base_path else None,
            base_of(base) if base else [],
            str(destination),
        )
    except Mismatch as error:
        ctx.trees.remove(key)
        if base is not None and error.path in {entry.path for entry in base_of(base)}:
            ctx.trees.mark_altered(delta.base, error.path)  # the next upload brings that file itself
        raise HostError(
            f"the upload does not match its description: {error}", next=run("fab deploy", "uploads it again")
        ) from None
    except OSError as error:
        ctx.trees.remove(key)
        raise disk.disk_error(error, destination, "unpacking the code") from error
    if base_path is not None and base is not None:
        bytecode.carry(base_path, destination, base_of(base), entries)
    os.chmod(str(destination), 0o755)
    return entries


def build_venv(
    ctx: Context,
    key: str,
    spec: Spec,
    python: str,
    tree: Path,
    entries: Sequence[Entry],
    environment: Mapping[str, str],
) -> None:
    """Install the locked dependencies at their final path, then seal them. Raises HostError; nothing stays."""
    venv = ctx.venvs.begin(key)
    sources = venv / installer.SOURCES
    uid, gid = ctx.builder()
    try:
        try:
            installer.lay_out(spec.lock, entries, tree, sources)
        except OSError as error:
            raise disk.disk_error(error, venv, "laying out the dependencies") from error
        ownership.give(venv, uid, gid)
        seen = {**pipconf.variables(indexes=not pipconf.names_index(_index_files(spec, tree))), **environment}
        what, limit, next = "installing the dependencies", spec.build_timeout, installer.advice(spec.lock, tree)
        for command in venv_commands(spec, str(venv), python):
            run_build(ctx, command, sources / spec.lock.directory, venv, seen, what, limit, next=next)
        run_build(ctx, ["/bin/rm", "-rf", str(sources)], venv, venv, environment, what, limit)
        installer.refuse_editable(venv)
        _seal(ctx, ctx.venvs, key, {"lock": spec.lock.path, "python": python})
    except BaseException:
        stop_build(ctx)
        ctx.venvs.remove(key)
        raise


def _index_files(spec: Spec, tree: Path) -> Iterator[bytes]:
    """The files in which a project may name package indexes: those that the installer sees."""
    for path in spec.lock.files:
        with contextlib.suppress(OSError):
            yield ownership.read_below(tree, path, 1 << 20)


def venv_commands(spec: Spec, venv: str, python: str) -> list[list[str]]:
    """The commands that build the virtual environment ``venv`` from the lock file, in order."""
    create = [UV, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python, venv]
    lock = spec.lock
    parts = [word for name in lock.groups for word in ("--group", name)]
    parts += [word for name in lock.extras for word in ("--extra", name)]
    if lock.kind == "uv":
        dev = [] if "dev" in lock.groups else ["--no-dev"]
        sync = ["sync", "--frozen", *dev, "--no-install-project", "--no-editable", "--compile-bytecode"]
        return [create, [UV, *sync, *parts, "--python", f"{venv}/bin/python"]]
    path = posixpath.relpath(lock.path, lock.directory or ".")
    parts += ["--require-hashes"] if lock.hashes else []
    install = [UV, *_LOCK_COMMANDS[lock.kind], path, *parts, "--compile-bytecode"]
    return [create, [*install, "--python", f"{venv}/bin/python"]]


def build_tree(
    ctx: Context,
    key: str,
    spec: Spec,
    entries: Sequence[Entry],
    venv: Path | None,
    environment: Mapping[str, str],
) -> None:
    """Run the build commands in the tree, compile its bytecode, seal it. Raises HostError; nothing stays."""
    tree = ctx.trees.path(key)
    uid, gid = ctx.builder()
    carried = next(tree.glob("**/__pycache__"), None) is not None  # root alone has written here so far
    jobs = [] if carried else ["-j", "0"]  # a pool of processes costs more than it saves when little is left to do
    seen = dict(environment)
    if venv is not None:
        seen["VIRTUAL_ENV"] = str(venv)
    try:
        shared.prepare(tree, spec.shared)
        ownership.give(tree, uid, gid)
        refuse_no_directory(spec, tree)
        for command in spec.build:
            shell = ["/bin/sh", "-euc", command]
            what = f"the build command {command!r}"
            run_build(ctx, shell, tree / spec.directory, tree, seen, what, spec.build_timeout, venv)
        python = str(venv / "bin/python") if venv else "/usr/bin/python3"
        run_build(ctx, [python, "-m", "compileall", "-q", *jobs, "."], tree, tree, seen, "", spec.build_timeout, venv)
        record = {
            "source": spec.source.digest,
            "entries": [entry.as_list() for entry in entries],
            "altered": _altered(tree, entries, spec.shared),
        }
        _seal(ctx, ctx.trees, key, record, lambda: shared.link(tree, ctx.paths.state, spec.shared))
    except BaseException:
        stop_build(ctx)
        ctx.trees.remove(key)
        raise


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


def _seal(
    ctx: Context, store: Store, key: str, record: dict[str, Any], finish: Callable[[], None] = lambda: None
) -> None:
    """Seal what was built; ``finish`` adds to it once it is root's. Raises HostError when a process of the build still
    runs, or could still write."""
    transient.refuse_running(ctx, "build")
    try:
        store.seal(key, ctx.builder()[0], record, finish)
    except PermissionError as error:
        raise HostError(
            f"what was built is refused: {error}", next=do("correct the build command") + run("fab deploy")
        ) from None


def _altered(tree: Path, entries: Sequence[Entry], outside: Sequence[Shared]) -> list[str]:
    """Shipped files that the build commands changed or removed, and those in whose place a link is put."""
    return [entry.path for entry in entries if any(one.holds(entry.path) for one in outside) or _differs(tree, entry)]


def _differs(tree: Path, entry: Entry) -> bool:
    return entry.kind != LINK and not _intact(tree, entry)


def _intact(tree: Path, entry: Entry) -> bool:
    try:
        descriptor = ownership.open_below(tree, entry.path, os.O_RDONLY)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return False
        digest = hashlib.sha256()
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
        return digest.hexdigest() == entry.digest
