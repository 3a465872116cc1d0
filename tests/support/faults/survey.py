"""All that an app has on its host, read in one go, and what of it should not be there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deployer.sandbox import SandboxHost

SCRIPT = r"""
import glob, json, os, re, subprocess, sys
app = sys.argv[1]
home, private, units = "/srv/" + app, "/var/lib/deployer/" + app, "/etc/systemd/system"

def names(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []

def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()

def record(release):
    try:
        with open(f"{home}/releases/{release}/release.json") as file:
            value = json.load(file)
    except (OSError, ValueError) as error:
        return {"unreadable": repr(error)}
    wanted = ("number", "kind", "of", "tree", "venv", "result", "reason", "phase", "previous")
    return {key: value.get(key) for key in wanted}

def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if "/deployer-host " in line and f" {app}" in line and "sudo" not in line.split()[0]:
            yield line
        elif f"{home}/" in line and "gunicorn" not in line:
            yield line

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
    "links": sorted(glob.glob(f"{units}/*/{app}-*") + glob.glob(f"{units}/*/deployer-{app}*")),
    "loaded": loaded,
    "lock": lock,
    "processes": sorted(processes()),
}))
"""
"""Run by the host's python3."""


ENDED = ("good", "failed", "rolled back", "interrupted")


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
            *self._contents(),
            *self._store("tree"),
            *self._store("venv"),
            *(f"litter: {path}" for path in [*self.found["litter"], *self.found["incoming"], *self.found["links"]]),
            *(f"process: {line}" for line in self.found["processes"] if not (sessions and " session " in line)),
        ]

    def _units(self, timer: bool) -> list[str]:
        kinds = ("service", "socket")
        wanted = [f"{self.app}-web@{self.current}.{kind}" for kind in kinds] if self.current else []
        there = self.found["files"]
        known = {*wanted, f"{self.app}.service", f"system-{self.app}\\x2dweb.slice"}
        if timer:
            known |= {f"deployer-{self.app}-lease.{kind}" for kind in ("service", "timer")}
        loaded = self.found["loaded"]
        return [
            *(f"no unit file: {name}" for name in wanted if name not in there),
            *(f"unit file: {name}" for name in there if name not in wanted),
            *(f"unit: {' '.join(one)}" for one in loaded if one[0] not in known),
            *(f"not active: {' '.join(one)}" for one in loaded if one[0] in wanted and one[2] != "active"),
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
            if [one for one in self.found["contents"][name] if not (good and one == "entries.json")] != wanted:
                told.append(f"{name} ({record.get('result')}) holds {self.found['contents'][name]}, not {wanted}")
        if self.current and self.records.get(self.current, {}).get("result") != "good":
            told.append(f"current is {self.current}, whose record is {self.records.get(self.current)}")
        return told

    def _store(self, what: str) -> list[str]:
        named = {record[what] for record in self.records.values() if record.get("result") == "good" and record[what]}
        wanted = {file for key in named for file in (key, f"{key}.json", f"{key}.sums")}
        there = set(self.found[f"{what}s"])
        return [
            *(f"no {what}: {name}" for name in sorted(wanted - there)),
            *(f"{what}: {name}" for name in sorted(there - wanted)),
        ]


def survey(host: SandboxHost, app: str) -> Survey:
    done = host.run(["python3", "-", app], input=SCRIPT.encode())
    return Survey(app, json.loads(done.stdout))
