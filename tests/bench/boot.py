"""The app's boot, alone: the serving release's own unit under another name, from its first request to its answer."""

from __future__ import annotations

import json

from tests.bench.bed import Bed
from tests.bench.projects import SMALL

UNIT = "bench-boot"
SOCKET = "/run/bench-boot.sock"
SCRIPT = r"""
import json, os, re, socket, subprocess, sys, time
app, unit, path, times = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
release = os.path.basename(os.readlink(f"/srv/{app}/current"))
text = open(f"/etc/systemd/system/{app}-web@{release}.service").read()
text = text.replace(f"{app}-web@{release}.socket", f"{unit}.socket")
listening = (
    f"[Socket]\nListenStream={path}\nSocketUser={app}\nSocketMode=0666\nBacklog=4096\nRemoveOnStop=yes\n"
    f"Service={unit}.service\n"
)
for kind, content in (("service", text), ("socket", listening)):
    with open(f"/run/systemd/system/{unit}.{kind}", "w") as file:
        file.write(content)
subprocess.run(["systemctl", "daemon-reload"], check=True)
found = []
for _ in range(times):
    subprocess.run(["systemctl", "start", f"{unit}.socket"], check=True)
    begun = time.time()
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(60)
        one.connect(path)
        one.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = one.recv(64)
    found.append([begun, time.time(), b" 200 " in answer])
    subprocess.run(["systemctl", "stop", f"{unit}.service", f"{unit}.socket"], check=True, stderr=subprocess.DEVNULL)
print(json.dumps(found))
"""
"""Runs on the host, as root."""


def boots(bed: Bed, times: int) -> list[tuple[float, float]]:
    """Begin and end of each boot, in seconds since 1970. Raises RuntimeError when the app does not answer 200."""
    done = bed.host.run(["python3", "-c", SCRIPT, SMALL, UNIT, SOCKET, str(times)], timeout=60 * times)
    found = json.loads(done.stdout)
    if not all(healthy for _, _, healthy in found):
        raise RuntimeError(f"the app booted alone does not answer: {found}")
    return [(begun, ended) for begun, ended, _ in found]
