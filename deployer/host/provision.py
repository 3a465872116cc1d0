"""``fab setup``: make a host ready for an app. Idempotent; says what it changed; refuses what is not its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from deployer.host import files, nginx, systemd
from deployer.host.context import Emit, Settings, group_exists
from deployer.host.errors import HostError
from deployer.host.paths import AppPaths
from deployer.host.protocol import PROGRAM, Exit, read_message
from deployer.host.spec import Reader, parse_app
from deployer.host.units import handle_unit

TOOLS = Path("/usr/local/lib/deployer/tools")
_UV = "uv>=0.8,<1"
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}\Z")
_KEY = re.compile(r"(?:ssh-[a-z0-9@.-]+|ecdsa-[a-z0-9@.-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+(?: [^\r\n\0]*)?\Z")
_DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]{1,40}\Z")
_COMMENT = "deployer app"


@dataclass(frozen=True)
class Setup:
    """What root asks for. ``keys`` are public keys that may log in as the deploy user."""

    app: str
    deploy_user: str
    keys: tuple[str, ...]
    units: tuple[str, ...]
    proxy: str
    site: nginx.Site | None

    @classmethod
    def parse(cls, value: Any) -> Setup:
        read = Reader(value, "setup")
        site = read.raw("site")
        setup = cls(
            app=parse_app(read.raw("app")),
            deploy_user=read.text("deploy_user", _USER),
            keys=read.texts("keys", _KEY),
            units=read.texts("units", _DIRECTIVE),
            proxy=read.choice("proxy", ("", "nginx")),
            site=nginx.Site.parse(site) if site is not None else None,
        )
        read.done()
        if setup.deploy_user in ("root", setup.app):
            raise ValueError(
                f"setup.deploy_user: must be neither root nor the app's own user, not {setup.deploy_user!r}"
            )
        if setup.proxy and setup.site is None:
            raise ValueError("setup.site: missing")
        return setup


def main(stream: BinaryIO, emit: Emit, fresh: str) -> Exit:
    """Read one request, do it, report each step as a phase; the last event is ``finished``.

    ``fresh`` names this program when it has just been installed; it is empty when it was there already.
    """
    started = time.monotonic()
    exit, summary = Exit.OK, ""
    try:
        setup = Setup.parse(read_message(stream))
        changes = Provision(setup, emit, fresh).run()
        summary = (
            f"{setup.app} is set up: {changes} changes" if changes else f"{setup.app} was set up already: no changes"
        )
    except ValueError as error:
        exit, summary = Exit.USAGE, f"the request is not acceptable: {error}"
        emit("failed", exit=int(exit), message=summary, state="nothing was touched", next="", logs=[])
    except (HostError, OSError) as error:
        told = error if isinstance(error, HostError) else HostError(str(error))
        exit, summary = Exit.USAGE if told.exit == Exit.REFUSED else told.exit, told.message
        state = told.state or "what ran before this step is done; nothing that serves was touched"
        emit("failed", exit=int(exit), message=told.message, state=state, next=told.next, logs=list(told.logs))
    emit("finished", exit=int(exit), seconds=time.monotonic() - started, summary=summary)
    return exit


class Provision:
    """The steps of a set-up. Each returns what it changed, in words."""

    def __init__(self, setup: Setup, emit: Emit, fresh: str) -> None:
        self.setup = setup
        self.fresh = fresh
        self.paths = AppPaths(setup.app)
        self.emit = emit

    def run(self) -> int:
        """All steps; the number of changes. Raises HostError at the first step that cannot be done."""
        steps = (
            "ownership",
            "packages",
            "users",
            "directories",
            "program",
            "sudo",
            "handle",
            "tools",
            "proxy",
            "settings",
        )
        total = 0
        for name in steps:
            started = time.monotonic()
            self.emit("phase.started", phase=name)
            try:
                changed: list[str] = getattr(self, f"_{name}")()
            except BaseException:
                self.emit("phase.failed", phase=name, seconds=time.monotonic() - started)
                raise
            total += len(changed)
            for what in changed[1:]:
                self.emit("note", text=f"{name}: {what}")
            detail = f"{changed[0]}{_more(changed)}" if changed else "as it should be"
            self.emit("phase.done", phase=name, seconds=time.monotonic() - started, detail=detail)
        return total

    def _ownership(self) -> list[str]:
        """Refuse names that belong to somebody else on this host, before anything is touched."""
        app = self.setup.app
        with contextlib.suppress(KeyError):
            if not pwd.getpwnam(app).pw_gecos.startswith(_COMMENT):
                raise HostError(
                    f"this host has a user {app!r} that deployer did not make",
                    state="nothing was touched",
                    next="choose another app name in deploy.toml",
                )
        shown = systemd.systemctl("show", "-p", "FragmentPath", "--value", f"{app}.service").out.strip()
        ours = self.paths.units / f"{app}.service"
        if shown and (Path(shown) != ours or b"Written by deployer" not in ours.read_bytes()):
            raise HostError(
                f"this host has a {app}.service that deployer did not make: {shown}",
                state="nothing was touched",
                next="choose another app name in deploy.toml",
            )
        return []

    def _packages(self) -> list[str]:
        wanted = {"sudo": _has("visudo"), "iproute2": _has("ss"), "python3-venv": _has_venv()}
        if self.setup.proxy == "nginx":
            wanted["nginx-light"] = _has("nginx")
        missing = [name for name, there in wanted.items() if not there]
        if not missing:
            return []
        if not _has("apt-get"):
            raise HostError(
                f"this host lacks {', '.join(missing)}", next="install them with the host's package manager"
            )
        for argv in (
            ["apt-get", "-q", "update"],
            ["apt-get", "-q", "-y", "--no-install-recommends", "install", *missing],
        ):
            done = systemd.run(["env", "DEBIAN_FRONTEND=noninteractive", *argv], timeout=900)
            if not done.ok:
                raise HostError(f"{' '.join(argv)} failed", logs=done.tail())
        return [f"installed {name}" for name in missing]

    def _users(self) -> list[str]:
        app, deploy = self.setup.app, self.setup.deploy_user
        changed = []
        if not _user_exists(app):
            _do("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", f"/var/lib/{app}",
                "--shell", "/usr/sbin/nologin", "--comment", f"{_COMMENT} {app}", app)  # fmt: skip
            changed.append(f"user {app}")
        if not _user_exists(deploy):
            _do("useradd", "--create-home", "--shell", "/bin/bash", "--comment", "deploys by deployer", deploy)
            changed.append(f"user {deploy}")
        members = [deploy, *(["www-data"] if self.setup.proxy and _user_exists("www-data") else [])]
        for member in members:
            if app not in systemd.run(["id", "-nG", member]).out.split():
                _do("usermod", "--append", "--groups", app, member)
                changed.append(f"{member} in group {app}")
        return changed + self._keys()

    def _keys(self) -> list[str]:
        """Add public keys, as the deploy user itself: root writes nothing through a path that user could swap."""
        script = (
            "umask 077; mkdir -p ~/.ssh; touch ~/.ssh/authorized_keys; added=0; while IFS= read -r key; do "
            'grep -qxF -- "$key" ~/.ssh/authorized_keys || { printf "%s\\n" "$key" >> ~/.ssh/authorized_keys; '
            "added=$((added+1)); }; done; echo $added"
        )
        if not self.setup.keys:
            return []
        text = "".join(f"{key}\n" for key in self.setup.keys).encode()
        done = systemd.run(["runuser", "-l", self.setup.deploy_user, "-s", "/bin/sh", "-c", script], stdin=text)
        if not done.ok:
            raise HostError(f"the keys of {self.setup.deploy_user} could not be written", logs=done.tail())
        count = done.out.strip().splitlines()[-1:]
        return [f"{count[0]} keys for {self.setup.deploy_user}"] if count and count != ["0"] else []

    def _directories(self) -> list[str]:
        paths, group = self.paths, pwd.getpwnam(self.setup.app).pw_gid
        service = pwd.getpwnam(self.setup.app).pw_uid
        wanted = [
            (paths.home, 0o750, 0, group),
            *((path, 0o755, 0, 0) for path in (paths.releases, paths.trees, paths.venvs, paths.settings.parent)),
            *((path, 0o700, 0, 0) for path in (paths.private.parent, paths.private, paths.incoming, paths.jobs)),
            (paths.state, 0o700, service, group),
        ]
        return [str(path) for path, mode, uid, gid in wanted if _directory(path, mode, uid, gid)]

    def _program(self) -> list[str]:
        """The program is this one: installed before it could say so. Old versions go, but for the last three."""
        versions = [path for path in TOOLS.parent.iterdir() if re.fullmatch(r"[0-9a-f]{64}", path.name)]
        for path in sorted(versions, key=lambda one: one.stat().st_mtime)[:-3]:
            files.remove_tree(path)
        return [f"{PROGRAM} is version {self.fresh}"] if self.fresh else []

    def _sudo(self) -> list[str]:
        app, deploy = self.setup.app, self.setup.deploy_user
        text = (
            f"# Written by deployer: all that {deploy} may do as root for {app}.\n"
            f"{deploy} ALL=(root) NOPASSWD: {PROGRAM} session {app}\n"
        )
        path = Path(f"/etc/sudoers.d/deployer-{app}")
        if path.exists() and path.read_text() == text:
            return []
        trial = self.paths.private / "sudoers"
        files.write_file(trial, text.encode(), 0o440)
        done = systemd.run(["visudo", "-c", "-q", "-f", str(trial)])
        trial.unlink()
        if not done.ok:
            raise HostError("visudo refuses the sudoers file; it was not installed", logs=done.tail())
        files.make_directory(path.parent, 0o750)
        files.write_file(path, text.encode(), 0o440)
        return [str(path)]

    def _handle(self) -> list[str]:
        path = self.paths.units / f"{self.setup.app}.service"
        changed = _file(path, handle_unit(self.setup.app, PROGRAM), 0o644)
        if changed:
            systemd.require("daemon-reload")
        if systemd.systemctl("is-enabled", path.name).out.strip() != "enabled":
            systemd.require("enable", path.name)
            changed.append(f"{path.name} starts at boot")
        return changed

    def _tools(self) -> list[str]:
        if systemd.run(["test", "-x", f"{TOOLS}/bin/uv"]).ok:
            return []
        environment = [f"{name}={value}" for name, value in sorted(_login_environment().items())]
        for argv in (
            ["/usr/bin/python3", "-m", "venv", str(TOOLS)],
            [f"{TOOLS}/bin/pip", "install", "-q", _UV],
        ):
            done = systemd.run(["env", *environment, *argv], timeout=900)
            if not done.ok:
                raise HostError(
                    f"{' '.join(argv)} failed", logs=done.tail(), next="can this host reach a package index?"
                )
        version = systemd.run([f"{TOOLS}/bin/uv", "--version"]).out.split()[1:2]
        return [f"uv {version[0] if version else ''}".strip()]

    def _proxy(self) -> list[str]:
        if self.setup.proxy != "nginx" or self.setup.site is None:
            return []
        name = f"deployer-{self.setup.app}.conf"
        changed = install_site(Path("/etc/nginx/sites-enabled") / name, nginx.render(self.setup.site, self.paths))
        if systemd.show("nginx.service").active != "active":
            systemd.require("enable", "--now", "nginx.service")
            return [*changed, "nginx started"]
        return changed

    def _settings(self) -> list[str]:
        group = "www-data" if group_exists("www-data") else self.setup.app
        settings = Settings(
            deploy_user=self.setup.deploy_user,
            socket_group=group,
            units=self.setup.units,
            proxy=self.setup.proxy,
        )
        if files.read_json(self.paths.settings) == settings.as_json():
            return []
        files.write_json(self.paths.settings, settings.as_json(), 0o644)
        return [str(self.paths.settings)]


def install_site(path: Path, text: str) -> list[str]:
    """Write the site, have nginx check all it reads, then reload it; what was there before comes back if it objects."""
    before = path.read_bytes() if path.exists() else None
    if before == text.encode():
        return []
    files.write_file(path, text.encode(), 0o644)
    done = systemd.run(["nginx", "-t", "-q"])
    if not done.ok:
        if before is None:
            path.unlink()
        else:
            files.write_file(path, before, 0o644)
        raise HostError(
            "nginx refuses the site; the one before is back and nginx was not reloaded",
            logs=done.tail(),
            next="mend [proxy] in deploy.toml, or what else the lines above name",
        )
    if systemd.show("nginx.service").active == "active":
        systemd.require("reload", "nginx.service")
    return [str(path)]


def _more(changed: list[str]) -> str:
    return f", and {len(changed) - 1} more" if len(changed) > 1 else ""


def _file(path: Path, text: str, mode: int) -> list[str]:
    if path.exists() and path.read_text() == text:
        return []
    files.write_file(path, text.encode(), mode)
    return [str(path)]


def _directory(path: Path, mode: int, uid: int, gid: int) -> bool:
    """Make or mend a directory; True when something changed. Parents are root's, so the path cannot be swapped."""
    before = os.lstat(str(path)) if path.exists() else None
    if before is not None and (before.st_mode & 0o7777, before.st_uid, before.st_gid) == (mode, uid, gid):
        return False
    files.make_directory(path, mode)
    os.chown(str(path), uid, gid)
    return True


def _do(*argv: str) -> None:
    done = systemd.run(argv)
    if not done.ok:
        raise HostError(f"{' '.join(argv[:1])} failed: {' '.join(argv)}", logs=done.tail())


def _has(command: str) -> bool:
    return systemd.run(["sh", "-c", f"command -v {command}"]).ok


def _has_venv() -> bool:
    return systemd.run(["/usr/bin/python3", "-c", "import venv, ensurepip"]).ok


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _login_environment() -> dict[str, str]:
    """What /etc/environment sets at log-in: proxies and certificates that the package index may need."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/etc/environment").read_text().splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                found[name] = value.strip("\"'")
    return found
