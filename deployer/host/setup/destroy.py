"""``fab destroy``: take an app off this host. It undoes what ``fab setup`` and deploys made, step by step.

Every step can be repeated; one that fails names what is left. What the app has written stays unless it is asked for,
and with it the user that owns it. Packages stay, and so do the proxy and what others may use of it.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from deployer.host.assets import media
from deployer.host.build.code import clone
from deployer.host.errors import HostError
from deployer.host.maintenance import units as page
from deployer.host.proxy import caddy, certbot, install, nginx
from deployer.host.proxy.server import lineage
from deployer.host.proxy.site import CHALLENGES
from deployer.host.setup import conflicts, timers
from deployer.host.setup.removal import accounts, datakept
from deployer.host.setup.software import dumps, postgresql, redis
from deployer.host.state.app import AppSettings, Context, Emit
from deployer.host.state.paths import (
    AppPaths,
    dump_unit,
    job_unit,
    lease_unit,
    parse_unit,
    redis_unit,
    scrub_unit,
    stop_unit,
)
from deployer.host.system import files, runner, systemd
from deployer.host.units import transient
from deployer.wire.advice import run
from deployer.wire.protocol import PROGRAM, Exit
from deployer.wire.setup.destroy import Destroy

STEPS = ("processes", "services", "sudo", "site", "data", "files", "users", "program")
"""First nothing runs, then nobody can start anything, then what there is goes; last the settings, by which a removal
that failed goes on."""
_UP = ("active", "activating", "deactivating", "reloading")
_STOP = 150.0
"""Seconds that an app has to stop: its unit's TimeoutStopSec= is 120."""


