"""All that an app has on its host, read in one go, and what of it should not be there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deployer.host.state.paths import scrub_unit, stop_unit
from deployer.sandbox import SandboxHost
from tests.support.jobs import due

SCRIPT = r"""
import glob, json, os, re, subprocess, sys
app = sys.argv[1]
home, private, units = "/srv/" + app, "/var/lib/deployer/" + app, "/etc/systemd/system"

def names(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []

def names_like(pattern):
    return sorted(map(os.path.basename, glob.glob(pattern)))

def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()

def record(release):
    try:
        with open(f"{home}/releases/{release}/release.json") as file:
            value = json.load(file)
    except (OSError, ValueError) as error:
        return {"unreadable": repr(error)}
    wanted = ("number", "kind", "of", "tree", "venv", "result", "reason", "phase", "previous")
    return {**{key: value.get(key) for key in wanted}, **background(value.get("spec", {}))}

def background(spec):
    counts = ((one["name"], number) for one in spec.get("processes", ()) for number in range(1, one["count"] + 1))
    return {"web": spec.get("web") is not None, "timers": [one["name"] for one in spec.get("timers", ())],
            "instances": [f"{name}.{number}" if number > 1 else name for name, number in counts]}

def unit(pid):
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return file.read().strip().rpartition("/")[2]
    except OSError:
        return ""

def facts(what):
    for path in glob.glob(f"/var/lib/{app}/{what}/*.json"):
        with open(path) as file:
            fact = json.load(file)
        alive = re.match(f"{app}-.*@{fact['release']}[.]service", unit(fact["pid"]))
        yield {**fact, "alive": bool(alive)}

def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if "/deployer-host " in line and f" {app}" in line and "sudo" not in line.split()[0]:
            yield line
        elif f"{home}/" in line and not re.match(re.escape(app) + "-.*@v[0-9]+[.]service", unit(pid)):
            yield line  # those in units are told by these

releases = [name for name in names(home + "/releases") if re.match(r"v[0-9]+$", name)]
odd = re.compile(r"^\..*|.*\.tmp$|.*\.env$|.*\.new$|.*\.part$|.*\.body$")
litter = [path for top in (home, home + "/releases", home + "/releases/*", home + "/releases/*/run", home + "/trees",
                           home + "/venvs", private, private + "/*", private + "/jobs/*")
          for path in glob.glob(top + "/*") + glob.glob(top + "/.*") if odd.match(os.path.basename(path))]
litter += glob.glob(private + "/jobs/*/body")
litter += [path for path in glob.glob(units + "/.*") if app in path]
loaded = [line.split()[:4] for line in
          run("systemctl", "list-units", "--all", "--plain", "--no-legend", f"*{app}*").splitlines()
          if not line.split()[0].endswith(".mount")]
lock = dict(line.split("=", 1) for line in
            run("systemctl", "show", "-p", "LoadState,ActiveState,SubState", f"deployer-{app}.service").split())
print(json.dumps({
    "current": os.readlink(home + "/current") if os.path.islink(home + "/current") else "",
    "records": {name: record(name) for name in releases},
    "contents": {name: names(f"{home}/releases/{name}") for name in releases},
    "home": names(home),
    "trees": names(home + "/trees"),
    "venvs": names(home + "/venvs"),
    "incoming": names(private + "/incoming"),
    "litter": litter,
    "files": sorted(os.path.basename(path) for path in glob.glob(f"{units}/{app}-*")),
    "stamps": names_like("/var/lib/systemd/timers/stamp-" + app + "-*"),
    "lives": list(facts("lives")),
    "runs": list(facts("runs")),
    "links": sorted(glob.glob(f"{units}/*/{app}-*") + glob.glob(f"{units}/*/deployer-{app}*")),
    "loaded": loaded,
    "lock": lock,
    "processes": sorted(processes()),
}))
"""
"""Run by the host's python3."""


ENDED = ("good", "failed", "rolled back", "interrupted")


_MAY_HAVE = ("assets.json", "maintenance", "sources.json")
"""What a good release may have besides: its hashed assets, so that nobody reads all of its code again;
and where the page is served that once took its place."""


@dataclass(frozen=True)
class Survey:
    """What is there. ``records`` are those of the releases, by name."""

    app: str
    found: dict[str, Any]

    @property
    def current(self) -> str:
        """The release that the link names; empty when there is none."""
        return str(self.found["current"]).rpartition("/")[2]

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        records: dict[str, dict[str, Any]] = self.found["records"]
        return records

    @property
    def newest(self) -> int:
        return max((int(name[1:]) for name in self.records), default=0)

    @property
    def locked(self) -> bool:
        return self.found["lock"].get("ActiveState") not in ("inactive", None)

    def leftovers(self, *, sessions: bool = False, timer: bool = False) -> list[str]:
        """What is there although it should not be, or is not though it should; each in words.

        ``sessions`` are a laptop's, and go with it; the dead-man's ``timer`` ends by itself: with True they may stay.
        """
        return [
            *(["the lock is held: " + json.dumps(self.found["lock"])] if self.locked else []),
            *self._units(timer),
            *self._stamps(),
            *self._contents(),
            *self._store("tree"),
            *self._store("venv"),
            *(f"litter: {path}" for path in [*self.found["litter"], *self.found["incoming"], *self.found["links"]]),
            *(f"process: {line}" for line in self.found["processes"] if not (sessions and " session " in line)),
        ]

    def _units(self, timer: bool) -> list[str]:
        active, runs = self._wanted()
        wanted, there = [*active, *runs], self.found["files"]
        loaded = [one for one in self.found["loaded"] if one[1:] != ["not-found", "inactive", "dead"]]  # only named
        known = {*wanted, f"{self.app}.service", *(one[0] for one in loaded if one[0].startswith(self._slices))}
        known |= {stop_unit(self.app), *(scrub_unit(self.app, kind) for kind in ("service", "timer"))}
        if timer:
            known |= {f"deployer-{self.app}-lease.{kind}" for kind in ("service", "timer")}
        names = {one[0] for one in loaded}
        return [
            *(f"no unit file: {name}" for name in wanted if name not in there),
            *(f"unit file: {name}" for name in there if name not in wanted),
            *(f"unit: {' '.join(one)}" for one in loaded if one[0] not in known),
            *(f"not loaded: {name}" for name in active if name not in names),
            *(f"not active: {' '.join(one)}" for one in loaded if one[0] in active and one[2] != "active"),
            *(f"failed: {' '.join(one)}" for one in loaded if one[0] in runs and one[2] == "failed"),
        ]

    @property
    def _slices(self) -> str:
        """How the names of the slices begin that systemd puts the units of an app into; they stay."""
        return f"system-{self.app}\\x2d"

    def _wanted(self) -> tuple[list[str], list[str]]:
        """The units of what serves that are to be active, and those of its timers' runs, which come and go."""
        record = self.records.get(self.current, {})
        web = ["web"] if self.current and record.get("web", True) else []
        timers = record.get("timers", ())
        services = [f"{one}@{self.current}.service" for one in (*web, *record.get("instances", ()))]
        active = [*(f"{one}@{self.current}.socket" for one in web), *services]
        active += [f"{one}@{self.current}.timer" for one in timers]
        runs = [f"{one}@{self.current}.service" for one in timers]
        return [f"{self.app}-{one}" for one in active], [f"{self.app}-{one}" for one in runs]

    def _stamps(self) -> list[str]:
        """Those that systemd keeps of timers which are gone."""
        timers = self.records.get(self.current, {}).get("timers", ())
        wanted = {f"stamp-{self.app}-{name}@{self.current}.timer" for name in timers}
        return [f"stamp: {name}" for name in self.found["stamps"] if name not in wanted]

    def doubled(self, period: int) -> list[str]:
        """Runs of a timer that were made for one and the same time, of which there is one every ``period`` seconds."""
        made: dict[tuple[str, int], list[str]] = {}
        for run in self.found["runs"]:
            made.setdefault((run["name"], due(run, period)), []).append(f"{run['release']} {run['began']:.2f}")
        return [
            f"{name} has run {len(runs)} times at once: {runs}" for (name, _), runs in made.items() if len(runs) > 1
        ]

    def _contents(self) -> list[str]:
        parts = ["code", "env", "env.json", "release.json", "run", "secret.json"]
        told = []
        for name, record in self.records.items():
            good = record.get("result") == "good"
            if record.get("result") not in ENDED:
                told.append(f"{name} is still {record.get('result')}")
            whole = [*parts, "venv"] if record.get("venv") else parts  # an app without dependencies has none
            wanted = whole if good else ["release.json"]
            if [one for one in self.found["contents"][name] if not (good and one in _MAY_HAVE)] != wanted:
                told.append(f"{name} ({record.get('result')}) holds {self.found['contents'][name]}, not {wanted}")
        if self.current and self.records.get(self.current, {}).get("result") != "good":
            told.append(f"current is {self.current}, whose record is {self.records.get(self.current)}")
        return told

    def _store(self, what: str) -> list[str]:
        named = {record[what] for record in self.records.values() if record.get("result") == "good" and record[what]}
        ends = ("json", "sums", "files", *(("entries", "ids") if what == "tree" else ()))
        wanted = {file for key in named for file in (key, *(f"{key}.{end}" for end in ends))}
        there = set(self.found[f"{what}s"])
        return [
            *(f"no {what}: {name}" for name in sorted(wanted - there)),
            *(f"{what}: {name}" for name in sorted(there - wanted)),
        ]


def survey(host: SandboxHost, app: str) -> Survey:
    done = host.run(["python3", "-", app], input=SCRIPT.encode())
    return Survey(app, json.loads(done.stdout))
