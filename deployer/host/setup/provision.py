"""``fab setup``: prepare a host for an app. Idempotent; reports what it changed; refuses names that are taken."""

from __future__ import annotations

import contextlib
import functools
import grp
import pwd
import time
from typing import Any

from deployer.host.assets import media
from deployer.host.errors import Damaged, HostError
from deployer.host.proxy import ports, server
from deployer.host.proxy.proof import proof
from deployer.host.setup import certify, conflicts, machine, prerequisites, proxy_choice, scrub, site, unsupported
from deployer.host.setup.program import install
from deployer.host.setup.software import interpreter, services, tools
from deployer.host.setup.users import accounts, login
from deployer.host.state.app import AppSettings, Emit, open_context
from deployer.host.state.paths import AppPaths, stop_unit
from deployer.host.system import files, systemd
from deployer.host.units.text import app_unit, stopping_unit
from deployer.wire.advice import Next, do, run
from deployer.wire.protocol import PROGRAM
from deployer.wire.setup.request import Setup

STEPS = (
    "host",
    "ownership",
    "packages",
    "users",
    "directories",
    "program",
    "sudo",
    "handle",
    "confinement",
    "proxy",
    "services",
    "tools",
    "python",
    "settings",
    "login",
    "certificate",
)
"""Checks come first, long steps late. The settings are written when all else is done; the last step tests it."""


