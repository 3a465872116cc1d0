"""The hashed assets of all kept releases in one directory, which the proxy serves first: a page that an earlier
release rendered still finds its style sheet after the switch.

A file lies there under the path of its URL, as a hard link to the release's own (a copy where that is not possible);
beside it lie those that hold it compressed. Only root can write there, and only regular files are put there. What is
there is complete at every moment; the next deploy removes what an interrupted one has left.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import stat
from collections.abc import Collection, Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from deployer.host.assets.manifest import ENCODED, MANIFESTS, hashed_names
from deployer.host.errors import Damaged, HostError
from deployer.host.state.app import Context, Emit
from deployer.host.state.releases import Release
from deployer.host.system import files, ownership
from deployer.wire.advice import do, run

GRACE = 3600.0
"""Seconds for which an asset stays that no kept release names any more: a release that was rolled back had visitors."""
_LARGEST = 32 * 1024 * 1024
"""The most bytes that are read of a manifest."""
_LIST = "assets.json"
"""In a release's directory: the tree and the static directories that were looked at, and the assets that were found.

A later deploy need not read the code of all kept releases to know which assets they name. Where a power cut has taken
the list back or left it torn, it reads that code."""
_CHUNK = 1 << 18
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)
"""Another file system, too many links, a file system without links."""


def fill(ctx: Context, release: Release) -> int:
    """Put the hashed assets of a release there, durably. Returns how many are new, compressed ones not counted.

    Raises HostError when one has other content than a kept release has under that name; OSError.
    """
    wanted = _found(ctx, release, ctx.emit)
    by_directory: dict[str, list[str]] = {}
    for name in sorted(wanted):
        by_directory.setdefault(os.path.dirname(name), []).append(name)
    new = sum(_fill(ctx, directory, {one: wanted[one] for one in ones}) for directory, ones in by_directory.items())
    if ctx.paths.release(release.number).is_dir():
        listed = {**_seen(ctx, release), "names": sorted(wanted)}
        files.write_json(_list(ctx, release), listed, 0o600, durable=False)
    return new


def is_filled(ctx: Context, release: Release) -> bool:
    """Whether the assets of a release have been put there, as the site now has its static directories."""
    return _listed(ctx, release) is not None


def _fill(ctx: Context, directory: str, wanted: dict[str, Path]) -> int:
    """Put the files of one directory there."""
    place, new, changed = ctx.paths.assets / directory, 0, False
    if not place.is_dir():
        _make_directory(place)
    for name, source in wanted.items():
        target = ctx.paths.assets / name
        linked = _link(source, target)
        changed = changed or linked
        if _is_encoded(name, wanted):  # one content can be compressed in many ways: any of them is good
            continue
        if linked:
            new += 1
        elif not _same(source, target):
            raise _other_content(ctx, name)
    if changed:
        files.sync_directory(place)
    return new


def _is_encoded(name: str, names: Container[str]) -> bool:
    """Whether a file holds another one of these compressed."""
    return any(name.endswith(end) and name[: -len(end)] in names for end in ENCODED)


def _make_directory(path: Path) -> None:
    try:
        files.make_directory(path, 0o755)
    except (FileExistsError, NotADirectoryError):
        raise HostError(
            f"{path} is a file, and would have to be a directory for this release's hashed assets",
            next=do(f"on the host, as root: rm {path}   (pages of earlier releases lose it)") + run("fab deploy"),
        ) from None


def _link(source: Path, target: Path) -> bool:
    """False when there is something under that name."""
    try:
        os.link(str(source), str(target), follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if target.exists():
            return False
        _copy(source, target)
    return True


def _copy(source: Path, target: Path) -> None:
    """The file appears complete: written under another name first."""
    temporary = target.with_name(f".{target.name}{files.TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        with open(source, "rb") as read, open(temporary, "xb") as written:
            while piece := read.read(_CHUNK):
                written.write(piece)
            written.flush()
            os.fchmod(written.fileno(), 0o444)
            os.fsync(written.fileno())
        os.replace(str(temporary), str(target))
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _same(source: Path, target: Path) -> bool:
    """Whether both are regular files with the same content."""
    before, now = os.lstat(str(source)), os.lstat(str(target))
    return os.path.samestat(before, now) or (
        stat.S_ISREG(now.st_mode) and filecmp.cmp(str(source), str(target), shallow=False)
    )


def _other_content(ctx: Context, name: str) -> HostError:
    return HostError(
        f"{name} has a name for one content alone, and an earlier release has another content under it",
        next=do("have the build put a hash of the content into the file's name; browsers keep the old content for ever")
        + run("fab deploy"),
        logs=[f"the earlier one: {ctx.paths.assets / name}"],
    )


def names(ctx: Context, release: Release) -> set[str]:
    """The paths below the directory that a release names; none when its code is gone. Raises OSError."""
    listed = _listed(ctx, release)
    return set(_found(ctx, release, lambda *_, **__: None)) if listed is None else listed


def _list(ctx: Context, release: Release) -> Path:
    return ctx.paths.release(release.number) / _LIST


def _seen(ctx: Context, release: Release) -> dict[str, Any]:
    """What a list depends on."""
    site = ctx.settings.site
    return {"tree": release.tree, "static": [list(pair) for pair in site.static] if site else []}


def _listed(ctx: Context, release: Release) -> set[str] | None:
    """The assets by the release's list; None when it has none, or one of other directories, or a damaged one."""
    try:
        value = files.read_json(_list(ctx, release))
    except Damaged:
        return None
    if not isinstance(value, dict) or {**value, "names": []} != {**_seen(ctx, release), "names": []}:
        return None
    names = value.get("names")
    return set(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _found(ctx: Context, release: Release, emit: Emit) -> dict[str, Path]:
    """The hashed assets of a release: the path of each below the directory, and its file in the release's code."""
    tree = ctx.trees.path(release.tree)
    static = ctx.settings.site.static if ctx.settings.site and release.tree else ()
    found: dict[str, Path] = {}
    for prefix, directory in static:
        if not _is_directory(tree, directory):
            continue
        named = {name for manifest in MANIFESTS for name in _named(tree, directory, manifest, emit)}
        regular = set(_regular(tree / directory)) if named else set()
        named &= regular
        named |= {name + end for name in named for end in ENCODED} & regular
        found.update({prefix.lstrip("/") + name: tree / directory / name for name in named})
    return found


def _is_directory(tree: Path, directory: str) -> bool:
    """Whether there is such a directory, found without following a link."""
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(ownership.mode_below(tree, directory))
    return False


def _named(tree: Path, directory: str, manifest: str, emit: Emit) -> set[str]:
    """The hashed files that a manifest names; none when there is no such manifest. Raises OSError."""
    path = f"{directory}/{manifest}"
    try:
        text = ownership.read_below(tree, path, _LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL):  # a link, a pipe
            return set()
        raise
    try:
        return hashed_names(manifest, text)
    except ValueError as error:
        emit(
            "warn",
            text=f"{path} cannot be read ({error}): pages that are loaded will lose its files at the next switch",
        )
        return set()


def _regular(directory: Path, prefix: str = "") -> Iterator[str]:
    """The regular files below a directory, relative to it. No link is followed."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _regular(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name


def prune(ctx: Context, kept: Iterable[Release], unused: Collection[str] = ()) -> None:
    """Remove the assets that none of the ``kept`` releases names: the ``unused`` at once, others after GRACE.

    Raises OSError, and removes nothing, when a manifest cannot be read.
    """
    if not ctx.paths.assets.is_dir():
        return
    by_tree = {release.tree: release for release in kept if release.tree}
    wanted = {name for release in by_tree.values() for name in names(ctx, release)}
    now = ctx.clock()
    for name in sorted(set(_regular(ctx.paths.assets)) - wanted):
        path = ctx.paths.assets / name
        # Its status changed last when the release that it came from was removed.
        if name in unused or abs(now - os.lstat(str(path)).st_ctime) > GRACE:
            path.unlink()
    _remove_empty(ctx.paths.assets)


def _remove_empty(directory: Path) -> None:
    """Remove the empty directories below a directory."""
    for name in files.names(directory):
        inner = directory / name
        if inner.is_dir() and not inner.is_symlink():
            _remove_empty(inner)
            with contextlib.suppress(OSError):  # it is not empty
                inner.rmdir()


def temporary_files(ctx: Context) -> Iterator[Path]:
    """What an interrupted copy has left."""
    for name in _regular(ctx.paths.assets) if ctx.paths.assets.is_dir() else ():
        if files.is_debris(os.path.basename(name)):
            yield ctx.paths.assets / name
