"""The use cases that make a release: deploy, reload, rollback, and the phases one by one."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from deployer import events, plan
from deployer.config import Config, read_env_file
from deployer.delta import Upload, make_delta
from deployer.errors import ConfigError
from deployer.events import Reporter
from deployer.host.protocol import PHASES
from deployer.host.spec import Spec
from deployer.model import Secret
from deployer.program import host_program
from deployer.project import complete, find_lock
from deployer.remote import Facts, Outcome, Remote
from deployer.source import Source, collect
from deployer.ssh import Link, SshOptions, Target, connect

__all__ = ["Site", "attach", "deploy", "open_remote", "reload", "rollback", "run_phases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a command works: the project on this machine, one host, and who hears of it."""

    root: Path
    config: Config
    target: Target
    ssh: SshOptions
    report: Reporter

    @property
    def host(self) -> str:
        return self.target.name

    def secrets(self) -> dict[str, Secret]:
        """What the local ``env_file`` says."""
        return read_env_file(self.root / self.config.env_file) if self.config.env_file else {}


def deploy(
    site: Site,
    *,
    ref: str | None = None,
    dirty: bool = False,
    no_migrate: bool = False,
    phases: Sequence[str] = PHASES,
) -> Outcome:
    """Release a commit, or the working tree. All bad input is found before anything is sent."""
    started = time.monotonic()
    connecting = _connect_meanwhile(site)
    try:
        source, spec = _read_project(site, ref, dirty)
        secrets = site.secrets()
    except BaseException:
        connecting.add_done_callback(_close)
        raise
    with connecting.result() as link:
        remote = Remote(link, site.config.app, site.report)
        facts = _ask(site, remote, started)
        remote.refuse_if_busy(facts)
        message = plan.release_request(
            kind="deploy",
            by=_who(),
            spec=spec,
            environment=plan.environment_of(site.config, secrets),
            secret=secrets,
            phases=tuple(phases),
            no_migrate=no_migrate,
        )
        return _upload(site, remote, source, facts, message)


def _connect_meanwhile(site: Site) -> Future[Link]:
    """Connect while the project is read. A Ctrl-C does not wait for a host that does not answer."""
    promise: Future[Link] = Future()

    def work() -> None:
        try:
            promise.set_result(_connect(site))
        except BaseException as error:
            promise.set_exception(error)

    Thread(target=work, daemon=True, name="connect").start()
    return promise


def _connect(site: Site) -> Link:
    site.report(events.Connecting(host=site.host))
    return connect(site.target, site.ssh)


def _close(done: Any) -> None:
    if done.exception() is None:
        done.result().close()


def _read_project(site: Site, ref: str | None, dirty: bool) -> tuple[Source, Spec]:
    config = site.config
    env_file = Path(config.env_file) if config.env_file else None
    source = collect(site.root, ref=ref, dirty=dirty, include=config.include, env_file=env_file)
    for text in source.warnings:
        site.report(events.Warn(host=site.host, text=text))
    config = complete(config, source)
    return source, plan.spec_of(config, source, find_lock(source, required=not config.web.command))


def _upload(site: Site, remote: Remote, source: Source, facts: Facts, message: dict[str, Any]) -> Outcome:
    started = time.monotonic()
    site.report(events.PhaseStarted(host=site.host, phase="upload", detail="finding what the host lacks"))
    upload = make_delta(source, facts.base_key, facts.base_ids)
    offset = facts.partials.get(upload.delta.body, 0)
    _check_room(site, upload, facts)
    return remote.run(
        {**message, "delta": upload.delta.as_json()},
        body=upload.open_at(offset),
        offset=offset,
        total=upload.delta.length,
        edit=_one_upload(started),
    )


def _check_room(site: Site, upload: Upload, facts: Facts) -> None:
    needed = sum(entry.size for entry in upload.delta.add) + upload.delta.length
    if needed > facts.free:
        raise ConfigError(
            message=f"the disk of {site.host} is full: the code needs {needed // 1024:,} KiB, "
            f"{facts.free // 1024:,} KiB are free",
            state="nothing was touched",
            next="make room, then fab deploy",
            host=site.host,
        )


def _one_upload(started: float) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """Join the laptop's half of the phase (sending) and the host's (unpacking) into one."""

    def edit(event: dict[str, Any]) -> dict[str, Any] | None:
        if event.get("phase") == "upload" and event["event"] == "phase.started":
            return None
        if event.get("phase") == "upload" and event["event"] in ("phase.done", "phase.failed"):
            return {**event, "seconds": time.monotonic() - started}
        return event

    return edit


@contextmanager
def open_remote(site: Site) -> Iterator[tuple[Remote, Facts]]:
    """A session with the host, and what it says of itself."""
    started = time.monotonic()
    with _connect(site) as link:
        remote = Remote(link, site.config.app, site.report)
        yield remote, _ask(site, remote, started)


def _ask(site: Site, remote: Remote, started: float) -> Facts:
    facts = remote.ask()
    detail = f"{facts.current} serves" if facts.current else "nothing serves yet"
    site.report(events.Connected(host=site.host, seconds=time.monotonic() - started, detail=detail))
    if facts.program != host_program().digest:
        text = "the host program is of another version than this deployer"
        site.report(events.Warn(host=site.host, text=f"{text}; fab setup -H root@{site.target.host} updates it"))
    return facts


def reload(site: Site) -> Outcome:
    """A new release of the code that serves, under today's settings and environment."""
    secrets = site.secrets()
    environment = plan.environment_of(site.config, secrets)
    with open_remote(site) as (remote, facts):
        remote.refuse_if_busy(facts)
        spec = plan.respec(site.config, _current(site, facts))
        return remote.run(
            plan.release_request(kind="reload", by=_who(), spec=spec, environment=environment, secret=secrets)
        )


def rollback(site: Site, *, to: str = "", yes: bool = False) -> Outcome:
    """A new release with the parts of an older one: ``to`` (``v40``), or the good one before what serves."""
    number = _number(to) if to else 0
    with open_remote(site) as (remote, facts):
        remote.refuse_if_busy(facts)
        spec = _current(site, facts)
        return remote.run(
            plan.release_request(kind="rollback", by=_who(), spec=spec, environment={}, of=number, yes=yes)
        )


def run_phases(site: Site, phases: Sequence[str], release: str) -> Outcome:
    """Run phases after ``upload`` of a release that is being made: ``release``, or the newest."""
    number = _number(release) if release else 0
    with open_remote(site) as (remote, facts):
        remote.refuse_if_busy(facts)
        return remote.run({"op": "phases", "phases": list(phases), "release": number, "by": _who()})


def attach(site: Site) -> Outcome:
    """Follow the deploy that runs on the host (or the last one that ran) from its first event on."""
    with open_remote(site) as (remote, _):
        return remote.run({"op": "attach"})


def _current(site: Site, facts: Facts) -> Spec:
    if facts.spec is None:
        raise ConfigError(
            message=f"nothing of {site.config.app} is deployed on {site.host} yet",
            state="nothing was touched",
            next="fab deploy",
            host=site.host,
        )
    return facts.spec


def _number(release: str) -> int:
    if not release.removeprefix("v").isdigit() or int(release.removeprefix("v")) < 1:
        raise ConfigError(message=f"not a release: {release!r}; releases are v1, v2, …", next="fab releases")
    return int(release.removeprefix("v"))


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
