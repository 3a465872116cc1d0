"""Pure: what a deploy.toml and a source ask of a host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from deployer.config import Config, LocalEnvironment
from deployer.config.tables.web import UnitTable
from deployer.errors import ConfigError
from deployer.project.locks.lockfile import Lock
from deployer.project.source import Source
from deployer.wire.advice import do, run
from deployer.wire.environment import Change, parse_environment
from deployer.wire.protocol import PHASES, WEB, dumps
from deployer.wire.release.health import Health
from deployer.wire.release.processes import Process, Timer, Unit, Web
from deployer.wire.release.source import LockSpec, SourceSpec
from deployer.wire.release.spec import Spec

__all__ = ["as_the_host_reads", "counts_of", "environment_of", "keep_scale", "release_request", "respec", "spec_of"]


def spec_of(config: Config, source: Source, lock: Lock) -> Spec:
    """The release that ``source`` becomes under ``config``, which is one host's: it has what runs there.

    Raises ConfigError for what the host would refuse.
    """
    return _accepted(
        Spec(
            source=SourceSpec(digest=source.digest, commit=source.commit, ref=source.ref, dirty=source.dirty),
            lock=LockSpec(
                kind=lock.kind,
                path=lock.path,
                files=lock.files,
                directories=lock.directories,
                requires=lock.requires,
                directory=lock.directory,
                groups=lock.groups,
                extras=lock.extras,
                hashes=lock.hashes,
            ),
            directory=config.directory or "",
            shared=config.release.outside,
            python=config.python or lock.python,
            build=config.release.build,
            web=_web(config) if config.runs_web else None,
            **_settings(config),
        )
    )


def respec(config: Config, current: Spec) -> Spec:
    """The current release under today's settings: what a reload makes.

    What runs it stays when deploy.toml leaves it to be found in the project: a reload does not look at the code. Raises
    ConfigError when nothing answered requests so far, and it would have to be found; and for what a host would refuse.
    """
    return _accepted(replace(current, web=_web_again(config, current.web), **_settings(config)))


def keep_scale(spec: Spec, current: Spec | None) -> Spec:
    """A new release keeps the counts that ``fab scale`` has set on its host. Pure."""
    return spec.scaled(dict(current.scale)) if current is not None and current.scale else spec


def counts_of(config: Config) -> dict[str, int]:
    """How many of each process deploy.toml has run on a host."""
    return {WEB: config.web.workers, **{name: one.count for name, one in config.processes.items()}}


def _settings(config: Config) -> dict[str, Any]:
    """What a deploy and a reload alike take from deploy.toml."""
    release = config.release
    return {
        "migrate": release.migrate or "",
        "health": _health(config),
        "watch": release.watch,
        "drain": release.drain,
        "build_timeout": release.build_timeout,
        "migrate_timeout": release.migrate_timeout,
        "keep": release.keep,
        "overlap": config.web.overlap,
        "processes": _processes(config),
        "timers": _timers(config),
    }


def _web_again(config: Config, current: Web | None) -> Web | None:
    web = config.web
    if not config.runs_web:
        return None
    if web.command or web.wsgi or web.asgi:
        return _web(config)
    if current is None:
        host = next(iter(config.hosts), "the host")
        raise ConfigError(
            message=f"{host} has run no web process so far, and a reload does not look for one in the code",
            next=run("fab deploy", "finds it") + do("or name it in deploy.toml: [web] wsgi = … (or asgi, or command)"),
        )
    return replace(
        current,
        workers=web.workers,
        args=web.args if current.target else current.args,
        memory=web.memory_bytes or 0,
        unit=_unit(web.unit),
    )


def environment_of(config: Config, local: LocalEnvironment) -> dict[str, str]:
    """``[env]``, and over it what this machine has besides. Goes into the channel and nowhere else.

    Raises ConfigError for what the host would refuse; the message holds no value.
    """
    with as_the_host_reads():
        return parse_environment(local.over(config.env))


def release_request(
    *,
    kind: str,
    by: str,
    spec: Spec,
    environment: Mapping[str, str],
    secret: Iterable[str] = (),
    sources: Mapping[str, Sequence[str]] | None = None,
    required: Sequence[str] = (),
    change: Change | None = None,
    phases: tuple[str, ...] = PHASES,
    delta: Mapping[str, Any] | None = None,
    of: int = 0,
    yes: bool = False,
    no_migrate: bool = False,
    barriers: tuple[str, ...] = (),
    number: int = 0,
) -> dict[str, Any]:
    """The one message that starts a release. ``barriers`` and ``number`` are for one of several hosts; ``change`` is
    what the host keeps of its own from then on."""
    return {
        "op": "release", "kind": kind, "by": by, "phases": list(phases), "of": of, "release": 0,
        "spec": spec.as_json(), "env": dict(environment), "secret": sorted(secret), "delta": delta,
        "yes": yes, "no_migrate": no_migrate, "barriers": list(barriers), "number": number,
        "sources": {name: list(found) for name, found in (sources or {}).items()}, "required": list(required),
        "change": change.as_json() if change else None,
    }  # fmt: skip


def _accepted(spec: Spec) -> Spec:
    """The same release, once the host's own strict reader has accepted it. Raises ConfigError."""
    with as_the_host_reads():
        Spec.parse(json.loads(dumps(spec.as_json())))
    return spec


@contextmanager
def as_the_host_reads() -> Iterator[None]:
    """What the contract refuses is told here, before it is sent."""
    try:
        yield
    except ValueError as problem:
        raise ConfigError(
            message=f"no host accepts what deploy.toml asks for: {problem}",
            next=do("correct deploy.toml, or what it leaves to be found in the project"),
        ) from None


def _web(config: Config) -> Web:
    web = config.web
    target = web.wsgi or web.asgi or ""
    return Web(
        server=web.server_name or "command",
        target=target,
        workers=web.workers,
        args=web.args if target else tuple(shlex.split(web.command or "")),
        memory=web.memory_bytes or 0,
        unit=_unit(web.unit),
    )


def _processes(config: Config) -> tuple[Process, ...]:
    return tuple(
        Process(
            name=name,
            command=tuple(shlex.split(one.command)),
            count=one.count,
            stop=one.stop,
            overlap=one.overlap,
            check=one.check or "",
            unit=_unit(one.unit),
        )
        for name, one in sorted(config.processes.items())
    )


def _timers(config: Config) -> tuple[Timer, ...]:
    return tuple(
        Timer(
            name=name,
            command=tuple(shlex.split(one.command)),
            calendar=one.calendar,
            persistent=one.persistent,
            timeout=one.timeout or 0.0,
            unit=_unit(one.unit),
        )
        for name, one in sorted(config.timers.items())
    )


def _unit(table: UnitTable) -> Unit:
    return tuple((name, _directive(value)) for name, value in sorted(table.items()))


def _directive(value: str | int | bool | tuple[str | int, ...]) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("yes" if value else "no",)
    return tuple(str(item) for item in value) if isinstance(value, tuple) else (str(value),)


def _health(config: Config) -> Health:
    health = config.web.health
    return Health(
        path=health.path,
        host=config.health_host,
        status=health.ranges,
        timeout=health.timeout,
        settle=health.settle,
    )
