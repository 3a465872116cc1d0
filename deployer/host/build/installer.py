"""What an installer gets to see: the files that name the environment, in a directory of their own, and no others.

What it reads is thereby what the key covers: a build that reaches for anything else fails, and none goes stale unseen.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from deployer.host.build.pythons import HOST_PATH, pythons
from deployer.host.errors import HostError
from deployer.host.system import files
from deployer.wire.advice import NOTHING, Next, do, run
from deployer.wire.spec import LockSpec
from deployer.wire.tree import EXECUTABLE, LINK, Entry

SOURCES = ".sources"
"""Below the environment that is being built: of the path that nothing else is ever built at, or uv's cache would
answer for it."""
_EDITABLE = re.compile(rb"""^[ \t]*(?:-e[ \t]*|--editable(?:[ \t]+|[ \t]*=[ \t]*))([^\s=;#][^\s;#]*)""", re.MULTILINE)
_EDITABLE_KEY = re.compile(rb"""(["']?\beditable["']?\s*=\s*)true\b""")
_GIT = re.compile(rb"""^[^#\n]*(?:git[+][a-z]+:|\bgit = ["']|["']git["'])""", re.MULTILINE)
_LARGEST_RECORD = 1 << 16
_LARGEST_LOCK = 1 << 24


def lay_out(lock: LockSpec, entries: Iterable[Entry], tree: Path, destination: Path) -> None:
    """Copy what the lock covers from a tree. Both are root's alone meanwhile.

    Raises HostError for a file that is no longer as it was shipped.
    """
    destination.mkdir(mode=0o755)
    for entry in entries:
        if not lock.covers(entry.path):
            continue
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
        content = files.read_below(tree, entry.path, entry.size + 1)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EIO):
            raise
        content = b""
    if hashlib.sha256(content).hexdigest() != entry.digest:
        raise HostError(
            f"{entry.path} is no longer as it was shipped: a build command of an older release has changed it",
            next=do("change and commit anything") + run("fab deploy", "sends the code afresh"),
        )
    return content


def not_editable(kind: str, content: bytes) -> bytes:
    """The same requirements or lock without a word that would leave the environment pointing into a tree of code."""
    if kind == "requirements":
        return _EDITABLE.sub(_ordinary, content)
    return _EDITABLE_KEY.sub(rb"\1false", content) if kind == "pylock" else content


def _ordinary(match: re.Match[bytes]) -> bytes:
    """``-e lib`` names a directory, and ``lib`` alone a package of the index: ``./lib``."""
    what = match[1]
    return what if b":" in what or what.startswith((b".", b"/", b"$")) else b"./" + what


def advice(lock: LockSpec, tree: Path) -> Next:
    """What to do when an installer fails: it names the cause itself, and what this host lacks is seen here."""
    steps = [do(f"the lines above name the cause: a package, a version, a hash: put it right in {lock.path}, commit")]
    if shutil.which("git", path=HOST_PATH) is None and any(_wants_git(tree, path) for path in lock.files):
        steps.insert(0, run("apt-get install git", f"on the host: {lock.path} installs from git, and there is none"))
    if others := pythons():
        told = f"another Python: python = in deploy.toml (this host has {', '.join(others)})"
        steps += [do(told)] if others[1:] else []
    return sum([*steps, run("fab deploy", "when that is done, or where the index or the network refused")], NOTHING)


def _wants_git(tree: Path, path: str) -> bool:
    try:
        return _GIT.search(files.read_below(tree, path, _LARGEST_LOCK)) is not None
    except OSError:
        return False


def refuse_editable(venv: Path) -> None:
    """Raises HostError when something was installed that lives outside the environment. No link is followed."""
    names = sorted(name for name, record in _records(venv) if record.get("dir_info", {}).get("editable") is True)
    if names:
        raise HostError(
            f"{', '.join(names)} was installed as editable, which would serve code of no release",
            next=do("install it as an ordinary package: leave -e, or editable = true, out of the lock"),
        )


def _records(venv: Path) -> Iterator[tuple[str, dict[str, dict[str, object]]]]:
    """How each package came to be installed, where its installer says so (``direct_url.json``)."""
    for packages in _packages(venv):
        for name in _listed(venv, packages):
            if name.endswith(".dist-info"):
                try:
                    text = files.read_below(venv, f"{packages}/{name}/direct_url.json", _LARGEST_RECORD)
                    record = json.loads(text)
                except (OSError, ValueError, RecursionError):
                    continue
                if isinstance(record, dict) and isinstance(record.get("dir_info", {}), dict):
                    yield name.partition("-")[0], record


def _packages(venv: Path) -> list[str]:
    return [f"lib/{name}/site-packages" for name in _listed(venv, "lib") if name.startswith("python")]


def _listed(root: Path, path: str) -> list[str]:
    try:
        directory = files.open_below(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return os.listdir(directory)
    finally:
        os.close(directory)
