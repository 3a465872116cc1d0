"""What an installer sees: the files that define the environment, in a directory of their own.

It can read nothing else, so that the environment's key covers all that it reads: an installation that needs another
file fails, and no environment goes stale unnoticed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from deployer.host.build.pythons import HOST_PATH, pythons
from deployer.host.errors import HostError
from deployer.host.system import ownership, runner
from deployer.wire.advice import NOTHING, Next, do, run
from deployer.wire.lazyre import pattern
from deployer.wire.release.source import LockSpec
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import EXECUTABLE, LINK, Entry

SOURCES = ".sources"
"""Below the environment that is being built, a path used by nothing else: uv's cache knows a local package by its path,
and would return what it built from another."""
_EDITABLE = pattern(rb"""^[ \t]*(?:-e[ \t]*|--editable(?:[ \t]+|[ \t]*=[ \t]*))([^\s=;#][^\s;#]*)""", re.MULTILINE)
_EDITABLE_KEY = pattern(rb"""(["']?\beditable["']?\s*=\s*)true\b""")
_GIT = pattern(rb"""^[^#\n]*(?:git[+][a-z]+:|\bgit = ["']|["']git["'])""", re.MULTILINE)
_LARGEST_RECORD = 1 << 16
_LARGEST_LOCK = 1 << 24


def lay_out(lock: LockSpec, entries: Entries, tree: Path, destination: Path) -> None:
    """Copy what the lock covers from a tree. Only root can write to either meanwhile.

    Raises HostError for a file that changed since it was shipped, OSError.
    """
    destination.mkdir(mode=0o755)
    for entry in lock.covered(entries):
        place = destination / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == LINK:
            os.symlink(os.readlink(str(tree / entry.path)), str(place))
            continue
        content = _content(tree, entry)
        if entry.path in lock.files and b"\0" not in content:  # no archive
            content = not_editable(lock.kind, content)
        place.write_bytes(content)
        place.chmod(0o755 if entry.kind == EXECUTABLE else 0o644)


def _content(tree: Path, entry: Entry) -> bytes:
    try:
        content = ownership.read_below(tree, entry.path, entry.size + 1)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EIO):
            raise
        content = b""
    if hashlib.sha256(content).hexdigest() != entry.digest:
        raise HostError(
            f"{entry.path} differs from what was shipped: a build command of an older release changed it",
            next=do("commit any change") + run("fab deploy", "uploads the code again"),
        )
    return content


def not_editable(kind: str, content: bytes) -> bytes:
    """The requirements or lock without the option that makes a package refer to the tree of code."""
    if kind == "requirements":
        return _EDITABLE.sub(_ordinary, content)
    return _EDITABLE_KEY.sub(rb"\1false", content) if kind == "pylock" else content


def _ordinary(match: re.Match[bytes]) -> bytes:
    """``-e lib`` names a directory, ``lib`` alone would be a package of the index: ``./lib``."""
    what = match[1]
    return what if b":" in what or what.startswith((b".", b"/", b"$")) else b"./" + what


def advice(lock: LockSpec, tree: Path) -> Next:
    """What to do when an installer fails: it names the cause itself; what this host lacks is found here."""
    steps = [do(f"the lines above name the cause: a package, a version, a hash: put it right in {lock.path}, commit")]
    if runner.which("git", HOST_PATH) is None and any(_wants_git(tree, path) for path in lock.files):
        why = f'{lock.path} installs from git, which this host lacks: add "git" to packages under [host]; then'
        steps[:0] = [do(why), run("fab setup -H root@HOST", "installs it")]
    if others := pythons():
        told = f"another Python: python = in deploy.toml (this host has {', '.join(others)})"
        steps += [do(told)] if others[1:] else []
    return sum([*steps, run("fab deploy", "when that is done, or where the index or the network refused")], NOTHING)


def _wants_git(tree: Path, path: str) -> bool:
    try:
        return _GIT.search(ownership.read_below(tree, path, _LARGEST_LOCK)) is not None
    except OSError:
        return False


def refuse_editable(venv: Path) -> None:
    """Raises HostError when an installed package refers outside the environment. No link is followed."""
    names = sorted(name for name, record in _records(venv) if record.get("dir_info", {}).get("editable") is True)
    if names:
        raise HostError(
            f"{', '.join(names)} was installed as editable, which would serve code from outside the release",
            next=do("install it as an ordinary package: leave -e, or editable = true, out of the lock"),
        )


def _records(venv: Path) -> Iterator[tuple[str, dict[str, dict[str, object]]]]:
    """How each package was installed, where its installer recorded it (``direct_url.json``)."""
    for packages in _packages(venv):
        for name in _listed(venv, packages):
            if name.endswith(".dist-info"):
                try:
                    text = ownership.read_below(venv, f"{packages}/{name}/direct_url.json", _LARGEST_RECORD)
                    record = json.loads(text)
                except (OSError, ValueError, RecursionError):
                    continue
                if isinstance(record, dict) and isinstance(record.get("dir_info", {}), dict):
                    yield name.partition("-")[0], record


def _packages(venv: Path) -> list[str]:
    return [f"lib/{name}/site-packages" for name in _listed(venv, "lib") if name.startswith("python")]


def _listed(root: Path, path: str) -> list[str]:
    try:
        directory = ownership.open_below(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return os.listdir(directory)
    finally:
        os.close(directory)
