"""What is released: a commit, the code that serves, or an older release; and what of it goes to each host."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from deployer import events
from deployer.config import Config, LocalEnvironment
from deployer.errors import ConfigError
from deployer.project.detect.application import complete
from deployer.project.locks.lockfile import Lock
from deployer.project.source import Source
from deployer.release.agreement import current_of, refuse_nothing, refuse_skew, rollback_target
from deployer.release.delta import Upload
from deployer.release.placement import Payload, Placement
from deployer.release.spec import environment_of, keep_scale, release_request, respec, spec_of
from deployer.release.uploads import Uploads
from deployer.release.variables import refuse_missing
from deployer.remote.facts import Facts
from deployer.remote.session import Edit, unchanged
from deployer.remote.site import Site, who
from deployer.rollout import migrator
from deployer.wire.advice import do, run
from deployer.wire.environment import Change
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import PHASES
from deployer.wire.release.spec import Spec
from deployer.wire.sizes import size

__all__ = ["Deploy", "Reload", "Rollback", "migrator_of"]


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """A commit, or the working tree. ``config`` is what deploy.toml says for all hosts."""

    config: Config
    source: Source
    lock: Lock
    local: LocalEnvironment = field(default_factory=LocalEnvironment)
    no_migrate: bool = False
    phases: tuple[str, ...] = PHASES
    again: str = "fab deploy"
    uploads: Uploads = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uploads", Uploads(self.source))

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """Whatever the hosts serve, they serve the same afterwards."""
        refuse_missing(self.local, {host: self.config.of_host(host).env for host in facts}, facts)

    def migrator(self, hosts: Sequence[str], /) -> str:
        if not self.config.release.migrate or self.no_migrate:
            return ""
        return migrator_of(self.config, hosts)

    def spec_on(self, site: Site) -> Spec:
        """What is asked of one host: it has what runs there. Raises ConfigError."""
        return spec_of(complete(site.config, self.source), self.source, self.lock)

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        started = time.monotonic()
        site.report(events.PhaseStarted(host=site.host, phase="upload", detail="finding what the host lacks"))

        def packed(done: int, total: int) -> None:
            site.report(events.Progress(host=site.host, phase="upload", done=done, total=total, doing="packing"))

        upload = self.uploads.upload(facts.base, packed)
        _check_room(site, upload, facts)
        message = release_request(
            kind="deploy",
            by=who(),
            spec=keep_scale(self.spec_on(site), facts.spec),
            **_environment(site, self.local),
            phases=self.phases,
            delta=upload.delta.as_json(),
            no_migrate=self.no_migrate or not placement.migrates(site.host),
            barriers=placement.barriers,
            number=placement.number,
        )
        offset = facts.partials.get(upload.delta.body, 0)
        edit = _both(_one_upload(started), _where_it_migrates(site, placement))
        return Payload(message=message, upload=upload, offset=offset, edit=edit)


@dataclass(frozen=True, kw_only=True)
class Reload:
    """The code that serves, under today's settings and environment. ``configs`` are those of the hosts, by name;
    ``changes`` what each host is to keep of its own from then on."""

    configs: Mapping[str, Config] = field(default_factory=dict)
    phases: tuple[str, ...] = PHASES
    local: LocalEnvironment = field(default_factory=LocalEnvironment)
    changes: Mapping[str, Change] = field(default_factory=dict)
    again: str = "fab reload"

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """A reload of different releases would give one number to different code; and the code is not looked at."""
        refuse_nothing(facts)
        refuse_skew(facts, "reload")
        for host, config in self.configs.items():
            respec(config, current_of(host, facts[host]))
        refuse_missing(self.local, {host: one.env for host, one in self.configs.items()}, facts, self.changes)

    def migrator(self, _: Sequence[str], /) -> str:
        return ""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        message = release_request(
            kind="reload",
            by=who(),
            spec=keep_scale(respec(site.config, current_of(site.host, facts)), facts.spec),
            **_environment(site, self.local),
            phases=self.phases,
            change=self.changes.get(site.host),
            barriers=placement.barriers,
            number=placement.number,
        )
        return Payload(message=message)


@dataclass(kw_only=True)
class Rollback:
    """An older release: number ``to``, or (0) the good one before what serves. ``yes``: even behind migrations.

    ``agreed`` is the one that all hosts of a fleet go back to, once they have been asked.
    """

    to: int = 0
    yes: bool = False
    phases: tuple[str, ...] = PHASES
    agreed: int = field(init=False, default=0)

    @property
    def again(self) -> str:
        return "fab rollback" + (f" --to v{self.to}" if self.to else "") + (" --yes" if self.yes else "")

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """All hosts must have what is gone back to, and it must be the same everywhere."""
        refuse_nothing(facts)
        if len(facts) > 1:
            self.agreed = int(self.target(facts)[1:])

    def target(self, facts: Mapping[str, Facts]) -> str:
        """The release that all hosts go back to. Raises ConfigError when there is none."""
        return rollback_target(facts, self.to)

    def migrator(self, _: Sequence[str], /) -> str:
        return ""

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        spec = current_of(site.host, facts)
        number = self.to or self.agreed
        for name, damage in facts.passed.items() if self.agreed and not self.to else ():
            site.report(events.Warn(host=site.host, text=f"{name} is passed by: {damage}"))
        message = release_request(
            kind="rollback",
            by=who(),
            spec=spec,
            environment={},
            phases=self.phases,
            of=number,
            yes=self.yes,
            barriers=placement.barriers,
            number=placement.number,
        )
        return Payload(message=message)


def _environment(site: Site, local: LocalEnvironment) -> dict[str, Any]:
    """What a request says of the environment. Raises ConfigError."""
    return {
        "environment": environment_of(site.config, local),
        "secret": local.secret,
        "sources": local.sources(site.config.env),
        "required": local.required,
    }


def migrator_of(config: Config, hosts: Sequence[str]) -> str:
    """The one of a fleet's hosts that runs its migration: the one deploy.toml names, else the first by name."""
    return migrator(hosts, next((host for host in hosts if config.migrates(host)), None))


def _check_room(site: Site, upload: Upload, facts: Facts) -> None:
    needed = sum(entry.size for entry in upload.delta.add) + upload.delta.length
    if needed > facts.free:
        raise ConfigError(
            message=f"the disk of {site.host} is full: the code needs {size(needed)}, {size(facts.free)} are free",
            state="nothing was touched",
            next=do("make room") + run("fab deploy"),
            host=site.host,
        )


def _one_upload(started: float) -> Edit:
    """Join the laptop's half of the phase (payload) and the host's (unpacking) into one."""

    def edit(event: dict[str, Any]) -> dict[str, Any] | None:
        if event.get("phase") == "upload" and event["event"] == "phase.started":
            return None
        if event.get("phase") == "upload" and event["event"] in ("phase.done", "phase.failed"):
            return {**event, "seconds": time.monotonic() - started}
        return event

    return edit


def _where_it_migrates(site: Site, placement: Placement) -> Edit:
    """On the other hosts of a fleet the migration is not left out: it runs elsewhere."""
    if not placement.migrator or placement.migrates(site.host):
        return unchanged

    def edit(event: dict[str, Any]) -> dict[str, Any] | None:
        skipped = event["event"] == "phase.skipped" and event.get("phase") == "migrate"
        return {**event, "detail": f"runs on {placement.migrator}"} if skipped else event

    return edit


def _both(first: Edit, second: Edit) -> Edit:
    def edit(event: dict[str, Any]) -> dict[str, Any] | None:
        edited = first(event)
        return second(edited) if edited is not None else None

    return edit
