"""The units of a release on its host: written, verified, loaded and removed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from deployer.host.errors import BadRequest, Damaged, HostError
from deployer.host.state.app import Context
from deployer.host.state.paths import parse_unit, unit_name
from deployer.host.state.releases import Release
from deployer.host.system import files, orders, ownership, runner, systemd
from deployer.host.system.alongside import alongside
from deployer.host.units import overrides, programs
from deployer.host.units.confinement import unsupported
from deployer.host.units.text import Capabilities, process_unit, run_unit, service_unit, socket_unit, timer_unit
from deployer.wire import advice
from deployer.wire.protocol import WEB, Exit
from deployer.wire.release.spec import Spec

_LARGEST_MODULE = 4 * 1024 * 1024
"""The most bytes that are read of a server's source."""
_MOMENT = 3.0
"""Seconds that a process without requests gets to end."""
_RANK = {"timer": 0, "socket": 1, "service": 2}
"""The order in which units are stopped: first those that would start another one."""


def install(ctx: Context, release: Release, *, proven: bool = False) -> str:
    """Write a release's units and have systemd verify and load them. Raises HostError; the caller removes them then.

    ``proven`` units were verified when the release first served.
    """
    try:
        overrides.check(release.spec.units, ctx.settings.units)
    except BadRequest as error:
        raise HostError(error.message, next=error.next) from None
    texts = unit_texts(ctx, release)
    for name, text in texts.items():
        files.write_file(ctx.paths.units / name, text.encode(), 0o644)
    if proven:  # what has served once was accepted once, and a rollback is in a hurry
        orders.ensure_loaded(list(texts))
    else:
        _check_calendars(release.spec)
        verified = alongside(lambda: _verify([ctx.paths.units / name for name in texts]), "verify")
        orders.ensure_loaded(list(texts))  # nothing is started before they are verified
        verified()
    return f"{len(texts)} units"


def ensure_units(ctx: Context, release: Release) -> None:
    """Write a release's units again if any is missing. Raises HostError."""
    if not has_units(ctx, release):
        install(ctx, release, proven=True)


def has_units(ctx: Context, release: Release) -> bool:
    """Whether the files of all its units exist."""
    return all((ctx.paths.units / name).exists() for name in unit_names(ctx.app, release))


def unit_names(app: str, release: Release) -> list[str]:
    """The names of all units of a release, from its record."""
    started = [(WEB, "service")] if release.spec.web is not None else []
    started += [(timer.name, "service") for timer in release.spec.timers]
    services = [unit_name(app, process, release.number, kind) for process, kind in started]
    return [*required_units(app, release), *services]


def required_units(app: str, release: Release) -> list[str]:
    """The units that must be up while a release serves: a socket starts the web process, a timer its runs."""
    spec, number = release.spec, release.number
    names = [(WEB, "socket")] if spec.web is not None else []
    names += [(one, "service") for process in spec.processes for one in process.instances()]
    names += [(timer.name, "timer") for timer in spec.timers]
    return [unit_name(app, process, number, kind) for process, kind in names]


def unit_texts(ctx: Context, release: Release) -> dict[str, str]:
    """The text of each unit of a release, by name."""
    spec, paths, number = release.spec, ctx.paths, release.number
    can, rivals, apart = capabilities(ctx, release), older_services(ctx, number), _kept_apart(ctx, number)
    texts = {}
    if spec.web is not None:
        texts[unit_name(ctx.app, WEB, number, "socket")] = socket_unit(paths, number, ctx.settings.socket_group)
        texts[unit_name(ctx.app, WEB, number, "service")] = service_text(ctx, release)
    for process in spec.processes:
        waits = replace(process, overlap=process.overlap and process.name not in apart)
        for one in process.instances():
            name = unit_name(ctx.app, one, number, "service")
            texts[name] = process_unit(waits, one, paths, number, can, rivals.get(process.name, ()))
    for timer in spec.timers:
        texts[unit_name(ctx.app, timer.name, number, "timer")] = timer_unit(timer, paths, number)
        run = unit_name(ctx.app, timer.name, number, "service")
        texts[run] = run_unit(timer, paths, number, can, rivals.get(timer.name, ()))
    return texts


def older_services(ctx: Context, number: int) -> dict[str, list[str]]:
    """The services on the host of releases before this one, by process: serving or finishing.

    Only older ones: two units that are ordered after each other cannot be stopped together.
    """
    found: dict[str, list[str]] = {}
    for name in files.names(ctx.paths.units):
        unit = parse_unit(ctx.app, name)
        if unit is not None and unit.kind == "service" and unit.number < number:
            found.setdefault(unit.process.partition(".")[0], []).append(name)
    return found


def _kept_apart(ctx: Context, number: int) -> set[str]:
    """The processes that did not overlap in an older release: on a rollback they must wait, too."""
    found: set[str] = set()
    for other in numbers(ctx):
        with contextlib.suppress(Damaged):
            release = ctx.catalog.find(other) if other < number else None
            found |= {one.name for one in release.spec.processes if not one.overlap} if release else set()
    return found


def service_text(ctx: Context, release: Release, behind: int = 0) -> str:
    """The web unit of a release, serving its own socket or that of the release ``behind``."""
    spec = release.spec
    if spec.web is None:
        raise HostError(f"{release.name} has no web process", exit=Exit.BUG)
    return service_unit(
        spec.web,
        ctx.paths,
        release.number,
        drain=spec.drain,
        start=max(spec.health.timeout, 5),
        can=capabilities(ctx, release),
        behind=behind,
    )


