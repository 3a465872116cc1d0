"""Has strace follow the commands that are run here, and all processes of their host meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployer.sandbox import SandboxHost
from tests.support.counts.calls import CALLS, COUNTED, Thread
from tests.support.counts.processes import processes_of
from tests.support.site import Site, wait_until

LATER = ("cleanup",)
"""Units of an app, ``deployer-APP.NAME.service``, in which what nobody waits for is done."""
ROOT = Path(__file__).resolve().parents[3]
HOST_PLACES = (
    "/srv/", "/var/lib/", "/var/cache/deployer-", "/etc/deployer/", "/etc/systemd/system/", "/tmp/", "/var/tmp/",
)  # fmt: skip
"""What is counted of a host. Left out is what every command reads alike: programs, libraries, ``/proc``."""
FOLLOWED = "/events.jsonl"
"""Left out as well: a session opens a job's record again and again, as often as the job takes long."""
_PATIENCE = 600.0
"""Seconds, for what is removed at leisure, on a machine that has other things to do."""
_COMMAND = (
    "strace", "-ff", "--quiet=all", "--signal=none", "--decode-fds=path", "--string-limit=0", "--decode-pids=pidns",
    "--successful-only", "--trace=" + ",".join(f"?{call}" for call in CALLS),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Counts:
    """Numbers by the names in COUNTED; there once the block has ended.

    ``laptop``: of the commands that were run through :meth:`traced`, and of all that they started. ``host``: of the
    sessions, the job and the units in which it builds, migrates and checks. ``units``: of the host by unit, those of
    the app itself and those that nobody waits for among them; sessions are ``ssh.service``.
    """

    directory: Path
    laptop: Mapping[str, int] = field(default_factory=dict)
    host: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    _commands: int = 0

    def traced(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs a command on this machine, counted."""
        self._commands += 1
        return [*_COMMAND, "-o", f"{self.directory}/laptop{self._commands}", "--seccomp-bpf", *argv]


def missing() -> str:
    """What is missing here to count, as a sentence; empty when nothing is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Counting needs root on Linux."
    return "" if shutil.which("strace") else "strace is not installed: apt-get install strace"


@contextlib.contextmanager
def counted(site: Site) -> Iterator[Counts]:
    """Count all ``fab`` of the site in the block, and what its host does meanwhile, :class:`Counts` says when."""
    plain = site.argv
    with counting(site.host, site.app, site.project.path) as counts:
        site.argv = lambda *words, **options: counts.traced(plain(*words, **options))  # type: ignore[method-assign]
        try:
            yield counts
        finally:
            del site.argv


@contextlib.contextmanager
def counting(host: SandboxHost, app: str, project: Path) -> Iterator[Counts]:
    """The same for commands that are run with :meth:`Counts.traced`. It ends when the app's jobs on the host have.

    Raises RuntimeError when this machine or the host's backend cannot, or strace does not begin.
    """
    if problem := missing():
        raise RuntimeError(problem)
    with tempfile.TemporaryDirectory(prefix="deployer-counts-") as place:
        counts = Counts(directory=Path(place))
        initial = _units(host)
        with _attached(counts.directory / "host", list(initial)):
            yield counts
            wait_until(lambda: not _busy(host, app), f"the jobs of {app} have ended", _PATIENCE)
        counts.units = by_unit(counts.directory, initial, _on_host)
        counts.host = added(numbers for unit, numbers in counts.units.items() if _awaited(unit, app))
        counts.laptop = added(laptop(counts.directory, project))


def _units(host: SandboxHost) -> dict[int, str]:
    """All processes of a host, and the unit that each is in."""
    found = {}
    for pid in processes_of(host):
        with contextlib.suppress(OSError):
            group = Path(f"/proc/{pid}/cgroup").read_text().strip().splitlines()[-1]
            found[pid] = "ssh.service" if "session-" in group else group.rpartition("/")[2]
    return found


@contextlib.contextmanager
def _attached(prefix: Path, pids: Sequence[int]) -> Iterator[None]:
    """strace follows these processes, and all that they start."""
    threads = sum(len(list(Path(f"/proc/{pid}/task").glob("*"))) for pid in pids)
    argv = [*_COMMAND, "-o", str(prefix), "-p", ",".join(map(str, pids))]
    with prefix.with_name("strace.err").open("wb+") as said:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=said, start_new_session=True)
        try:
            wait_until(lambda: process.poll() is not None or _followed(process.pid) >= threads, "strace has attached")
            yield
        finally:
            process.send_signal(signal.SIGINT)  # it lets go of all
            process.wait(60)
            said.seek(0)
            message = said.read().decode(errors="replace").strip()
    if process.returncode not in (0, 130, -signal.SIGINT):
        raise RuntimeError(f"strace failed (exit status {process.returncode}): {message}")


def _followed(tracer: int) -> int:
    """How many threads a tracer follows."""
    found = 0
    for status in Path("/proc").glob("[0-9]*/task/*/status"):
        with contextlib.suppress(OSError):
            found += f"\nTracerPid:\t{tracer}\n" in status.read_text(errors="replace")
    return found


def _busy(host: SandboxHost, app: str) -> bool:
    """Whether a job of the app, or what it left for later, still runs."""
    asked = ["systemctl", "list-units", "--no-legend", "--plain", "--state=active,activating,deactivating"]
    return bool(host.run([*asked, f"deployer-{app}.service", f"deployer-{app}[.-]*.service"]).stdout.strip())


def _on_host(path: str) -> bool:
    return path.startswith(HOST_PLACES) and not path.endswith(FOLLOWED)


def _awaited(unit: str, app: str) -> bool:
    later = {f"deployer-{app}.{name}.service" for name in LATER}
    ours = unit == f"deployer-{app}.service" or unit.startswith((f"deployer-{app}-", f"deployer-{app}."))
    return unit == "ssh.service" or (ours and unit not in later)


def by_unit(directory: Path, initial: Mapping[int, str], inside: Callable[[str], bool]) -> dict[str, Counter[str]]:
    """The counts of a host. A thread is in the unit of the one that started it until systemd puts it into another."""
    threads = {int(path.suffix[1:]): _read(path, inside) for path in directory.glob("host.*")}
    found: dict[str, Counter[str]] = {}
    left = dict(initial)
    started = {tid: (parent, unit) for parent, thread in threads.items() for tid, unit in thread.children}

    def unit_of(tid: int) -> str:
        if tid not in left:
            parent, unit = started.get(tid, (0, "unknown"))
            left[tid] = unit or (unit_of(parent) if parent else "unknown")
        return left[tid]

    for tid, thread in threads.items():
        for unit, numbers in thread.counts.items():
            own = unit_of(tid) if tid in initial else unit or unit_of(tid)
            found.setdefault(own, Counter()).update(numbers)
    return found


def laptop(directory: Path, project: Path) -> Iterator[Counter[str]]:
    places = tuple(f"{path.resolve()}/" for path in (project, Path.home(), Path(tempfile.gettempdir())))
    programs = tuple(f"{path}/" for path in {Path(sys.prefix), Path(sys.base_prefix), ROOT})
    own = str(project.resolve()) + "/"

    def inside(path: str) -> bool:
        return path.startswith(own) or (path.startswith(places) and not path.startswith(programs))

    for path in directory.glob("laptop*"):
        yield from _read(path, inside).counts.values()


def _read(path: Path, inside: Callable[[str], bool]) -> Thread:
    thread = Thread(inside)
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        thread.take(lines)
    return thread


def added(many: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for numbers in many:
        total.update(numbers)
    return {name: total[name] for name in COUNTED}
