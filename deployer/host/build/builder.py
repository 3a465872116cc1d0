"""The phases ``upload`` and ``build``: code tree and virtual environment, built by the deploy user, sealed by root."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pwd
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.host.build import bytecode, installer, pipconf
from deployer.host.build.unpack import Mismatch, apply, parse_delta
from deployer.host.errors import HostError
from deployer.host.state.app import Context, free_bytes
from deployer.host.state.store import Store
from deployer.host.system import files
from deployer.host.system.diagnosis import why_command
from deployer.host.system.systemd import systemctl
from deployer.host.units import confinement, transient
from deployer.host.units.transient import Command
from deployer.wire.advice import NOTHING, Next, do, run
from deployer.wire.sizes import size
from deployer.wire.spec import Spec
from deployer.wire.tree import LINK, Delta, Entry

UV = "/usr/local/lib/deployer/tools/bin/uv"
_MAKE_ROOM = do("make room (fab releases shows what is kept; keep in deploy.toml says how many), then fab deploy")
_LOCK_COMMANDS = {
    "requirements": ["pip", "install", "--requirement"],
    "pylock": ["pip", "sync"],
}


def entries_of(record: Mapping[str, object]) -> list[Entry]:
    """The source files of a sealed tree."""
    return [Entry(*value) for value in record["entries"]]  # type: ignore[attr-defined]


def base_of(record: Mapping[str, object]) -> list[Entry]:
    """The source files of a sealed tree that are still as they were shipped: what an upload may build on."""
    if record.get("damaged"):
        return []
    altered = set(record.get("altered", ()))  # type: ignore[call-overload]
    return [entry for entry in entries_of(record) if entry.path not in altered]


def builds_on(ctx: Context, delta: Delta) -> dict[str, Any] | None:
    """The record of the tree that an upload builds on; None when it brings everything. Raises HostError."""
    base = ctx.trees.record(delta.base)
    if delta.base and base is None:
        raise HostError("the tree this upload builds on is gone from the host", next=run("fab deploy", "again"))
    return base


def unpack(ctx: Context, key: str, delta_value: object, body: Path) -> Sequence[Entry]:
    """Write a tree from what the host has and what was sent. Only root can reach it meanwhile.

    Raises HostError when the content does not match its digest or the disk is full; the rest is removed.
    """
    try:
        delta = parse_delta(delta_value)
    except ValueError as error:
        raise HostError(f"the upload's description is not acceptable: {error}") from None
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
        ctx.trees.discard(key)
        if base is not None and error.path in {entry.path for entry in base_of(base)}:
            ctx.trees.mark_altered(delta.base, error.path)  # the next upload brings that file itself
        raise HostError(
            f"what arrived is not what was sent: {error}", next=run("fab deploy", "sends it afresh")
        ) from None
    except OSError as error:
        ctx.trees.discard(key)
        raise disk_error(error, destination, "unpacking the code") from error
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
    """Install the locked dependencies where they will be used, then seal them. Raises HostError; nothing stays."""
    venv = ctx.venvs.begin(key)
    sources = venv / installer.SOURCES
    uid, gid = ctx.builder()
    try:
        try:
            installer.lay_out(spec.lock, entries, tree, sources)
        except OSError as error:
            raise disk_error(error, venv, "laying out the dependencies") from error
        files.give(venv, uid, gid)
        seen = {**pipconf.variables(indexes=not pipconf.names_index(_index_files(spec, tree))), **environment}
        what, limit, next = "installing the dependencies", spec.build_timeout, installer.advice(spec.lock, tree)
        for command in venv_commands(spec, str(venv), python):
            _run_build(ctx, command, sources, venv, seen, what, limit, next=next)
        _run_build(ctx, ["/bin/rm", "-rf", str(sources)], venv, venv, environment, what, limit)
        installer.refuse_editable(venv)
        _seal(ctx, ctx.venvs, key, {"lock": spec.lock.path, "python": python})
    except BaseException:
        _stop_build(ctx)
        ctx.venvs.discard(key)
        raise


def _index_files(spec: Spec, tree: Path) -> Iterator[bytes]:
    """The files in which a project may say where packages are: those that the installer gets to see."""
    for path in spec.lock.files:
        with contextlib.suppress(OSError):
            yield files.read_below(tree, path, 1 << 20)


def venv_commands(spec: Spec, venv: str, python: str) -> list[list[str]]:
    """What builds the virtual environment ``venv`` from the lock file, in order."""
    create = [UV, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python, venv]
    if spec.lock.kind == "uv":
        sync = ["sync", "--frozen", "--no-dev", "--no-install-project", "--no-editable", "--compile-bytecode"]
        return [create, [UV, *sync, "--python", f"{venv}/bin/python"]]
    install = [UV, *_LOCK_COMMANDS[spec.lock.kind], spec.lock.path, "--compile-bytecode"]
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
    files.give(tree, uid, gid)
    seen = dict(environment)
    if venv is not None:
        seen["VIRTUAL_ENV"] = str(venv)
    try:
        for command in spec.build:
            shell = ["/bin/sh", "-euc", command]
            _run_build(ctx, shell, tree, tree, seen, f"the build command {command!r}", spec.build_timeout, venv)
        python = str(venv / "bin/python") if venv else "/usr/bin/python3"
        _run_build(ctx, [python, "-m", "compileall", "-q", *jobs, "."], tree, tree, seen, "", spec.build_timeout, venv)
        record = {
            "source": spec.source.digest,
            "entries": [entry.as_list() for entry in entries],
            "altered": _altered(tree, entries),
        }
        _seal(ctx, ctx.trees, key, record)
    except BaseException:
        _stop_build(ctx)
        ctx.trees.discard(key)
        raise


def _seal(ctx: Context, store: Store, key: str, record: dict[str, Any]) -> None:
    """Take what was built for root. Raises HostError when something of the build goes on, or can go on writing."""
    transient.refuse_running(ctx, "build")
    try:
        store.seal(key, ctx.builder()[0], record)
    except PermissionError as error:
        raise HostError(
            f"what was built is refused: {error}", next=do("mend the build command") + run("fab deploy")
        ) from None


def _altered(tree: Path, entries: Sequence[Entry]) -> list[str]:
    """Shipped files that the build commands changed or removed."""
    return [entry.path for entry in entries if entry.kind != LINK and not _intact(tree, entry)]


def _intact(tree: Path, entry: Entry) -> bool:
    try:
        descriptor = files.open_below(tree, entry.path, os.O_RDONLY)
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


def _run_build(
    ctx: Context,
    argv: Sequence[str],
    directory: Path,
    writable: Path,
    environment: Mapping[str, str],
    what: str,
    limit: float,
    venv: Path | None = None,
    next: Next = NOTHING,
) -> None:
    """Run one command as the deploy user, able to write only ``writable`` and its cache.

    An empty ``what`` means that a failure does not matter. Otherwise it is a HostError with the command's output.
    """
    path = f"{venv}/bin:/usr/local/bin:/usr/bin:/bin" if venv else "/usr/local/bin:/usr/bin:/bin"
    cache = f"/var/cache/deployer-{ctx.app}"
    own = {"PATH": path, "HOME": cache, "XDG_CACHE_HOME": cache, "NO_COLOR": "1", **_uv_settings(writable, cache)}
    status, lines = transient.run(
        ctx,
        Command(
            name="build",
            user=ctx.settings.deploy_user,
            argv=tuple(argv),
            directory=directory,
            limit=limit,
            key="release.build_timeout",
        ),
        {**environment, **own},
        [
            ("CacheDirectory", f"deployer-{ctx.app}"),
            ("CacheDirectoryMode", "0700"),
            *confinement.lines("build", without=confinement.left_out(ctx)),
            ("ReadWritePaths", str(writable)),
            *_ssh_files(ctx),
        ],
        (lambda line: ctx.emit("output", phase="build", line=line)) if what else (lambda _: None),
    )
    if status == 0 or not what:
        return
    free = free_bytes(str(writable))
    if free < 4 * 1024 * 1024:
        raise full_disk(writable.parent, what, lines)
    found = why_command(status, lines, ctx.app, directory)
    raise HostError(f"{what} failed (exit status {status}){found.why}", logs=lines[-40:], next=next or found.next)


def _uv_settings(environment: Path, cache: str) -> dict[str, str]:
    """What concerns the host, whatever the project's own settings say: where things lie, and which Python there is.

    What concerns which packages are chosen, and from where, is the project's.
    """
    return {
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "UV_CACHE_DIR": f"{cache}/uv",
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_PREFERENCE": "only-system",
        "UV_SYSTEM_CERTS": "1",
        "UV_NATIVE_TLS": "1",  # its name before
        "UV_NO_PROGRESS": "1",
    }


_SSH_FILES = ("known_hosts", "config", "id_ed25519", "id_ecdsa", "id_rsa")
"""What ssh needs of ``~/.ssh`` to fetch a private dependency."""


def _ssh_files(ctx: Context) -> list[confinement.Line]:
    """Show SSH's client files to a build, read-only; all else of the deploy user's home is hidden from it."""
    home = pwd.getpwnam(ctx.settings.deploy_user).pw_dir
    if not re.fullmatch(r"/[\w./-]+", home):
        return []
    return [("BindReadOnlyPaths", f"-{home}/.ssh/{name}") for name in _SSH_FILES]


def _stop_build(ctx: Context) -> None:
    systemctl("stop", transient.unit_of(ctx, "build"))


def disk_error(error: OSError, path: Path, what: str) -> HostError:
    """A failed write, told so that it can be acted on. ``path`` is where, unless the error itself knows better."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full_disk(Path(error.filename) if isinstance(error.filename, str) else path, what, [])
    return HostError(f"{what} failed: {error}")


def require_room(directory: Path, needed: int, what: str) -> None:
    """Raises HostError when fewer than ``needed`` bytes are free below ``directory``."""
    free = free_bytes(str(directory))
    if free < needed:
        raise HostError(
            f"the disk is full: {what} needs {size(needed)} below {directory}, {size(free)} are free",
            next=_MAKE_ROOM,
        )


def full_disk(path: Path, what: str, lines: Sequence[str]) -> HostError:
    where = next(directory for directory in (path, *path.parents) if directory.is_dir())
    return HostError(
        f"the disk is full: {what} needs more than the {size(free_bytes(str(where)))} left below {where}",
        logs=list(lines)[-20:],
        next=_MAKE_ROOM,
    )
