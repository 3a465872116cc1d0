"""The use cases that make a release: deploy, reload, rollback, the phases."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deployer import events, plan
from deployer.delta import Upload, make_delta
from deployer.errors import ConfigError, Exit
from deployer.follow import Run
from deployer.host.protocol import PHASES
from deployer.host.spec import Spec
from deployer.project import complete, find_lock
from deployer.remote import Facts, Outcome, Remote
from deployer.site import Site, ask, close_later, connect_meanwhile, open_remote, who
from deployer.source import Source, collect
from deployer.ssh import connect
from deployer.turn import Turn

__all__ = ["Site", "deploy", "open_remote", "reload", "rollback", "run_phases"]


def deploy(
    site: Site,
    *,
    ref: str | None = None,
    dirty: bool = False,
    no_migrate: bool = False,
    wait: bool = False,
    phases: Sequence[str] = PHASES,
) -> Outcome:
    """Release a commit, or the working tree. All bad input is found before anything is sent."""
    started = time.monotonic()
    connecting = connect_meanwhile(site)
    try:
        source, spec = _read_project(site, ref, dirty)
        secrets = site.secrets()
    except BaseException:
        close_later(connecting)
        raise
    message = plan.release_request(
        kind="deploy",
        by=who(),
        spec=spec,
        environment=plan.environment_of(site.config, secrets),
        secret=secrets,
        phases=tuple(phases),
        no_migrate=no_migrate,
    )
    with connecting.result() as link:
        remote = Remote(link, site.config.app, site.report)
        turn = Turn(site, remote, ask(site, remote, started), again="fab deploy", wait=wait)
        return turn.take(lambda remote, facts: _upload(site, remote, source, facts, turn, message))


def _read_project(site: Site, ref: str | None, dirty: bool) -> tuple[Source, Spec]:
    config = site.config
    env_file = Path(config.env_file) if config.env_file else None
    source = collect(site.root, ref=ref, dirty=dirty, include=config.include, env_file=env_file)
    for text in source.warnings:
        site.report(events.Warn(host=site.host, text=text))
    config = complete(config, source)
    return source, plan.spec_of(config, source, find_lock(source, required=not config.web.command))


def _upload(site: Site, remote: Remote, source: Source, facts: Facts, turn: Turn, message: dict[str, Any]) -> Outcome:
    started = time.monotonic()
    site.report(events.PhaseStarted(host=site.host, phase="upload", detail="finding what the host lacks"))
    upload = make_delta(source, facts.base_key, facts.base_ids)
    offset = facts.partials.get(upload.delta.body, 0)
    _check_room(site, upload, facts)
    join = _one_upload(started)
    outcome = _run(site, remote).send(
        {**message, "delta": upload.delta.as_json()},
        body=upload.open_at(offset),
        offset=offset,
        total=upload.delta.length,
        edit=lambda event: join(event) if turn.edit(event) else None,
    )
    if outcome.exit == Exit.BUSY:
        site.report(events.PhaseSkipped(host=site.host, phase="upload", detail="another deploy began first"))
    return outcome


def _run(site: Site, remote: Remote) -> Run:
    return Run(remote, reconnect=lambda: connect(site.target, site.ssh), decide=site.decide, by=who())


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


def reload(site: Site, *, wait: bool = False) -> Outcome:
    """A new release of the code that serves, under today's settings and environment."""
    secrets = site.secrets()
    environment = plan.environment_of(site.config, secrets)

    def send(remote: Remote, facts: Facts) -> Outcome:
        spec = plan.respec(site.config, _current(site, facts))
        message = plan.release_request(kind="reload", by=who(), spec=spec, environment=environment, secret=secrets)
        return _run(site, remote).send(message, edit=turn.edit)

    with open_remote(site) as (remote, facts):
        turn = Turn(site, remote, facts, again="fab reload", wait=wait)
        return turn.take(send)


def rollback(site: Site, *, to: str = "", yes: bool = False, wait: bool = False) -> Outcome:
    """A new release with the parts of an older one: ``to`` (``v40``), or the good one before what serves."""
    number = _number(to) if to else 0

    def send(remote: Remote, facts: Facts) -> Outcome:
        spec = _current(site, facts)
        message = plan.release_request(kind="rollback", by=who(), spec=spec, environment={}, of=number, yes=yes)
        return _run(site, remote).send(message, edit=turn.edit)

    again = "fab rollback" + (f" --to v{number}" if number else "") + (" --yes" if yes else "")
    with open_remote(site) as (remote, facts):
        turn = Turn(site, remote, facts, again=again, wait=wait)
        return turn.take(send)


def run_phases(site: Site, phases: Sequence[str], release: str) -> Outcome:
    """Run phases after ``upload`` of a release that is being made: ``release``, or the newest."""
    number = _number(release) if release else 0
    with open_remote(site) as (remote, facts):
        remote.refuse_if_busy(facts)
        return _run(site, remote).send({"op": "phases", "phases": list(phases), "release": number, "by": who()})


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
