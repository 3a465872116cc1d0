"""Figure 9: what a command costs on projects and environments of several sizes, in seconds and in files."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployer.sandbox import SandboxHost, up
from tests.bench.bed import Bed, Run, Way
from tests.bench.peers.ansible import Ansible
from tests.bench.peers.fabric_stock import StockFabric
from tests.bench.peers.fujin import SHIPS, Fujin
from tests.bench.peers.place import Place
from tests.bench.projects import WORKERS, change_one_line
from tests.bench.show import progress, say, table, title
from tests.bench.stats import median
from tests.support.counts import counting, cpu_seconds, missing
from tests.support.plaindisk import give_plain_disk
from tests.support.project import Project
from tests.support.scale import BUILD, grown, wheels
from tests.support.site import wait_until

SIZES = (20, 5_000, 30_000)
LARGE_FILES, LARGE_SIZE = 29_000, 1_500_000_000
"""Files and bytes of the large environment; the small one is what the sample app needs."""
OWN_FILES, OWN_SIZE = 5_000, 47_000_000
"""About what of these is the small environment."""
TURNS, QUICK_TURNS = 7, 3
CHANGES = ("deploy", "reload", "rollback")
QUESTIONS = ("status", "releases", "logs")
PATIENCE = 3600.0
"""Seconds for one command: a counted one takes ten times as long as another, and a hundred times on a busy machine."""

CONFIG = """\
app = "{app}"
[web]
workers = {workers}
health = {{ path = "/healthz", settle = 0, timeout = 60 }}
[release]
build = [{build}]
migrate = "python manage.py migrate --noinput"
watch = 0
drain = 10
keep = 2
[env]
DJANGO_SETTINGS_MODULE = "shop.settings"
"""

Counted = Mapping[str, Mapping[str, int]]
"""By ``laptop`` and ``host``."""


@dataclass(slots=True, kw_only=True)
class Case:
    """A project on the host: how many files it has, whether its environment is the large one, and whether it builds."""

    files: int
    large: bool
    builds: bool
    project: Project
    environment: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, Counted] = field(default_factory=dict)

    @property
    def app(self) -> str:
        return f"p{self.files}{'-large' if self.large else ''}{'-builds' if self.builds else ''}"

    @property
    def label(self) -> str:
        return f"{self.files:,} files, {'1.5 GB' if self.large else 'small'}"

    @property
    def short(self) -> str:
        """The label, where there is little room."""
        return f"{self.files:,}{'+' if self.large else ''}{' build' if self.builds else ''}"

    def measured(self, what: str, command: str) -> list[float]:
        """One figure a turn; ``what`` is ``seconds`` or ``cpu``."""
        return (self.cpu if what == "cpu" else self.seconds)[command]

    def ratio(self, what: str, command: str, base: Case) -> float:
        """The median of the turns' ratios to another case."""
        pairs = zip(self.measured(what, command), base.measured(what, command), strict=True)
        return median([own / other for own, other in pairs])


def measure(directory: Path, *, quick: bool) -> None:
    """Print the tables. Raises RuntimeError when a command fails."""
    place, turns = directory / "scale", QUICK_TURNS if quick else TURNS
    progress("writing the wheels of the large environment")
    with (
        wheels(place / "wheels", files=LARGE_FILES - OWN_FILES, size=LARGE_SIZE - OWN_SIZE) as made,
        up(progress=progress) as host,
    ):
        give_plain_disk(host)
        way = Way(name=host.name, config=host.ssh_config)
        cases = list(_cases(place, made.requirements, quick=quick))
        for case in cases:
            _first(case, host, way)
        peers = _peers(next(case for case in cases if case.files == SIZES[-1] and case.large), host, directory)
        others: dict[str, list[float]] = {name: [] for name in peers}
        for turn in range(turns):
            for case in cases:
                progress(f"{case.app}, {turn + 1} of {turns}")
                _take_turn(case, host, way, turn)
            for name, deploy in peers.items():
                progress(f"{name}, {turn + 1} of {turns}")
                _wait_for_quiet(host)
                try:
                    others[name].append(deploy(way).wall)
                except RuntimeError as error:  # ours are worth having without it
                    say(f"{name} has failed: {error}")
        _show_times(cases, turns)
        _show_peers(cases, others)
        if problem := missing():
            say(f"Files were not counted. {problem}")
            return
        _explain_counts()
        for command in CHANGES:
            for case in cases:
                _count(case, command, host, way)
            _show_counts(cases, command)


