"""A Python that the host lacks: uv downloads one, checks its SHA-256, and unpacks it where only root can write.

uv holds the digests of all interpreters that it knows; uv itself comes from the package index.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from deployer.host.build.environment import pipconf
from deployer.host.build.pythons import (
    INSTALLED,
    READY,
    Interpreter,
    distance,
    find_interpreter,
    installed,
    minor_of,
    program,
)
from deployer.host.errors import Damaged, HostError
from deployer.host.setup import prerequisites
from deployer.host.setup.software import tools
from deployer.host.state.paths import AppPaths
from deployer.host.system import files, runner
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.lazyre import pattern
from deployer.wire.release.versions import fits, numbers
from deployer.wire.setup.software import Software

_URL = pattern(r"https?://[^\s`'\"()<>]+")
_ROOM = 400
"""MiB that a Python takes, packed and unpacked."""
_NEWEST = 30
"""No Python is as new as 3.30."""

NOT_INSTALLED = Cause(
    "python-not-installed",
    "`fab setup` is to install a Python, and uv cannot download it: no network, a proxy, a firewall, a version that is "
    "not made for this kind of machine",
    "Python {version} is not on this host, and uv could not install it from {where}",
    do("let this host reach {where}; or name a mirror of it: [host] python_mirror = … in deploy.toml, or on the host "
       'python-install-mirror = "…" in /etc/uv/uv.toml; then')
    + run("fab setup -H root@HOST", "again: it goes on where it stopped")
    + do("or put a python{version} of your own into /usr/local/bin on the host"),
)  # fmt: skip
NO_SUCH_VERSION = Cause(
    "python-unknown",
    "uv, though it is up to date, knows no such Python for this kind of machine, or no version is accepted by the lock",
    "there is no Python {version} that could be installed on this host",
    do("correct python in deploy.toml, or requires-python, and lock again; commit")
    + run("fab setup -H root@HOST", "again"),
)
CAUSES = (NOT_INSTALLED, NO_SUCH_VERSION)


def ensure(software: Software) -> tuple[str, list[str]]:
    """Make sure that the host has a Python for the app. Returns the path of the one that its releases get (empty where
    nothing was asked for), and what was installed. Raises HostError."""
    if not (software.python or software.requires):
        return "", []
    before = _suitable(software)
    if before is not None and not (software.upgrade and is_ours(before)):
        return before.path, []
    version = minor_of(Path(before.path).parents[1]) if before else software.python or nearest(software.requires)
    if not version or not fits(version, software.requires):
        raise HostError(**NO_SUCH_VERSION.told(version=software.requires or version))
    _install(version, software)
    found = _suitable(software)
    if before is not None and before == found:
        return found.path, []
    if found is None:
        raise HostError(**NO_SUCH_VERSION.told(version=software.requires or version))
    return found.path, [f"Python {found.version}"]


def is_ours(found: Interpreter) -> bool:
    """Whether setup has installed it: the host's own is brought up to date by the host's package manager."""
    return found.path.startswith(f"{INSTALLED}/")


def nearest(requires: str) -> str:
    """The version nearest to the host's own that a specifier accepts: the same on hosts of one distribution, whatever
    their uv knows. Empty for none."""
    versions = (f"3.{minor}" for minor in range(9, _NEWEST))
    return min((version for version in versions if fits(version, requires)), default="", key=distance)


def _suitable(software: Software) -> Interpreter | None:
    try:
        return find_interpreter(software.python, software.requires)
    except HostError:
        return None


def _install(version: str, software: Software) -> None:
    """Raises HostError. What is only partly there counts as missing: its mark comes last."""
    files.own_directory(INSTALLED, 0o755, 0, 0)
    prerequisites.require_room(INSTALLED, _ROOM)
    download = _download(version, software.requires)
    if download is None and tools.upgrade_uv():
        download = _download(version, software.requires)
    if download is None:
        raise HostError(**NO_SUCH_VERSION.told(version=software.requires or version))
    name, address = download
    if (INSTALLED / name) in installed():
        return
    done = _uv("install", "--reinstall", *(["--mirror", software.mirror] if software.mirror else []), name)
    if not done.ok or not (INSTALLED / name).is_dir():
        where = software.mirror or " and ".join(hosts_named(done.err)) or urlsplit(address).netloc or address
        raise HostError(**NOT_INSTALLED.told(version=version, where=where), logs=done.tail())
    _finish(INSTALLED / name)


def hosts_named(said: str) -> list[str]:
    """The hosts of the URLs in what uv said: it tries other places than the one that it lists. Pure."""
    found = (urlsplit(url).netloc.rpartition("@")[2] for url in _URL.findall(said))
    return list(dict.fromkeys(filter(None, found)))


def _download(version: str, requires: str) -> tuple[str, str] | None:
    """The newest patch release of a version that uv can install here and the lock accepts: its name, and where it comes
    from."""
    done = _uv("list", "--only-downloads", "--all-versions", "--output-format", "json", version)
    return choose(done.out, requires) if done.ok else None


def choose(listing: str, requires: str) -> tuple[str, str] | None:
    """As above, from what ``uv python list`` prints. Pure."""
    try:
        listed = [(str(one["key"]), str(one["version"]), str(one["url"])) for one in json.loads(listing)]
    except (ValueError, TypeError, KeyError):
        return None
    ours = [one for one in listed if minor_of(Path(one[0])) and fits(one[1], requires)]
    best = max(ours, default=None, key=lambda one: numbers(one[1]))
    return (best[0], best[2]) if best else None


def _uv(*words: str) -> runner.CommandResult:
    environment = {
        **pipconf.variables(indexes=False),
        **tools.login_environment(),
        "UV_PYTHON_INSTALL_DIR": str(INSTALLED),
        "UV_PYTHON_INSTALL_BIN": "0",
        "UV_NO_CACHE": "1",
        "UV_NO_PROGRESS": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_NATIVE_TLS": "1",  # its name before
        "NO_COLOR": "1",
    }
    told = [f"{name}={value}" for name, value in sorted(environment.items())]
    return runner.run(["env", *told, f"{tools.TOOLS}/bin/uv", "python", *words], timeout=1800)


def _mark(directory: Path) -> Path:
    return INSTALLED / f"{directory.name}{READY}"


def _finish(directory: Path) -> None:
    """Make it root's alone, compile its library, which no app could do later, and mark it as complete."""
    for path in (directory, *directory.rglob("*")):
        _own(path)
    runner.run([program(directory), "-I", "-m", "compileall", "-q", "-x", "/test/", f"{directory}/lib"], timeout=600)
    lock = INSTALLED / ".lock"
    if lock.exists():
        _own(lock)  # uv lets everybody write it, and so hold it
    os.sync()
    files.write_file(_mark(directory), b"", 0o644)


def _own(path: Path) -> None:
    status = os.lstat(str(path))
    os.chown(str(path), 0, 0, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(str(path), status.st_mode & 0o755)


def prune(paths: AppPaths, kept: str) -> list[str]:
    """Remove the installed interpreters, but ``kept``, that no app on this host has settled on and no environment was
    built with. Returns what was removed; nothing is, as long as anything cannot be read."""
    used = {kept}
    try:
        for path in paths.settings.parent.glob("*.json"):
            used.add("" if path == paths.settings else str((files.read_object(path) or {}).get("interpreter", "")))
        for path in paths.home.parent.glob("*/venvs/*.json"):
            used.add(str((files.read_object(path) or {}).get("python", "")))
    except (OSError, Damaged):
        return []
    gone = [one for one in installed() if program(one) not in used]
    for one in gone:
        _remove(one)
    return [f"removed Python {one.name.split('-')[1]}, which nothing uses" for one in gone]


def _remove(directory: Path) -> None:
    _mark(directory).unlink()
    for link in INSTALLED.iterdir():
        if link.is_symlink() and os.path.basename(os.readlink(str(link))) == directory.name:
            link.unlink()
    files.remove_tree(directory)