class Removal:
    """The steps. Each returns what it removed, in words."""

    def __init__(self, asked: Destroy, emit: Emit, settings: AppSettings | None) -> None:
        self.app, self.data = asked.app, asked.data
        self.paths = AppPaths(asked.app)
        self.emit = emit
        self.settings = settings
        self.kept: list[str] = []
        self._keeps_data = False

    def run(self) -> str:
        """Run all steps; the last word. Raises HostError, OSError at the first step that fails."""
        _refuse_if_busy(self.app)
        removed = sum(len(self._step(name)) for name in STEPS)
        if not removed:
            return f"there is nothing of {self.app} on this host" + self._left()
        return f"{self.app} is removed from this host" + self._left()

    def _left(self) -> str:
        return f"; kept: {', '.join(self.kept)}" if self.kept else ""

    def _step(self, name: str) -> list[str]:
        started = time.monotonic()
        self.emit("phase.started", phase=name)
        try:
            removed: list[str] = getattr(self, f"_{name}")()
        except BaseException:
            self.emit("phase.failed", phase=name, seconds=time.monotonic() - started)
            raise
        detail = ", ".join(removed) or "nothing there"
        self.emit("phase.done", phase=name, seconds=time.monotonic() - started, detail=detail)
        return removed

    def _processes(self) -> list[str]:
        """Stop the app as ``systemctl stop`` does, then whatever else of it runs."""
        removed, unit = [], f"{self.app}.service"
        if (self.paths.units / unit).exists():
            systemd.require("disable", "--now", unit, timeout=_STOP)
            systemd.systemctl("stop", stop_unit(self.app), timeout=_STOP)
            removed.append(f"{unit} stopped")
        if page.are_there(self.paths):
            page.remove(self._context())
            removed.append("the maintenance page")
        own = (*(lease_unit(self.app, kind) for kind in ("timer", "service")), clone.unit_of(self.app))
        units = [*own, *self._release_units()]
        if units:
            systemd.systemctl("stop", *units, timeout=_STOP)
        slices = {_slice_of(name) for name in self._release_units()}
        if slices:  # systemd made one for each template, and would keep it until the next boot
            systemd.systemctl("stop", *sorted(slices))
        transient.end_all(self._context())
        if conflicts.find_user(self.app) is not None:
            accounts.end_processes(self.app)
        return removed

    def _context(self) -> Context:
        settings = self.settings or AppSettings(deploy_user="", socket_group="")
        return Context(paths=self.paths, settings=settings, emit=self.emit, clock=time.time)

    def _release_units(self) -> list[str]:
        return [name for name in files.names(self.paths.units) if parse_unit(self.app, name)]

    def _services(self) -> list[str]:
        """Stop the app's own Redis, the dumps of its database, and the scrub."""
        removed = []
        systemd.systemctl("stop", scrub_unit(self.app, "service"))
        for unit in (redis_unit(self.app), *(unit_of(self.app, "timer") for unit_of in (dump_unit, scrub_unit))):
            if systemd.systemctl("is-enabled", unit).out.strip() == "enabled" or systemd.show(unit).active in _UP:
                systemd.require("disable", "--now", unit, timeout=_STOP)
                removed.append(f"{unit} stopped")
        return removed + _remove(redis.SETTINGS / f"{self.app}.conf")

    def _sudo(self) -> list[str]:
        return _remove(Path(f"/etc/sudoers.d/deployer-{self.app}"))

    def _site(self) -> list[str]:
        """The site leaves the proxy, which goes on serving others; the admin's own lines for it stay.

        Media are unmounted: what they show is data.
        """
        removed = media.provide(self.paths, ()) if self.paths.media.is_dir() else []
        for kind, site in (("nginx", nginx.site_path(self.app)), ("caddy", caddy.site_path(self.app))):
            if gone := _remove(site):
                removed += gone
                install.reload(kind)
        for own in (nginx.snippets_path(self.app), caddy.snippets_path(self.app)):
            removed += self._own_lines(own)
        if certbot.has_certificate(self.app):
            done = runner.run(["certbot", "delete", "--cert-name", lineage(self.app), "--non-interactive"], timeout=120)
            if not done.ok:
                raise HostError(f"certbot does not delete the certificate {lineage(self.app)}", logs=done.tail())
            removed.append("its certificate")
        return removed

    def _own_lines(self, directory: Path) -> list[str]:
        if not directory.is_dir():
            return []
        if files.names(directory):
            self.kept.append(f"{directory} (lines of yours)")
            return []
        directory.rmdir()
        return [str(directory)]

    def _files(self) -> list[str]:
        """Units, releases, records."""
        removed = []
        units = [*self._release_units(), f"{self.app}.service", stop_unit(self.app)]
        stamps = [path for name in self._release_units() if (path := self.paths.stamps / f"stamp-{name}").exists()]
        stamps += self.paths.stamps.glob(f"stamp-{scrub_unit(self.app, 'timer')}")
        stamps += self.paths.stamps.glob(f"stamp-{dump_unit(self.app, 'timer')}") if self.data else []
        there = [self.paths.units / name for name in units if (self.paths.units / name).exists()]
        for path in (*there, *stamps):
            path.unlink()
        if there:
            systemd.require("daemon-reload")
            systemd.systemctl("reset-failed", *units)
        removed += [path.name for path in there]
        for path in (self.paths.home, self.paths.private, Path(f"/var/cache/deployer-{self.app}")):
            removed += _remove(path)
        return removed

    def _data(self) -> list[str]:
        database = self.settings is not None and postgresql.VARIABLE in self.settings.environment
        act = datakept.remove if self.data else datakept.keep
        removed, kept = act(self.paths, database=database)
        self.kept += kept
        self._keeps_data = bool(kept)
        return removed

    def _users(self) -> list[str]:
        """The app's user, unless it owns data that stay; the deploy user, if a setup made it for this app alone."""
        deploy = self.settings.deploy_user if self.settings else ""
        removed, kept = accounts.remove(self.app, deploy, _others(self.paths), keeps_data=self._keeps_data)
        self.kept += kept
        return removed

    def _program(self) -> list[str]:
        """The settings, and what apps share, when this was the last."""
        removed = _remove(self.paths.settings)
        if _others(self.paths):
            return removed
        templates = [unit_of("", kind) for unit_of in (dump_unit, scrub_unit) for kind in ("service", "timer")]
        for unit in (redis.TEMPLATE, *(timers.UNITS / name for name in templates)):
            removed += _remove(unit)
        removed += [*_remove(certbot.DROP_IN), *_remove(CHALLENGES)]
        for path in (certbot.DROP_IN.parent, nginx.snippets_path(self.app).parent, caddy.snippets_path(self.app).parent,
                     self.paths.private.parent, dumps.DIRECTORY, redis.DATA):  # fmt: skip
            with contextlib.suppress(OSError):  # not there, or something of others is in it
                path.rmdir()
        if removed:
            systemd.require("daemon-reload")
        return removed + _remove(self.paths.settings.parent) + _remove(Path(PROGRAM).parent)


def _refuse_if_busy(app: str) -> None:
    if systemd.show(job_unit(app)).active in _UP:
        raise HostError(
            f"busy: a deploy of {app} runs, or the host finishes one",
            exit=Exit.BUSY,
            state="nothing was touched",
            next=run("fab attach", "follows it") + run("fab abort", "ends it"),
        )


def _slice_of(unit: str) -> str:
    """The slice of an instance, such as ``system-shop\\x2dweb.slice`` (systemd.unit(5) on escaping)."""
    template = unit.partition("@")[0].replace("-", "\\x2d")
    return f"system-{template}.slice"


def _others(paths: AppPaths) -> list[Path]:
    """The settings of other apps on this host."""
    directory = paths.settings.parent
    return [
        directory / name for name in files.names(directory) if name.endswith(".json") and name != paths.settings.name
    ]


def _remove(path: Path) -> list[str]:
    """Remove a file or a tree; its path, if there was one. Follows no link. Raises OSError."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        files.remove_tree(path)
    else:
        return []
    return [str(path)]