def capabilities(ctx: Context, release: Release) -> Capabilities:
    """What a release's environment supports, read from its files: versions differ, and none of it may run here."""
    venv = ctx.venvs.path(release.venv) if release.venv else None
    on_host = {name: path for name in release.spec.programs if (path := programs.on_host(name, venv))}
    if venv is None:
        return Capabilities(programs=on_host, without=unsupported(ctx), directory=release.spec.directory)
    gunicorn = _contains(venv, "gunicorn/config.py", b"--no-control-socket")
    uvicorn = _contains(venv, "uvicorn/main.py", b"--timeout-graceful-shutdown")
    return Capabilities(
        gunicorn_control_socket=gunicorn,
        uvicorn_graceful=uvicorn,
        programs=on_host,
        without=unsupported(ctx),
        directory=release.spec.directory,
    )


def _contains(venv: Path, module: str, text: bytes) -> bool:
    """Whether an installed module contains ``text``. A build made these files: no link or device is opened."""
    for python in os.listdir(venv / "lib") if (venv / "lib").is_dir() else ():
        with contextlib.suppress(OSError):
            if text in ownership.read_below(venv, f"lib/{python}/site-packages/{module}", _LARGEST_MODULE):
                return True
    return False


def _check_calendars(spec: Spec) -> None:
    for timer in spec.timers:
        done = runner.run(["systemd-analyze", "calendar", "--", timer.calendar])
        if not done.ok:
            raise HostError(
                f"timers.{timer.name}.calendar: systemd does not understand {timer.calendar!r}",
                logs=done.tail(3),
                next=advice.do(f'correct [timers.{timer.name}] in deploy.toml, for example "daily" or "Mon 03:30"')
                + advice.run("fab deploy"),
            )


def _verify(paths: list[Path]) -> None:
    """Refuse what systemd would ignore: it skips a line that it cannot read, whatever the line was for."""
    done = runner.run(["systemd-analyze", "verify", "--man=no", *(str(path) for path in paths)])
    ours = [line for line in done.err.splitlines() if any(path.name in line for path in paths)]
    if ours:
        next = advice.do("correct the unit table, [web.unit] or [processes.NAME.unit], in deploy.toml")
        raise HostError("systemd does not accept the release's units", logs=ours, next=next)


def on_disk(ctx: Context, number: int) -> list[str]:
    """The unit files of a release, in the order in which they are stopped."""
    found = {name: parse_unit(ctx.app, name) for name in files.names(ctx.paths.units)}
    return stop_order((name for name, unit in found.items() if unit is not None and unit.number == number))


def numbers(ctx: Context) -> set[int]:
    """The releases that have unit files."""
    return {unit.number for name in files.names(ctx.paths.units) if (unit := parse_unit(ctx.app, name))}


def stop_order(names: Iterable[str]) -> list[str]:
    """The units, first those that would start another one."""
    return sorted(names, key=lambda name: (_RANK.get(name.rpartition(".")[2], len(_RANK)), name))


def refuse_current(ctx: Context, release: Release) -> None:
    """Raises HostError if ``current`` is this release: whatever went wrong, what serves is not stopped for it."""
    if ctx.catalog.current() == release.number:
        raise HostError(f"{release.name} serves, and is not stopped", exit=Exit.BUG)


def remove_units(ctx: Context, release: Release, *, unused: bool = False, but: Iterable[str] = ()) -> None:
    """Stop a release's units and remove their files. Idempotent. Raises HostError when something keeps running; its
    files stay, so that it is found and stopped again.

    An ``unused`` release has no requests to finish and is killed after 3 s, not after ``drain``. The units ``but``
    stay.
    """
    refuse_current(ctx, release)
    names = [name for name in on_disk(ctx, release.number) if name not in set(but)]
    if not names:
        return
    if unused:
        _end_soon(unit_name(ctx.app, WEB, release.number, "service"), _MOMENT)
    orders.ensure_stopped(names, timeout=longest_stop(release) + 30)
    delete_units(ctx, names)


def longest_stop(release: Release) -> float:
    """Seconds that the slowest unit of a release may take to stop."""
    return max([release.spec.drain, *(process.stop for process in release.spec.processes)])


def delete_units(ctx: Context, names: Sequence[str]) -> None:
    """Delete the files of stopped units, durably, and have systemd forget them. Raises HostError.

    Stamps go first: a process that dies on the way leaves a unit file, which is found again.
    """
    _delete(ctx.paths.stamps, [f"stamp-{name}" for name in names])
    _delete(ctx.paths.units, names)
    orders.ensure_forgotten(names)


def _delete(directory: Path, names: Sequence[str]) -> None:
    gone = False
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(directory / name))
            gone = True
    if gone:
        with contextlib.suppress(OSError):  # should they come back, the next recovery removes them again
            files.sync_directory(directory)


def _end_soon(service: str, seconds: float) -> None:
    systemd.systemctl("stop", "--no-block", service)
    deadline = time.monotonic() + seconds
    while systemd.show(service).active not in ("inactive", "failed") and time.monotonic() < deadline:
        time.sleep(0.05)
    systemd.systemctl("kill", "--signal=SIGKILL", service)
