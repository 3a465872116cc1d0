"""The hosts of a bed: booted and set up for the app of a fleet; copies of one, where nothing else is asked for."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deployer.sandbox import Preparation, SandboxHost, up
from tests.support.faults.install import faults
from tests.support.fleet import app
from tests.support.fleet.bed import AT_ONCE, SOURCES, FleetBed
from tests.support.fleet.member import Member
from tests.support.project import Project
from tests.support.ready import digest

SMALL_DISK = 64
"""Megabytes that a host with a small disk has for its releases."""
NO_UV = "/usr/local/lib/deployer/tools/bin/uv"
ITSELF = f"""
grep -v ' {app.NAME}$' /etc/hosts > /etc/hosts.new
echo "$(cat /etc/deployer-sandbox-address) {app.NAME}" >> /etc/hosts.new
cat /etc/hosts.new > /etc/hosts
rm /etc/hosts.new
"""
"""A host's own name for itself."""
NOTHING_TO_INSTALL = f"""
mkdir -p {Path(NO_UV).parent}
cat > {NO_UV} <<'END'
#!/bin/sh
test "$1" = --version || {{ echo "an app without dependencies needs no uv" >&2; exit 1; }}
END
chmod 755 {NO_UV}
"""
"""An app without dependencies needs no uv."""


@contextlib.contextmanager
def fleet_bed(
    count: int,
    path: Path,
    *,
    injectable: bool = True,
    small_disk: bool = True,
    tables: Callable[[Sequence[str]], str] | None = None,
) -> Iterator[FleetBed]:
    """So many hosts, booted and set up, nothing deployed; they are gone afterwards.

    ``injectable``: accidents can be ordered in the host program. ``small_disk``: the last host has one. ``tables`` are
    more lines of the deploy.toml that the hosts are set up with, given their names; without any they are copies of
    one that was set up before.
    """
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            hosts = list(pool.map(lambda _: stack.enter_context(_host(prepared=tables is None)), range(count)))
        hosts.sort(key=lambda host: (len(host.name), host.name))
        bed = _bed(hosts, path)
        bed.change(tables=tables(bed.names) if tables else "")
        if tables:
            _set_up(bed)
        if small_disk:
            _have_small_disk(bed[bed.small].host)
        if injectable:
            bed.each(lambda member: stack.enter_context(faults(member.host, member.app)))
        yield bed


def _bed(hosts: Sequence[SandboxHost], path: Path) -> FleetBed:
    """The hosts with a project of the app, committed."""
    path.mkdir(parents=True, exist_ok=True)
    project = Project(path)
    project.git("init", "--quiet", "--initial-branch=main")
    for name, text in SOURCES.items():
        project.write(name, text)
    return FleetBed({host.name: Member(host, project) for host in hosts}, project, hosts[-1].name)


def _host(*, prepared: bool) -> SandboxHost:
    """A copy of one that was set up for the app, listening at its own address; or one that is yet to be set up."""
    if not prepared:
        host = up()
        host.run(ITSELF + NOTHING_TO_INSTALL)
        return host
    host = up(preparation=Preparation(name="fleet", key=digest(), act=_prepare))
    host.run(f"{ITSELF} systemctl reset-failed nginx; systemctl restart nginx")
    return host


def _prepare(host: SandboxHost) -> None:
    host.run(ITSELF + NOTHING_TO_INSTALL)
    with tempfile.TemporaryDirectory() as place:
        bed = _bed([host], Path(place))
        bed.change()
        _set_up(bed)


def _set_up(bed: FleetBed) -> None:
    bed.alone("setup", "--key", f"{bed.hosts[0].identity}.pub", user="root")


def _have_small_disk(host: SandboxHost) -> None:
    """What the set-up has put there goes on to it."""
    host.run("mv /srv /srv.before && mkdir /srv")
    host.small_filesystem("/srv", SMALL_DISK)
    host.run("cp -a /srv.before/. /srv/ && rm -r /srv.before")
