"""Software that deployer needs on a host: a few packages of its distribution, and uv for the builds."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.setup.software import apt
from deployer.host.state.app import Emit
from deployer.host.system import files, runner
from deployer.wire.advice import do, run
from deployer.wire.protocol import ENV_NAME

TOOLS = Path("/usr/local/lib/deployer/tools")
_ENVIRONMENT = Path("/etc/environment")
_UV = "uv>=0.8,<1"
_PIP = (f"{TOOLS}/bin/pip", "install", "-q", "--only-binary=:all:")
_PROXIES = {"nginx": "nginx-light", "caddy": "caddy"}


def ensure_packages(wanted: Sequence[str], emit: Emit, *, proxy: str, certbot: bool = False) -> list[str]:
    """Install the distribution's packages that are missing: those that deployer needs, and those that are ``wanted``.

    ``certbot``: the site's certificates come from an authority, which Caddy asks by itself. Returns what was installed.
    Raises HostError.
    """
    more = [_PROXIES[proxy]] if proxy else []
    more += ["certbot"] if proxy == "nginx" and certbot else []
    needed = _missing(more)
    missing = [*needed, *(name for name in apt.missing(wanted) if name not in needed)]
    if not missing:
        return []
    apt.install(missing, emit, unstarted="caddy.service" if "caddy" in needed else "")
    left = _missing(more)
    if left:
        raise HostError(
            f"the packages {', '.join(left)} are installed, but their files are missing",
            next=do(f"as root on the host: apt-get install --reinstall {' '.join(left)}")
            + run("fab setup -H root@HOST", "again"),
        )
    return [f"installed {name}" for name in missing]


def _missing(more: Sequence[str]) -> list[str]:
    there = {"sudo": _has("visudo"), "iproute2": _has("ss"), "python3-venv": _has_venv()}
    there |= {name: _has(name.partition("-")[0]) for name in more}
    return [name for name, is_there in there.items() if not is_there]


def ensure_uv(*, upgrade: bool = False) -> list[str]:
    """Install uv for all apps of this host, as a wheel: nothing is built as root. ``upgrade``: the newest."""
    if _uv_version():
        return [f"uv {_uv_version()}"] if upgrade and upgrade_uv() else []
    for argv in (["/usr/bin/python3", "-m", "venv", str(TOOLS)], [*_PIP, _UV]):
        done = _online(argv)
        if not done.ok:
            raise HostError(
                f"{' '.join(argv)} failed", logs=done.tail(), next=do("can this host reach a package index?")
            )
    return [f"uv {_uv_version()}".strip()]


def upgrade_uv() -> bool:
    """Whether uv is a newer one now: only a newer one knows newer Pythons."""
    before = _uv_version()
    return _online([*_PIP, "--upgrade", _UV]).ok and _uv_version() != before


def _online(argv: Sequence[str]) -> runner.CommandResult:
    environment = [f"{name}={value}" for name, value in sorted(login_environment().items())]
    return runner.run(["env", *environment, *argv], timeout=900)


def _uv_version() -> str:
    """Empty when there is no uv that works."""
    done = runner.run(["sh", "-c", f"{TOOLS}/bin/uv --version"])
    return " ".join(done.out.split()[1:2]) if done.ok else ""


def _has(command: str) -> bool:
    return runner.run(["sh", "-c", f"command -v {command}"]).ok


def _has_venv() -> bool:
    return runner.run(["/usr/bin/python3", "-c", "import venv, ensurepip"]).ok


def login_environment() -> dict[str, str]:
    """The variables of /etc/environment: proxies and certificates that the package index may need.

    Read as pam_env does: ``export`` may precede a name, and other lines are skipped. Values keep their bytes.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in files.read_text(_ENVIRONMENT).split("\n"):
            name, equals, value = line.strip().partition("=")
            name = name[len("export ") :].strip() if name.startswith("export ") else name
            if equals and ENV_NAME.fullmatch(name) and "\0" not in value:
                found[name] = value.strip("\"'")
    return found
