"""The app of a fleet: no dependency, a quick start, a graceful end; it fails on the hosts, and at the time, told to.

What is to go wrong on a host is told by files below ``FAULTS`` there, gone with a reboot; each holds the version of the
code from which on it goes wrong. A process looks at them when it starts: what serves already goes on as it is. Only
``sick`` is looked at all the time: it names releases.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

APP, USER, PORT = "fleet", "deploy", 8001
FAULTS = "/run/fleet-faults"
STATE = f"/var/lib/{APP}"
NAME = "web.internal"
"""Every host calls itself so: one deploy.toml names where each of them listens."""

SERVER = f'''\
"""Serves one request after the other on file descriptor 3; SIGTERM ends it between two of them."""

import json
import os
import select
import signal
import socket
import sys

RELEASE = os.environ["DEPLOYER_RELEASE"]
HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "VERSION.txt")) as file:
    VERSION = file.read().strip()


def goes_wrong(kind):
    """Whether that is to happen to this release."""
    try:
        with open("{FAULTS}/" + kind) as file:
            return int(VERSION) >= int(file.read())
    except OSError:
        return False


KINDS = set(filter(goes_wrong, ("unhealthy", "dies-at-start", "sick-in-service", "dies-in-service")))


def current():
    """Whether this release has the traffic."""
    return os.path.basename(os.readlink("/srv/" + os.environ["DEPLOYER_APP"] + "/current")) == RELEASE


def sick():
    """Whether this release was made sick while it served."""
    try:
        with open("{FAULTS}/sick") as file:
            return RELEASE in file.read().split()
    except OSError:
        return False


def answer(path):
    if "dies-in-service" in KINDS and current():
        os._exit(1)
    if path.startswith("/healthz"):
        if "unhealthy" in KINDS or ("sick-in-service" in KINDS and current()) or sick():
            print("cannot reach the database", flush=True)
            return "503 Service Unavailable", {{"error": "cannot reach the database"}}
    return "200 OK", {{"release": RELEASE, "version": VERSION, "mark": os.environ.get("MARK", "")}}


def serve(connection):
    connection.settimeout(10)
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        more = connection.recv(65536)
        if not more:
            return
        data += more
    status, value = answer(data.split(b" ", 2)[1].decode("latin-1"))
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {{status}}\\r\\nContent-Type: application/json\\r\\nContent-Length: {{len(body)}}\\r\\n"
    connection.sendall(head.encode() + f"X-Version: {{RELEASE}}\\r\\nConnection: close\\r\\n\\r\\n".encode() + body)


if "dies-at-start" in KINDS:
    sys.exit("no licence for this host")
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
told, tells = os.pipe()
os.set_blocking(tells, False)
signal.set_wakeup_fd(tells)
listener = socket.socket(fileno=3)
listener.setblocking(False)
while not stopping:
    if listener not in select.select([listener, told], [], [])[0]:
        continue
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue
    connection.setblocking(True)
    with connection:
        try:
            serve(connection)
        except OSError:
            pass
'''
MIGRATION = f'''\
"""Notes for which release it ran on this host; fails where it is told to."""

import os
import sys

with open("{STATE}/migrations", "a") as file:
    file.write(os.environ["DEPLOYER_RELEASE"] + "\\n")
print("migrating the database", flush=True)
if os.path.exists("{FAULTS}/no-migration"):
    sys.exit("relation \\"orders\\" does not exist")
'''
BUILD = f"test ! -e {FAULTS}/no-build"
CONFIG = """\
app = "{app}"
deploy_user = "{user}"
{top}
[web]
command = "/usr/bin/python3 server.py"
health = {{ path = "/healthz", settle = {settle}, timeout = {timeout} }}
[release]
watch = {watch}
drain = 5
build = {build}
{release}
[proxy]
kind = "nginx"
listen = "{name}:{port}"
[env]
MARK = "{mark}"
{tables}
"""


def config_text(
    *,
    build: Sequence[str] = (),
    migrate: bool = False,
    settle: float = 0,
    timeout: float = 10,
    watch: float = 0.5,
    mark: str = "0",
    top: str = "",
    tables: str = "",
) -> str:
    """The deploy.toml of all hosts; ``top`` and ``tables`` are more lines of it."""
    release = 'migrate = "python3 migrate.py"' if migrate else ""
    return CONFIG.format(
        app=APP, user=USER, name=NAME, port=PORT, build=json.dumps([BUILD, *build]), release=release,
        settle=settle, timeout=timeout, watch=watch, mark=mark, top=top, tables=tables,
    )  # fmt: skip