def _cases(place: Path, large: str, *, quick: bool) -> Iterator[Case]:
    """Those that are measured; the first of each kind of build is what the others are compared with."""
    for files in SIZES:
        progress(f"writing a project of {files:,} files")
        pattern = grown(place / f"{files}", files, config="")
        for heavy, builds in itertools.product((False, True), (False, True)):
            if heavy and files not in (SIZES[0], SIZES[-1]):
                continue
            if quick and heavy != (files == SIZES[-1]):
                continue
            project = Project(place / f"{files}-{heavy}-{builds}")
            subprocess.run(["cp", "-a", "--reflink=auto", str(pattern.path), str(project.path)], check=True)
            case = Case(files=files, large=heavy, builds=builds, project=project)
            needed = project.path / "requirements.txt"
            needed.write_text(needed.read_text() + (large if heavy else ""))
            build = f'"{BUILD}"' if builds else ""
            project.write("deploy.toml", CONFIG.format(app=case.app, workers=WORKERS, build=build))
            project.commit("configure")
            yield case
        shutil.rmtree(pattern.path)


def _first(case: Case, host: SandboxHost, way: Way) -> None:
    """The set-up and the first deploy, of which nothing is measured."""
    progress(f"setting up and deploying {case.app} for the first time")
    way.fab(case.project, "setup", "--key", f"{host.identity}.pub", user="root")
    way.fab(case.project, "deploy", timeout=PATIENCE)
    found = host.run(f"cd /srv/{case.app}/current/venv/ && find . -type f | wc -l && du -sm --apparent-size .").stdout
    case.environment = f"{int(found.split()[0]):,} files, {found.split()[1]} MiB"


def _peers(case: Case, host: SandboxHost, directory: Path) -> dict[str, Callable[[Way], Run]]:
    """Other tools, each with an app of its own of the same files and the same environment."""
    bed, app = Bed(host=host, directory=directory), Place(app=case.app)
    progress("preparing the other tools")
    app.prepare(bed)
    project = Project(directory / "of-others")
    subprocess.run(["cp", "-a", "--reflink=auto", str(case.project.path), str(project.path)], check=True)
    found: dict[str, Callable[[Way], Run] | None] = {
        "stock Fabric": StockFabric(bed=bed, project=project, place=app),
        "Ansible": Ansible.installed(bed, project, app),
        "Fujin": Fujin.installed(bed, project, case.app, (*SHIPS, "bulk", "build.py")),
    }
    for name in (name for name, peer in found.items() if peer is None):
        say(f"{name} could not be installed: left out")
    return {name: peer for name, peer in found.items() if peer is not None}


def _show_peers(cases: Sequence[Case], others: Mapping[str, Sequence[float]]) -> None:
    ours = [case for case in cases if case.files == SIZES[-1] and case.large]
    rows = [[f"deployer{', with the build' if case.builds else ''}", *_spread(case.seconds["deploy"])] for case in ours]
    rows += [[name, *_spread(seconds)] for name, seconds in others.items() if seconds]
    say("", f"9f. The same change in {SIZES[-1]:,} files with the large environment, by other tools")
    say("They restart the app, and collect static files and migrate each time; they keep", "no proof of what serves.")
    table(["deploy", "seconds", "least", "most"], rows)


def _spread(seconds: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in (median(seconds), min(seconds), max(seconds))]


