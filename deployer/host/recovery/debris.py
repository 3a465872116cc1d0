"""Leftovers of interrupted jobs: finding and removing them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from deployer.host.assets import links
from deployer.host.deployment import outcome
from deployer.host.processes import background
from deployer.host.proxy.proof import listener
from deployer.host.state import cleanup, jobs, releases
from deployer.host.state.app import Context
from deployer.host.state.content.store import content_of
from deployer.host.state.paths import parse_unit
from deployer.host.system import files, overlay, systemd
from deployer.host.units import install, transient
from deployer.wire.protocol import WEB

GIVEN_UP = 60.0
"""Seconds without progress after which the next release removes an upload."""
_RECORD = "release.json"


def find(ctx: Context, known: set[int]) -> Iterator[Path]:
    """Files and directories that nothing needs. ``known`` are the releases whose directories stay."""
    yield from _temporary(ctx)
    yield from _releases(ctx, known)
    yield from _stores(ctx)
    yield from _uploads(ctx)
    yield from listener.left_behind(ctx)
    yield from jobs.abandoned(ctx.paths.jobs)
    yield from (path for path in (ctx.paths.private / f"{name}.env" for name in transient.COMMANDS) if path.exists())


def _temporary(ctx: Context) -> Iterator[Path]:
    paths = ctx.paths
    for place in (paths.home, paths.releases, paths.private, *_directories(paths.releases)):
        yield from (place / name for name in files.names(place) if files.is_debris(name))
    being_made = {path for path in ctx.trees.clone_drafts() if files.is_locked(path)}
    for place in (paths.trees, paths.venvs):
        left = (place / name for name in files.names(place) if files.is_debris(name) and not files.is_gone(name))
        yield from (path for path in left if path not in being_made)
    yield from cleanup.debris(ctx)
    yield from links.temporary_files(ctx)
    for name in files.names(paths.units):
        if name.startswith(".") and parse_unit(ctx.app, name[1:].removesuffix(".tmp")):
            yield paths.units / name
    for name in files.names(paths.stamps):
        if name.startswith(".stamp-") and parse_unit(ctx.app, name[7:].removesuffix(".tmp")):
            yield paths.stamps / name


def _releases(ctx: Context, known: set[int]) -> Iterator[Path]:
    """Release directories without a record, and the content of dead releases."""
    for number in ctx.catalog.numbers():
        directory = ctx.paths.release(number)
        if number not in known and not (directory / _RECORD).exists():
            yield directory
    dead = {one.number: ctx.paths.release(one.number) for one in ctx.catalog.all() if one.result in releases.DEAD}
    content = {number: [path / name for name in files.names(path) if name != _RECORD] for number, path in dead.items()}
    if any(content.values()):
        finishing = background.finishing_numbers(ctx)
        finishing |= {number for number, path in dead.items() if files.is_locked(path)}  # somebody runs a command there
        yield from (path for number, found in content.items() if number not in finishing for path in found)


def _stores(ctx: Context) -> Iterator[Path]:
    """Content that was never sealed, unless an unfinished release is building it."""
    for store, what in ((ctx.trees, "tree"), (ctx.venvs, "venv")):
        used = outcome.used(ctx, what)
        yield from (store.path(key) for key in store.all_keys() if key not in used and store.record(key) is None)


def _uploads(ctx: Context) -> Iterator[Path]:
    """Uploads that nobody is sending, and queue tickets that nobody holds. A recently interrupted upload stays: it can
    be resumed."""
    tickets = [ctx.paths.tickets / name for name in files.names(ctx.paths.tickets)]
    yield from (path for path in tickets if not files.is_locked(path))
    for name in files.names(ctx.paths.incoming):
        path = ctx.paths.incoming / name
        if files.is_debris(name) or files.is_locked(path):
            continue
        with contextlib.suppress(FileNotFoundError):  # it has just arrived and now belongs to a job
            age = abs(ctx.clock() - path.stat().st_mtime)  # after a change of the clock it looks old: it is sent again
            if not name.endswith(".part") or age > GIVEN_UP:
                yield path


def units(ctx: Context) -> dict[int, list[str]]:
    """The units of each release that have a file or are active, in the order to stop them; without those that finish a
    job. Raises HostError."""
    shown = systemd.ask("list-units", "--plain", "--no-legend", "--state=active", f"{ctx.app}-*@v*")
    names = {*files.names(ctx.paths.units), *(line.split()[0] for line in shown.splitlines() if line.split())}
    found: dict[int, list[str]] = {}
    may_finish = any((unit := parse_unit(ctx.app, name)) and unit.process != WEB for name in names)
    for name in install.stop_order(names - set(background.finishing(ctx) if may_finish else ())):
        if unit := parse_unit(ctx.app, name):
            found.setdefault(unit.number, []).append(name)
    return found


def remove(ctx: Context, path: Path) -> None:
    """Remove what :func:`find` found; content of a store together with its seal."""
    for store in (ctx.trees, ctx.venvs):
        if path.parent == store.directory and not files.is_debris(path.name):
            store.remove(path.name)
            return
    content = content_of(path)
    if content is not None:
        overlay.clear(content, path)
    files.remove_tree(path)


def _directories(path: Path) -> list[Path]:
    return [path / name for name in files.names(path) if (path / name).is_dir() and not files.is_debris(name)]
