"""Figure 7: a deploy to several hosts at once, beside the same by stock Fabric, host by host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployer.sandbox import SandboxHost
from deployer.sandbox.load import Report
from tests.bench.peers.fleet_stock import PORT as PEER_PORT
from tests.bench.peers.fleet_stock import StockFleet
from tests.bench.show import progress, say, table, title
from tests.bench.stats import kib, median, milliseconds, seconds, spread
from tests.bench.tap import Tap
from tests.support.fleet import FleetBed, fleet_bed
from tests.support.fleet.app import PORT, USER
from tests.support.fleet.load import FleetLoad
from tests.support.site import FAB, wait_until

SIZES = (1, 5, 10, 20)
QUICK = (1, 5)
WATCH = 0.5
"""Seconds, as in the other figures."""
PATIENCE = 300.0
RATE = 1000.0
"""Requests a second that the one client process sends, to all hosts together: more would take the cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command on some hosts: seconds, MiB, bytes and round trips, and what clients saw meanwhile.

    ``skew``: seconds from the first host's first new answer to the last host's; ``step``: between a host's answers.
    """

    hosts: int
    wall: float
    cpu: float
    memory: float
    bytes: int
    trips: int
    skew: float
    step: float
    sent: int
    failed: int


@dataclass(slots=True)
class Side:
    """The runs of one tool; from one that fails on, it is left out, and ``failed`` says why."""

    name: str
    port: int
    runs: list[Run] = field(default_factory=list)
    failed: str = ""

    def row(self, hosts: int) -> list[str]:
        """Cells for HEAD."""
        runs = [run for run in self.runs if run.hosts == hosts]
        if not runs:
            return [self.name, str(hosts), *["-"] * (len(HEAD) - 2)]
        return [
            self.name,
            str(hosts),
            spread([run.wall for run in runs], seconds),
            seconds(median([run.cpu for run in runs])),
            spread([run.cpu / hosts for run in runs], seconds),
            f"{median([run.memory for run in runs]):.0f}",
            f"{median([run.memory / hosts for run in runs]):.1f}",
            kib(median([run.bytes / hosts for run in runs])),
            f"{median([run.trips / hosts for run in runs]):.0f}",
            "-" if hosts == 1 else spread([run.skew for run in runs], milliseconds),
            str(sum(run.failed for run in runs)),
            str(sum(run.sent for run in runs)),
        ]


HEAD = ("by", "hosts", "wall s", "CPU s", "a host", "MiB", "a host", "KiB a host", "trips", "skew ms", "failed", "of")


def measure(directory: Path, *, quick: bool) -> None:
    """Print the table. Raises RuntimeError when ours fails."""
    sizes, turns = (QUICK, 1) if quick else (SIZES, 3)
    begun = time.monotonic()
    progress(f"booting and setting up {max(sizes)} hosts")
    with fleet_bed(max(sizes), directory / "fleet" / "project", injectable=False, small_disk=False) as bed:
        up = time.monotonic() - begun
        bed.change(watch=WATCH)
        bed.alone("deploy")
        stock = StockFleet.prepared(bed, directory / "stock-fleet")
        ours, theirs = Side("fab deploy", PORT), Side("stock Fabric", PEER_PORT)
        for turn in range(turns):
            for hosts in sizes:
                progress(f"a fleet of {hosts}, {turn + 1} of {turns}")
                names = bed.names[:hosts]
                _take(ours, bed, names)
                _take(theirs, bed, names, stock)
    _show([ours, theirs], sizes, turns, f"{max(sizes)} hosts were booted and set up in {up:.0f} s.")
    if ours.failed:
        raise RuntimeError(ours.failed)


def _take(side: Side, bed: FleetBed, names: Sequence[str], stock: StockFleet | None = None) -> None:
    if side.failed:
        return
    bed.change(watch=WATCH)
    places = {name: (bed[name].host.address, side.port) for name in names}
    with _tapped([bed[name].host for name in names]) as (taps, config):
        if stock:
            argv, _ = stock.argv(config, names)
            directory = stock.directory
        else:
            named = ",".join(f"{USER}@{name}" for name in names)
            argv, directory = [FAB, "-S", str(config), "deploy", "--json", "-H", named], bed.project.path
        with FleetLoad(places, pause=len(names) / RATE, keepalive=True) as load:
            wait_until(lambda: min(load.counts().values()) > 3, "the load is on")
            try:
                wall, cpu, memory = _run(argv, directory)
            except RuntimeError as error:
                side.failed = f"{side.name} on {len(names)} hosts: {error}"
                return
            time.sleep(0.1)  # the last host's next answer
            reports = load.stop()
        passed = [tap.take() for tap in taps]
    side.runs.append(
        Run(
            hosts=len(names), wall=wall, cpu=cpu, memory=memory,
            bytes=sum(up + down for up, down, _ in passed), trips=sum(trips for _, _, trips in passed),
            skew=_skew(list(reports.values())), step=_step(reports.values()),
            sent=sum(one.sent for one in reports.values()), failed=sum(one.failed for one in reports.values()),
        )
    )  # fmt: skip


def _run(argv: Sequence[str], cwd: Path) -> tuple[float, float, float]:
    """Seconds of wall and of CPU, the command's children included, and the MiB that its largest process had.

    Raises RuntimeError with its last words when it fails or hangs.
    """
    with tempfile.TemporaryFile() as out:
        started = time.monotonic()
        limited = ["timeout", "--signal=KILL", f"{PATIENCE:g}", *argv]
        process = subprocess.Popen(limited, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            out.seek(0)
            raise RuntimeError(f"exit status {process.returncode}: {_last_word(out.read().decode(errors='replace'))}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _last_word(said: str) -> str:
    """What a command that failed says of it: the message of its event, else its last line."""
    last = next(iter(said.strip().splitlines()[-1:]), "")
    with contextlib.suppress(ValueError):
        event = json.loads(last)
        return str(event.get("message") or event.get("summary") or last)
    return last


@contextlib.contextmanager
def _tapped(hosts: Sequence[SandboxHost]) -> Iterator[tuple[list[Tap], Path]]:
    """Every host behind a relay that counts what passes, and the ssh_config that goes that way."""
    with contextlib.ExitStack() as stack:
        taps = [stack.enter_context(Tap(host.address, host.ssh_port)) for host in hosts]
        file = stack.enter_context(tempfile.NamedTemporaryFile("w", prefix="deployer-bench-", suffix=".ssh_config"))
        file.write("".join(_block(host, tap) for host, tap in zip(hosts, taps, strict=True)))
        file.flush()
        yield taps, Path(file.name)


def _block(host: SandboxHost, tap: Tap) -> str:
    known_as = host.address if host.ssh_port == 22 else f"[{host.address}]:{host.ssh_port}"
    return (
        f"Host {host.name}\n  HostName {tap.host}\n  Port {tap.port}\n  HostKeyAlias {known_as}\n"
        f'  IdentityFile "{host.identity}"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{host.known_hosts}"\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n'
    )


def _skew(reports: Sequence[Report]) -> float:
    """Raises RuntimeError when a host never gave another answer."""
    firsts = []
    for report in reports:
        good = [sample for sample in report.samples if not sample.failure]
        new = [sample.ended for sample in good if sample.version != good[0].version]
        if not new:
            raise RuntimeError("a host was deployed to, and no client saw it")
        firsts.append(new[0])
    return max(firsts) - min(firsts)


def _step(reports: Sequence[Report]) -> float:
    """Seconds between two answers of a host, at the median: how finely clients see."""
    steps = [
        after.ended - before.ended
        for report in reports
        for before, after in zip(report.samples, report.samples[1:], strict=False)
    ]
    return median(steps)


def _show(sides: Sequence[Side], sizes: Sequence[int], turns: int, bed: str) -> None:
    steps = [run.step for side in sides for run in side.runs]
    title(
        "7. A fleet",
        "One commit to several hosts of a small app without dependencies, watch 0.5 s, at 0 ms; median (least to most)",
        f"of {turns} run(s) of each, in turns. Ours: all hosts prepared, then all switched. Stock Fabric: a tar of the",
        "change, a link, a restart, host by host, as root, nothing tried beforehand. CPU: user and system of the",
        "command on the laptop, children included; MiB: its largest process at its peak; both whole and for each host.",
        "KiB and trips as in figure 1. Skew: from the first host's first new answer to the last host's, as one client",
        "process sees it that asks every host over a connection that is kept, with an answer every",
        f"{spread(steps, milliseconds)} ms. {bed}",
        "Targets: skew below 250 ms at 10 hosts; CPU below 0.3 s a host; no failed request.",
    )
    table(HEAD, [side.row(hosts) for hosts in sizes for side in sides])
    for side in sides:
        if side.failed:
            say(f"{side.failed}: left out from there on")
