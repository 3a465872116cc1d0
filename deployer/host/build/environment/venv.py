"""The virtual environment of a release: built by the deploy user, sealed by root."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from deployer.host.build import bytecode, disk, hardlinks
from deployer.host.build.command import run_build, stop_build, take
from deployer.host.build.environment import installer, pipconf
from deployer.host.state.app import Context
from deployer.host.state.content.store import Store
from deployer.host.system import ownership
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entries import Entries

UV = "/usr/local/lib/deployer/tools/bin/uv"
_LOCK_COMMANDS = {
    "requirements": ["pip", "install", "--requirement"],
    "pylock": ["pip", "sync"],
}


def build(
    ctx: Context,
    key: str,
    spec: Spec,
    python: str,
    tree: Path,
    entries: Entries,
    environment: Mapping[str, str],
    before: str,
) -> None:
    """Install the locked dependencies at their final path, then seal them. What they have in common with those
    ``before`` (a key) is shared with them, and is not compiled again. Raises HostError; nothing stays."""
    venv = ctx.venvs.begin(key)
    like = _like(ctx.venvs, before, python)
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
        for command in commands(spec, str(venv), python, compiles=not like):
            run_build(ctx, command, sources / spec.lock.directory, venv, seen, what, limit, next=next)
        run_build(ctx, ["/bin/rm", "-rf", str(sources)], venv, venv, environment, what, limit)
        installer.refuse_editable(venv)
        take(ctx, venv)
        if like:
            modules = _share(ctx.venvs, key, before)
            bytecode.add_missing(ctx, venv, modules, venv, environment, limit)
        ctx.venvs.seal(key, {"lock": spec.lock.path, "python": python}, ctx.venvs.examine(key, like))
    except BaseException:
        stop_build(ctx)
        ctx.venvs.remove(key)
        raise


def _like(store: Store, before: str, python: str) -> list[str]:
    """The key ``before``, when it is that of a sound environment of the same Python."""
    seal = store.record(before)
    return [before] if seal is not None and not seal.get("damaged") and seal.get("python") == python else []


def _share(store: Store, key: str, before: str) -> list[str]:
    """Share all equal files, and the bytecode of such modules. Returns the environment's modules. Raises OSError."""
    mine, theirs = store.examine(key).digests.by_path, store.unchanged(before)
    equal = {path for path, one in mine.items() if theirs.get(path) == one and not one.startswith(b"->")}
    compiled = (path for path in theirs if path not in mine and bytecode.module_of(path) in equal)
    hardlinks.share_equal(store.path(before), store.path(key), map(os.fsdecode, equal), map(os.fsdecode, compiled))
    return [os.fsdecode(path) for path, one in mine.items() if path.endswith(b".py") and not one.startswith(b"->")]


def _index_files(spec: Spec, tree: Path) -> Iterator[bytes]:
    """The files in which a project may name package indexes: those that the installer sees."""
    for path in spec.lock.files:
        with contextlib.suppress(OSError):
            yield ownership.read_below(tree, path, 1 << 20)


def commands(spec: Spec, venv: str, python: str, *, compiles: bool = True) -> list[list[str]]:
    """The commands that build the virtual environment ``venv`` from the lock file, in order; whether they compile its
    modules as well, all at once."""
    create = [UV, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python, venv]
    lock = spec.lock
    compile = ["--compile-bytecode"] if compiles else []
    parts = [word for name in lock.groups for word in ("--group", name)]
    parts += [word for name in lock.extras for word in ("--extra", name)]
    if lock.kind == "uv":
        dev = [] if "dev" in lock.groups else ["--no-dev"]
        sync = ["sync", "--frozen", *dev, "--no-install-project", "--no-editable", *compile]
        return [create, [UV, *sync, *parts, "--python", f"{venv}/bin/python"]]
    path = posixpath.relpath(lock.path, lock.directory or ".")
    parts += ["--require-hashes"] if lock.hashes else []
    install = [UV, *_LOCK_COMMANDS[lock.kind], path, *parts, *compile]
    return [create, [*install, "--python", f"{venv}/bin/python"]]