def _take_turn(case: Case, host: SandboxHost, way: Way, turn: int) -> None:
    change_one_line(case.project, turn)
    for command in (*CHANGES, *QUESTIONS):
        _wait_for_quiet(host)
        before = _cpu(host)
        case.seconds.setdefault(command, []).append(way.fab(case.project, command, timeout=PATIENCE).wall)
        case.cpu.setdefault(command, []).append(_cpu(host) - before)


def _cpu(host: SandboxHost) -> float:
    """CPU seconds of commands that were run here, and of the host."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + cpu_seconds(host)


def _wait_for_quiet(host: SandboxHost) -> None:
    """Until nothing is left of the command before: nothing is being removed, and all is on the disk."""
    units = "systemctl list-units --no-legend --plain --state=active,activating,deactivating 'deployer-*.service'"
    units += " | grep -v ^deployer-stop@ || true"
    wait_until(lambda: not host.run(units).stdout.strip(), "jobs and removals have ended", 600)
    os.sync()


def _count(case: Case, command: str, host: SandboxHost, way: Way) -> None:
    progress(f"counting {case.app}, {command}")
    if command == "deploy":
        change_one_line(case.project, TURNS)
    with counting(host, case.app, case.project.path) as counts:
        way.run(counts.traced(way.argv(command)), case.project.path, PATIENCE)
    case.counts[command] = {"laptop": counts.laptop, "host": counts.host}


def _show_times(cases: Sequence[Case], turns: int) -> None:
    title(
        "9. Projects and environments of several sizes",
        f"Median seconds of {turns} runs of each, from the start of the command to its exit,",
        "at 0 ms, settle and watch 0; the projects take turns on one host, whose disk is",
        "plain ext4, each command on a quiet one. A deploy has a change of one line. ×:",
        "the median of the turns' ratios to the first row of the table. Target: 1.3 for",
        "the last row. Half of the files are modules; 30,000 are 60 MB.",
    )
    for case in cases:
        if not case.builds:
            say(f"  {case.label}: the environment has {case.environment}")
    without, with_one = ([case for case in cases if case.builds == builds] for builds in (False, True))
    _table("9a. Without a build command", without, CHANGES)
    _table("9b. With a build command that writes 500 files and changes one", with_one, CHANGES)
    _table("9c. Commands that change nothing", without, QUESTIONS)
    _table("9d. CPU seconds, of laptop and host, without a build command", without, CHANGES, "cpu")
    _table("9e. CPU seconds with the build command", with_one, CHANGES, "cpu")


def _table(heading: str, cases: Sequence[Case], commands: Sequence[str], what: str = "seconds") -> None:
    rows = []
    for case in cases:
        row = [case.label]
        for command in commands:
            row += [f"{median(case.measured(what, command)):.2f}", f"{case.ratio(what, command, cases[0]):.2f}"]
        rows.append(row)
    say("", heading)
    table(["project, environment", *itertools.chain.from_iterable((name, "×") for name in commands)], rows)


COLUMNS = {
    "opened": "opened", "read": "read", "bytes_read": "KiB", "bytes_written": "KiB out", "created": "created",
    "linked": "linked", "synced": "synced", "looked_at": "stat",
}  # fmt: skip
"""What is shown of what is counted, and its heading."""


def _explain_counts() -> None:
    title(
        "9g. The same commands, counted by strace",
        "One run of each. Files of the project and of deployer: opened; of which something",
        "was read (to copy or to hash it); KiB read and written, pipes not; files made;",
        "hard links; fsync and the like; questions about a path. Host: sessions, job and",
        "build, not the app itself, nor what is removed at leisure. A mapping is not seen.",
    )


def _show_counts(cases: Sequence[Case], command: str) -> None:
    rows = [
        [f"{case.short}: {side}", *map(_number, _chosen(counts))]
        for case in cases
        for side, counts in case.counts[command].items()
    ]
    say("")
    table([command, *COLUMNS.values()], rows)


def _chosen(counts: Mapping[str, int]) -> Iterator[float]:
    for name in COLUMNS:
        yield counts[name] / 1024 if name.startswith("bytes") else counts[name]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.2f}M"