class Provision:
    """The steps of a setup. Each returns what it changed, in words."""

    def __init__(self, setup: Setup, emit: Emit, program: bytes) -> None:
        self.setup = setup
        self.program = program
        self.paths = AppPaths(setup.app)
        self.emit = emit
        self._without: tuple[str, ...] = ()
        self._began = time.time()
        self._loaded = False
        self._interpreter = ""
        self._environment: dict[str, str] = {}
        self._found = ""

    @functools.cached_property
    def kind(self) -> str:
        """The proxy whose site is written; empty for none."""
        return proxy_choice.choose(self.setup.proxy, str(self._stored().get("proxy", "")), self.setup.site)

    def run(self) -> int:
        """Run all steps; returns the number of changes. Raises HostError at the first step that fails."""
        return sum(len(self._step(name)) for name in STEPS)

    def _step(self, name: str) -> list[str]:
        started, self._found = time.monotonic(), ""
        self.emit("phase.started", phase=name)
        try:
            changed: list[str] = getattr(self, f"_{name}")()
        except BaseException:
            self.emit("phase.failed", phase=name, seconds=time.monotonic() - started)
            raise
        detail = ", ".join(changed) or "unchanged"
        detail += f" ({self._found})" if self._found else ""
        self.emit("phase.done", phase=name, seconds=time.monotonic() - started, detail=detail)
        return changed

    def _host(self) -> list[str]:
        """Refuse an unsuitable host, before anything is touched. Say what about it gives trouble, and is not ours."""
        prerequisites.check()
        seen = machine.look(self.setup.site.ports if self.setup.site else ())
        for one in machine.concerns(seen):
            self.emit("warn", text=str(one))
        if left := machine.left_to_admin(seen):
            self.emit("note", text=f"left to the host's admin: {'; '.join(left)}")
        return []

    def _ownership(self) -> list[str]:
        """Refuse names that are taken on this host, before anything is touched."""
        conflicts.check(self.paths, self.setup.deploy_user)
        if self.kind and self.setup.site:
            ports.check(self.kind, self.setup.site)
        return []

    def _packages(self) -> list[str]:
        site = self.setup.site
        certbot = site is not None and site.tls == "auto"
        return tools.ensure_packages(self.setup.software.packages, self.emit, proxy=self.kind, certbot=certbot)

    def _users(self) -> list[str]:
        setup = self.setup
        before = self._stored().get("deploy_user", setup.deploy_user)
        worker = server.user(self.kind) if self.kind else ""
        return [
            *accounts.ensure_users(setup.app, setup.deploy_user),
            *accounts.ensure_members(setup.app, (setup.deploy_user, worker), former=before),
            *(accounts.ensure_members(self._socket_group(), (worker,), former="") if self.kind == "caddy" else []),
            *accounts.ensure_keys(setup.deploy_user, setup.keys),
        ]

    def _socket_group(self) -> str:
        """Who may open the app's socket: nginx's group, in which Debian has Caddy, too; so a change of proxy is none
        of the app's."""
        worker = conflicts.find_user(server.user("nginx"))
        return grp.getgrgid(worker.pw_gid).gr_name if worker else self.setup.app

    def _stored(self) -> dict[str, Any]:
        """The settings of the last setup; empty when they cannot be read: they are written again."""
        with contextlib.suppress(ValueError, Damaged):
            stored = files.read_json(self.paths.settings)
            return stored if isinstance(stored, dict) else {}
        return {}

    def _directories(self) -> list[str]:
        paths, user = self.paths, pwd.getpwnam(self.setup.app)
        wanted = [
            (paths.home, 0o750, 0, user.pw_gid),
            *(
                (path, 0o755, 0, 0)
                for path in (paths.releases, paths.trees, paths.venvs, paths.assets, paths.settings.parent)
            ),
            *((path, 0o700, 0, 0) for path in (paths.private.parent, paths.private)),
            *((path, 0o700, 0, 0) for path in (paths.incoming, paths.jobs, paths.tickets)),
            (paths.state, 0o700, user.pw_uid, user.pw_gid),
        ]
        made = [str(path) for path, mode, uid, gid in wanted if files.own_directory(path, mode, uid, gid)]
        return made + media.provide(paths, media.directories(self.setup.site if self.kind else None))

    def _program(self) -> list[str]:
        return install(self.program)

    def _sudo(self) -> list[str]:
        app, deploy = self.setup.app, self.setup.deploy_user
        changed = accounts.ensure_sudo_rule(app, deploy, self.paths.private)
        if accounts.may_sudo(deploy, "/bin/sh"):
            self.emit("warn", text=f"other sudo rules let {deploy} become root: so could a stolen deploy key")
        return changed

    def _handle(self) -> list[str]:
        app = self.setup.app
        path, stops = self.paths.units / f"{app}.service", self.paths.units / stop_unit(app)
        texts = {path: app_unit(app, PROGRAM), stops: stopping_unit(app, PROGRAM)}
        changed = [str(path) for path, text in texts.items() if files.write_if_changed(path, text)]
        if changed:
            systemd.require("daemon-reload")
        if systemd.show(path.name).active != "inactive" and systemd.show(stops.name).active == "inactive":
            systemd.require("start", stops.name)  # the app was started before this unit was there
        if systemd.systemctl("is-enabled", path.name).out.strip() != "enabled":
            systemd.require("enable", path.name)
            changed.append(f"{path.name} starts at boot")
        return [*changed, *scrub.ensure(app)]

    def _tools(self) -> list[str]:
        return tools.ensure_uv(upgrade=self.setup.software.upgrade)

    def _python(self) -> list[str]:
        """The interpreter that the app's releases get, and no other that nothing uses any more."""
        self._interpreter, installed = interpreter.ensure(self.setup.software)
        return [*installed, *interpreter.prune(self.paths, self._interpreter)]

    def _services(self) -> list[str]:
        """The data services of the app on this host. One that deploy.toml no longer names is left as it is."""
        wanted = services.ensure(self.setup.app, self.setup.software, self._without, self.emit)
        before = self._stored().get("environment") or {}
        for text in services.left(self.setup.app, before, wanted):
            self.emit("warn", text=text)
        self._environment = {one.variable: one.url for one in wanted}
        self._found = "; ".join(one.found for one in wanted if one.found)
        return [text for one in wanted for text in one.changed]

    def _confinement(self) -> list[str]:
        """Try the confinement of the app's units on this host; leave out, and report, what does not work."""
        before = self._stored().get("unsupported") or []
        self._without = unsupported.find(self.setup.app, self.setup.deploy_user)
        for text in unsupported.notes(self._without):
            self.emit("warn", text=text)
        if list(self._without) == before:
            return []
        return [f"without {', '.join(self._without)}" if self._without else "whole again"]

    def _proxy(self) -> list[str]:
        wanted = self.setup.site
        if not self.kind or wanted is None:
            for path in site.left_over(self.setup.app):
                self.emit("warn", text=site.LEFT_OVER.format(path=path))
            return []
        groups = (self.setup.app, self._socket_group())
        changed = site.place(self.kind, wanted, self.paths, self.emit, groups=groups)
        self._loaded = bool(changed)
        return changed

    def _certificate(self) -> list[str]:
        """Get the certificate; then, as the very last thing, ask for the app as a visitor would."""
        wanted = self.setup.site
        if not self.kind or wanted is None:
            return []
        since, loaded = self._began, self._loaded
        changed = certify.certify(self.kind, wanted, self.paths, self.emit, since=since, loaded=loaded)
        ctx = open_context(self.setup.app, self.emit, time.time)
        for text, repair in proof.problems(ctx, proof.visits(ctx, patience=5.0)):
            self.emit("warn", text=f"{text}; {repair}")
        return changed

    def _settings(self) -> list[str]:
        settings = AppSettings(
            deploy_user=self.setup.deploy_user,
            socket_group=self._socket_group(),
            units=self.setup.units,
            proxy=self.kind,
            site=self.setup.site if self.kind else None,
            unsupported=self._without,
            interpreter=self._interpreter,
            environment=self._environment,
            backups=software.postgresql.backups if (software := self.setup.software).postgresql else 0,
        )
        if self._stored() == settings.as_json():
            return []
        files.write_json(self.paths.settings, settings.as_json(), 0o644)
        return [str(self.paths.settings)]

    def _login(self) -> list[str]:
        """Check that the deploy user can start the host program."""
        app, deploy = self.setup.app, self.setup.deploy_user
        found = login.problems(deploy)
        if found:
            raise HostError(
                f"{deploy} could not log in: {found[0][0]}", next=Next.of(found[0][1]), logs=[why for why, _ in found]
            )
        done = login.start_program(deploy, app)
        if not done.ok:
            raise HostError(
                f"{deploy} cannot start the host program by sudo (exit status {done.status})",
                logs=done.tail(),
                next=do("mend on the host, as root, what the lines above name")
                + run("fab setup -H root@HOST", "again"),
            )
        return []
