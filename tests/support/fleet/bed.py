"""N real hosts that are set up for one app, the project, and what every test of a fleet asks of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from deployer.sandbox import SandboxError, SandboxHost, up
from tests.support.faults.install import faults
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
SMALL_DISK = 64
"""Megabytes that a host with a small disk has for its releases."""
NO_UV = "/usr/local/lib/deployer/tools/bin/uv"
PREPARE = f"""
echo "$(cat /etc/deployer-sandbox-address) {app.NAME}" >> /etc/hosts
mkdir -p {Path(NO_UV).parent}
cat > {NO_UV} <<'END'
#!/bin/sh
test "$1" = --version || {{ echo "an app without dependencies needs no uv" >&2; exit 1; }}
END
chmod 755 {NO_UV}
"""
"""A host's own name for itself; and nothing to download, since the app has no dependencies."""


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
        for name, report in load.stop().items():
            if name not in but:
                assert report.succeeded > 10, f"{name} had only {report.sent} requests"
                assert not report.failed, f"{name}: {report.failures} of {report.sent}: {report.examples}"

    def ready(self) -> FleetBed:
        """One good release, the same everywhere, and nothing else; made afresh where a test left something."""
        self.each(Member.mend)
        self._forget_commits()
        if not self._is_clean():
            self.each(Member.wipe)
            self.change()
            self.alone("deploy")
        self.each(lambda member: member.host.run(f"rm -f {app.STATE}/migrations"))
        return self

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


@contextlib.contextmanager
def fleet_bed(
    count: int,
    path: Path,
    *,
    injectable: bool = True,
    small_disk: bool = True,
    tables: Callable[[Sequence[str]], str] = lambda names: "",
) -> Iterator[FleetBed]:
    """So many hosts, booted and set up, nothing deployed; they are gone afterwards.

    ``injectable``: accidents can be ordered in the host program. ``small_disk``: the last host has one. ``tables`` are
    more lines of the deploy.toml that the hosts are set up with, given their names.
    """
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            hosts = list(pool.map(lambda _: stack.enter_context(up()), range(count)))
        hosts.sort(key=lambda host: (len(host.name), host.name))
        path.mkdir(parents=True, exist_ok=True)
        project = Project(path)
        project.git("init", "--quiet", "--initial-branch=main")
        for name, text in SOURCES.items():
            project.write(name, text)
        bed = FleetBed({host.name: Member(host, project) for host in hosts}, project, hosts[-1].name)
        bed.change(tables=tables(bed.names))
        if small_disk:
            bed[bed.small].host.small_filesystem("/srv", SMALL_DISK)
        bed.each(lambda member: member.host.run(PREPARE))
        bed.alone("setup", "--key", f"{hosts[0].identity}.pub", user="root")
        if injectable:
            bed.each(lambda member: stack.enter_context(faults(member.host, member.app)))
        yield bed
