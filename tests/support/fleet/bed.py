"""N real hosts that are set up for one app, the project, and what every test of a fleet asks of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from deployer.sandbox import SandboxError, SandboxHost
from tests.support.fleet import app
from tests.support.fleet.command import Command, FleetEnded, under_way
from tests.support.fleet.load import FleetLoad
from tests.support.fleet.member import Member
from tests.support.project import Project
from tests.support.site import FAB, FABFILE, wait_until

T = TypeVar("T")
Under = contextlib.AbstractContextManager[Command]
AT_ONCE = 4
"""Hosts that are booted, set up or looked at side by side: more only get into each other's way on two cores."""


@dataclass
class FleetBed:
    """The hosts, by name in their order; the project that is deployed to them."""

    members: dict[str, Member]
    project: Project
    small: str
    """The host with a small disk, which must not be switched off: the disk is in its memory."""
    config: Path | None = None
    """The ssh_config to reach the hosts by; the sandbox's own when there is none."""
    version: int = field(default=0)
    kept: bool = False
    """Whether each host has a copy of a good release, the same everywhere, to be brought back."""

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def names(self) -> list[str]:
        return list(self.members)

    @property
    def hosts(self) -> list[SandboxHost]:
        return [member.host for member in self.members.values()]

    def change(self, **settings: Any) -> int:
        """Commit a change, with a deploy.toml of those settings; the version that its answers will have."""
        self.version += 1
        self.project.write("VERSION.txt", f"{self.version}\n")
        self.project.write("deploy.toml", app.config_text(**settings))
        self.project.commit(f"version {self.version}")
        return self.version

    def argv(self, *arguments: str, hosts: Sequence[str] | None = None, user: str = app.USER) -> list[str]:
        some = self.hosts[0]
        named = ",".join(f"{user}@{name}" for name in (self.names if hosts is None else hosts))
        return [FAB, "-S", str(self.config or some.ssh_config), "-i", str(some.identity), *arguments, "-H", named]

    def running(
        self, *arguments: str, hosts: Sequence[str] | None = None
    ) -> contextlib.AbstractContextManager[Command]:
        """``fab ARGUMENTS -H …`` under way, killed at the end of the block if it still runs."""
        return under_way(self.argv(*arguments, hosts=hosts), self.project.path)

    @contextlib.contextmanager
    def by_way_of(self, config: Path) -> Iterator[None]:
        """Reach the hosts by another ssh_config, for as long as the block."""
        self.config = config
        try:
            yield
        finally:
            self.config = None

    def fab(self, *arguments: str, hosts: Sequence[str] | None = None, user: str = app.USER) -> FleetEnded:
        """``fab ARGUMENTS -H …`` for all hosts, or some, to its end."""
        with under_way(self.argv(*arguments, hosts=hosts, user=user), self.project.path) as command:
            return command.end()

    def expect(self, exit: int, *arguments: str, hosts: Sequence[str] | None = None) -> FleetEnded:
        """The same; it must end with that exit code."""
        ended = self.fab(*arguments, hosts=hosts)
        assert ended.exit == exit, f"exit {ended.exit}, expected {exit}\n{ended.text}"
        return ended

    def deploy(self, *arguments: str, expect: int = 0, hosts: Sequence[str] | None = None) -> FleetEnded:
        """``fab deploy --json``, which must end with that exit code."""
        return self.expect(expect, "deploy", "--json", *arguments, hosts=hosts)

    def repeat(self, line: str) -> FleetEnded:
        """A command as ``fab`` printed it for people to type, for all hosts where it names none."""
        words = line.partition("   (")[0].split()
        assert words[0] == "fab", line
        argv = self.argv(*words[1:])
        with under_way(argv[:-2] if "-H" in words else argv, self.project.path) as command:
            return command.end()

    def each(
        self, act: Callable[[Member], T], among: Sequence[str] | None = None, at_once: int = AT_ONCE
    ) -> dict[str, T]:
        """What ``act`` returns for each host, several of them side by side. Raises what it raises."""
        names = self.names if among is None else list(among)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(names, pool.map(lambda name: act(self.members[name]), names), strict=True))

    def alone(self, *arguments: str, among: Sequence[str] | None = None, user: str = app.USER) -> dict[str, FleetEnded]:
        """The command for each host by itself, as if there were no fleet; all must end well."""

        def act(member: Member) -> FleetEnded:
            return self.fab(*arguments, hosts=[member.name], user=user)

        ended = self.each(act, among)
        for name, one in ended.items():
            assert one.exit == 0, f"{name}: exit {one.exit}\n{one.text}"
        return ended

    @property
    def serving(self) -> dict[str, str]:
        """The release that each host answers with."""
        return {name: str(member.get()["release"]) for name, member in self.members.items()}

    @property
    def versions(self) -> dict[str, int]:
        """The version of the code that each host answers with."""
        return {name: int(member.get()["version"]) for name, member in self.members.items()}

    def leftovers(self, among: Sequence[str] | None = None, *, timer: bool = True) -> dict[str, list[str]]:
        """What is on the hosts though it should not be: candidates' units, jobs, tickets …; hosts that are clean have
        no key. The dead-man's ``timer``, which ends by itself, may stay."""
        found = self.each(lambda member: member.survey().leftovers(timer=timer), among)
        return {name: what for name, what in found.items() if what}

    def comes_to_rest(self, among: Sequence[str] | None = None, seconds: float = 60) -> None:
        """Wait until nothing is left over on any host; an AssertionError tells what is."""
        left: dict[str, list[str]] = {}
        waiting = self.names if among is None else list(among)

        def clean() -> bool:
            left.clear()
            left.update(self.leftovers(waiting))
            waiting[:] = left
            return not left

        try:
            wait_until(clean, "the hosts come to rest", seconds, every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {left}") from None

    def lease(self, seconds: float) -> None:
        """Have fleets' candidates wait only so long for a sign of the laptop, until the bed is ready again."""
        self.each(lambda member: member.faults.lease(seconds))

    @contextlib.contextmanager
    def under_load(
        self, but: Sequence[str] = (), among: Sequence[str] | None = None, **options: Any
    ) -> Iterator[FleetLoad]:
        """Load on every host for as long as the block; afterwards not one request may have failed, ``but`` on some."""
        names = self.names if among is None else among
        places = {name: (self[name].host.address, app.PORT) for name in names}
        with FleetLoad(places, **options) as load:
            wait_until(lambda: min(load.counts().values()) > 3, "the load is on")
            yield load
            asked = [name for name in names if name not in but]
            wait_until(lambda: min((load.counts()[name] for name in asked), default=11) > 10, "enough was asked")
        for name, report in load.stop().items():
            if name not in but:
                assert not report.failed, f"{name}: {report.failures} of {report.sent}: {report.examples}"

    def ready(self) -> FleetBed:
        """One good release, the same everywhere, and nothing else; brought back where a test left something."""
        self.each(Member.mend)
        self._forget_commits()
        if not self._is_clean():
            self._same_everywhere()
        self.each(lambda member: member.host.run(f"rm -f {app.STATE}/migrations"))
        return self

    def _same_everywhere(self) -> None:
        if self.kept:
            self.each(Member.bring_back)
        else:
            self.each(Member.wipe)
            self.change()
            self.alone("deploy")
            self.comes_to_rest()
            self.each(Member.keep)
            self.kept = True
        wait_until(self._is_clean, "one release serves everywhere")

    def _forget_commits(self) -> None:
        """A broken project is mended; the number of the next version goes on."""
        for name, text in SOURCES.items():
            self.project.write(name, text)
        self.change()

    def _is_clean(self) -> bool:
        try:
            return len(set(self.serving.values())) == 1 and not self.leftovers()
        except (OSError, SandboxError):
            return False


SOURCES = {**FABFILE, "server.py": app.SERVER, "migrate.py": app.MIGRATION}
