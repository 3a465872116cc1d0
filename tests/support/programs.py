"""A worker and a timer's command, with nothing but the standard library: they write down who did what, and when.

Both live in the app's state directory (``/var/lib/APP``), each fact in a file of its own, made by one rename:

jobs/JOB                      {"seconds": 0.1, "put": 1.0}: to be done; whoever renames it away has it. What takes
                              "held" seconds goes on until there is go/JOB; so does a run of a timer until go/NAME
taken/JOB.RELEASE.PID         in somebody's hands
done/JOB.RELEASE.PID.json     it was done by that instance
lives/NAME.RELEASE.PID.json   an instance of a process: when it began, and ended if it did so by itself
runs/NAME.RELEASE.PID.json    a run of a timer: when it began, and ended
"""

from __future__ import annotations

COMMON = '''\
"""What both programs have in common: who they are, and how they write down a fact."""

import json
import os
import sys
import time

APP, RELEASE = os.environ["DEPLOYER_APP"], os.environ["DEPLOYER_RELEASE"]
STATE = "/var/lib/" + APP
KEY = f"{RELEASE}.{os.getpid()}"
WHO = {
    "release": RELEASE,
    "pid": os.getpid(),
    "code": os.path.basename(os.path.realpath(os.path.dirname(__file__))),
    "venv": os.path.basename(os.path.realpath(sys.prefix)),
    "env": os.environ.get("MARK", ""),
}


def began():
    """When this process was started (seconds since 1970), however long Python took to come up."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    up = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - up


def take_time(seconds, name):
    """So many seconds; "held": until it is let go by that name, or it has been long enough for any test."""
    deadline = time.monotonic() + (300 if seconds == "held" else float(seconds))
    while time.monotonic() < deadline and not (seconds == "held" and os.path.exists(f"{STATE}/go/{name}")):
        time.sleep(max(0, min(0.05, deadline - time.monotonic())))


def note(path, fact):
    """Write the fact, whole or not at all."""
    place, name = os.path.split(f"{STATE}/{path}")
    os.makedirs(place, exist_ok=True)
    with open(f"{place}/.{name}", "w") as file:
        json.dump(fact, file)
    os.replace(f"{place}/.{name}", f"{place}/{name}")
'''
WORKER = '''\
"""worker.py NAME [MOOD [MARK]]: does one job after the other; SIGTERM ends it when the one in hand is done.

MOOD: works, idles (takes no jobs), crashes (at once), ends (at once, and well), stays (whatever it is told).
"""

import json
import os
import signal
import sys
import time

from common import KEY, STATE, WHO, began, note, take_time

NAME, MOOD, MARK = sys.argv[1:] + ["works", ""][len(sys.argv) - 2 :]
LIFE = {**WHO, "name": NAME, "mark": MARK, "began": began(), "ended": 0}
stopping = []


def take():
    """A job that nobody else has, by its name; empty when there is none."""
    for job in sorted(os.listdir(STATE + "/jobs")):
        try:
            if not job.startswith("."):
                os.rename(f"{STATE}/jobs/{job}", f"{STATE}/taken/{job}.{KEY}")
                return job
        except FileNotFoundError:
            continue
    return ""


def do(job):
    mine = f"{STATE}/taken/{job}.{KEY}"
    with open(mine) as file:
        order = json.load(file)
    start = time.time()
    take_time(order["seconds"], job)
    fact = {**WHO, "name": NAME, "job": job, "put": order["put"], "began": start, "ended": time.time()}
    note(f"done/{job}.{KEY}.json", fact)
    os.unlink(mine)


signal.signal(signal.SIGTERM, signal.SIG_IGN if MOOD == "stays" else lambda *_: stopping.append(True))
for place in ("jobs", "taken", "done"):
    os.makedirs(f"{STATE}/{place}", exist_ok=True)
note(f"lives/{NAME}.{KEY}.json", LIFE)
if MOOD == "crashes":
    sys.exit("no broker to be found")
if MOOD == "ends":
    print("nothing to do", flush=True)
    sys.exit(0)
while not stopping:
    job = "" if MOOD == "idles" else take()
    if job:
        do(job)
    else:
        time.sleep(0.1)
note(f"lives/{NAME}.{KEY}.json", {**LIFE, "ended": time.time()})
'''
TICK = '''\
"""tick.py NAME [SECONDS [fails]]: one run of a timer."""

import sys
import time

from common import KEY, WHO, began, note, take_time

NAME, SECONDS = sys.argv[1], [*sys.argv, "0"][2]
RUN = {**WHO, "name": NAME, "began": began(), "ended": 0}
note(f"runs/{NAME}.{KEY}.json", RUN)
take_time(SECONDS, NAME)
note(f"runs/{NAME}.{KEY}.json", {**RUN, "ended": time.time()})
if "fails" in sys.argv:
    sys.exit("no table to be cleared")
'''
FEEDER = '''\
"""feeder.py APP SECONDS: puts in a job every 0.05 s until it is told to end; each takes so many SECONDS."""

import json
import os
import signal
import sys
import time

jobs, stopping, number = f"/var/lib/{sys.argv[1]}/jobs", [], 0
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
while not stopping:
    with open(f"{jobs}/.{number:05}", "w") as file:
        json.dump({"seconds": float(sys.argv[2]), "put": time.time()}, file)
    os.rename(f"{jobs}/.{number:05}", f"{jobs}/{number:05}")
    number += 1
    time.sleep(0.05)
print(number)
'''
FACTS = r"""
import glob, json, os, sys
state = "/var/lib/" + sys.argv[1]

def facts(what):
    for path in sorted(glob.glob(f"{state}/{what}/*.json")):
        with open(path) as file:
            yield json.load(file)

def names(what):
    place = f"{state}/{what}"
    return sorted(name for name in os.listdir(place) if name[0] != ".") if os.path.isdir(place) else []

print(json.dumps({
    "jobs": names("jobs"), "taken": names("taken"),
    "done": list(facts("done")), "lives": list(facts("lives")), "runs": list(facts("runs")),
}))
"""
"""Run by the host's python3: all that was written down."""
SOURCES = {"common.py": COMMON, "worker.py": WORKER, "tick.py": TICK}
