"""The daily dump of an app's database: made by PostgreSQL's own ``pg_dump``, kept where only root can read it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.setup import timers
from deployer.host.state.app import Context
from deployer.host.state.paths import dump_unit
from deployer.host.system import files, runner, systemd
from deployer.wire.advice import do
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import PROGRAM
from deployer.wire.sizes import size

DIRECTORY = Path("/var/backups/deployer")
_NAME = pattern(r"[0-9]{8}T[0-9]{6}Z[.]dump")
_PART = ".part"
_AS_POSTGRES = ("runuser", "-u", "postgres", "--")
_LIMIT = 6 * 3600.0
"""Seconds that a dump may take."""
_TOLD = 4000
"""Bytes of what a command says that are passed on."""


def ensure(app: str, keep: int) -> list[str]:
    """Make sure that a timer dumps the app's database once a day, and keeps ``keep`` dumps; none for 0, which leaves
    the dumps that there are. Returns what was changed. Raises HostError."""
    timer = dump_unit(app, "timer")
    if not keep:
        if not timers.is_enabled(timer):
            return []
        systemd.require("disable", "--now", timer)
        return [f"{timer} is off: no more dumps"]
    _templates().write()
    for path in (DIRECTORY, DIRECTORY / app):
        files.own_directory(path, 0o700, 0, 0)
    return [f"a dump a day in {DIRECTORY / app}, {keep} kept"] if timers.enable(timer) else []


def _templates() -> timers.Templates:
    return timers.Templates.of(
        dump_unit("", "service"),
        dump_unit("", "timer"),
        "the daily dump of each app's database",
        description="dump of the database of %i",
        runs=[
            ("ExecStart", f"{PROGRAM} dump %i"),
            ("Nice", "10"),
            ("IOSchedulingClass", "idle"),
            ("UMask", "0077"),
            ("TimeoutStartSec", f"{_LIMIT + 600:.0f}"),
        ],
        starts=[("OnCalendar", "*-*-* 03:00"), ("RandomizedDelaySec", "1h")],
        unit=[("After", "postgresql.service")],
    )


def dump(ctx: Context) -> int:
    """Make one dump now, check that it can be read, remove the oldest beyond those that are kept. Raises HostError, and
    then no earlier dump was touched."""
    place = DIRECTORY / ctx.app
    files.own_directory(DIRECTORY, 0o700, 0, 0)
    files.own_directory(place, 0o700, 0, 0)
    _require_room(place)
    path = place / time.strftime("%Y%m%dT%H%M%SZ.dump", time.gmtime(ctx.clock()))
    part = path.with_name(path.name + _PART)
    for left in place.glob(f"*{_PART}"):
        left.unlink()
    try:
        _make(ctx.app, part)
        os.rename(str(part), str(path))
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    files.sync_directory(place)
    old = listed(ctx.app)[max(1, ctx.settings.backups) :]
    for one in old:
        one.unlink()
    print(f"{path}: {size(path.stat().st_size)}; removed {len(old)} older")
    return 0


def listed(app: str) -> list[Path]:
    """The dumps of an app's database, the newest first."""
    place = DIRECTORY / app
    return [place / name for name in reversed(files.names(place)) if _NAME.fullmatch(name)]


def _require_room(place: Path) -> None:
    """As much as the last dump took, and some more. Raises HostError."""
    last = next((path.stat().st_size for path in listed(place.name)), 0)
    status = os.statvfs(str(place))
    free = status.f_bavail * status.f_frsize
    if free < last * 1.2 + 2**20:
        raise HostError(
            f"no room for a dump: the last one took {size(last)}, and {size(free)} are free in {place}",
            next=do(f"make room on the host (df -h {place}), or keep fewer: backups under [host.postgresql]"),
        )


def _make(app: str, path: Path) -> None:
    """Raises HostError when the dump fails, or cannot be read again."""
    with _private(path) as file:
        _run(
            app, [*_AS_POSTGRES, "pg_dump", "--format=custom", f"--dbname={app}"], stdin=subprocess.DEVNULL, stdout=file
        )
        os.fsync(file)
    with path.open("rb") as content:
        _run(app, [*_AS_POSTGRES, "pg_restore", "--list"], stdin=content.fileno(), stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _private(path: Path) -> Iterator[int]:
    descriptor = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _run(app: str, argv: Sequence[str], *, stdin: int, stdout: int) -> None:
    try:
        done = subprocess.run(
            argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=runner.ENVIRONMENT, cwd="/", timeout=_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{argv[len(_AS_POSTGRES)]} did not run to its end: {error}") from None
    if done.returncode:
        told = done.stderr[-_TOLD:].decode("utf-8", "replace").splitlines()
        raise HostError(
            f"{argv[len(_AS_POSTGRES)]} failed (exit status {done.returncode})",
            logs=told,
            next=do(f"put right what it says; then, as root on the host: systemctl start {dump_unit(app, 'service')}"),
        )
