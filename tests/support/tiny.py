"""A tiny app that needs no dependency: deployed in about two seconds, and tells what it sees and may do."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployer.sandbox import SandboxHost
from deployer.wire.protocol import PROGRAM
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import Delta, Entry, parse_line, unpack_ids
from tests.support.project import Project
from tests.support.site import FABFILE, Ended, Site

SERVER = '''\
"""Serves on the socket that systemd hands over as file descriptor 3."""

import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.headers.get("Upgrade") == "websocket":
            return self.upgrade()
        answers = {"/": self.home, "/env": self.env, "/headers": self.seen, "/read": self.read, "/write": self.write,
                   "/argv": self.argv}
        self.answer(answers.get(url.path, lambda query: "ok")(query))

    def home(self, query):
        return {"release": os.environ["DEPLOYER_RELEASE"], "uid": os.getuid(), "groups": os.getgroups()}

    def env(self, query):
        return {"value": os.environ.get(query["key"]), "names": sorted(os.environ)}

    def argv(self, query):
        return sys.argv[1:]

    def seen(self, query):
        return dict(self.headers.items())

    def read(self, query):
        try:
            with open(query["path"], errors="replace") as file:
                return {"text": file.read(200)}
        except OSError as error:
            return {"error": type(error).__name__}

    def write(self, query):
        """An upload: into the state directory, with the modes that the umask leaves."""
        path = os.path.join(os.environ["STATE_DIRECTORY"], query["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(query["text"])
        return {"mode": oct(os.stat(path).st_mode)}

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def upgrade(self):
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.flush()
        while True:
            data = self.connection.recv(1024)
            if not data:
                break
            self.connection.sendall(data.upper())
        self.close_connection = True

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "nginx"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=3)


if "TEST_DIE_AFTER" in os.environ:
    threading.Timer(float(os.environ["TEST_DIE_AFTER"]), os._exit, [1]).start()
Server().serve_forever()
'''
CONFIG = """\
app = "{app}"
deploy_user = "{user}"
{top}
[web]
command = {command}
health = {{ path = "/healthz", {health} }}
{web}
[release]
watch = {watch}
drain = 1
build = {build}
{release}
[proxy]
kind = "nginx"
listen = "{address}:{port}"
static = {{ "/static/" = "static" }}
{proxy}
[env]
TEST_COLOUR = "green"
{env}
"""


PORTS = {
    app: 8001 + place
    for place, app in enumerate(
        (
            "mini",
            "blog",
            "fresh",
            "duo",
            "porty",
            "crew",
            "clock",
            "vars",
            "leaver",
            "stayer",
            "stays",
            "tidy",
            "built",
            "disks",
        )
    )
}
"""Where each app listens: several live on one host, whichever tests run there, so no two of them share a port."""


@dataclass
class TinySite(Site):
    """A tiny app, its deploy user, and where it listens behind nginx."""

    app: str = "mini"
    user: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        self.user = self.user or ("deploy" if self.app == "mini" else f"deploy-{self.app}")
        self.port = self.port or PORTS[self.app]

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{self.port}"

    def configure(self, *, build: Sequence[str] = (), arguments: str = "", **texts: Any) -> None:
        """Write and commit a deploy.toml; ``top``, ``web``, ``release``, ``proxy`` and ``env`` are more lines."""
        values: dict[str, Any] = {
            "app": self.app,
            "user": self.user,
            "address": self.host.address,
            "port": self.port,
            "command": json.dumps(f"/usr/bin/python3 server.py {arguments}".strip()),
            "health": "settle = 0, timeout = 10",
            "watch": 0,
            **dict.fromkeys(("top", "web", "release", "proxy", "env"), ""),
            **texts,
        }
        text = CONFIG.format(**values, build=json.dumps(list(build)))
        self.project.write("deploy.toml", text)
        self.project.commit("configure")

    def argv(self, *arguments: str, user: str = "") -> list[str]:
        return super().argv(*arguments, user=user or self.user)

    def fab(self, *arguments: str, user: str = "", **options: Any) -> Ended:
        return super().fab(*arguments, user=user or self.user, **options)

    def expect(self, exit: int, *arguments: str, user: str = "") -> Ended:
        return super().expect(exit, *arguments, user=user or self.user)

    def ssh(self, *command: str, input: bytes = b"", user: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run a command on the host as the deploy user, over OpenSSH."""
        argv = ["ssh", "-F", str(self.host.ssh_config), "-o", "BatchMode=yes", "-l", user or self.user, self.host.name]
        return subprocess.run([*argv, "--", *command], input=input, capture_output=True, timeout=120)

    def sh(self, script: str, user: str = "") -> str:
        """What a shell script printed (both streams), run by the deploy user."""
        done = self.ssh("/bin/sh", "-s", input=script.encode(), user=user)
        return (done.stdout + done.stderr).decode(errors="replace")

    def uploads_are_served(self) -> None:
        """What the app writes below ``media``, the proxy serves; no link in it is followed."""
        with urllib.request.urlopen(f"{self.url}/write?path=media/a.txt&text=mine", timeout=15) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{self.url}/media/a.txt", timeout=15) as answer:
            assert (answer.read(), answer.headers["X-Content-Type-Options"]) == (b"mine", "nosniff")
        self.host.run(f"runuser -u {self.app} -- ln -sf /etc/hostname /var/lib/{self.app}/media/link")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{self.url}/media/link", timeout=15)

    def session(self, data: bytes, app: str = "") -> RawSession:
        """What the host program answered to bytes from the deploy user."""
        done = self.ssh("sudo", "-n", PROGRAM, "session", app or self.app, input=data)
        events = [json.loads(line) for line in done.stdout.splitlines() if line]
        return RawSession(events, done.stderr.decode(errors="replace"), done.returncode)

    def sessions(self, requests: dict[str, bytes]) -> dict[str, RawSession]:
        """The same for many, each in a session of its own, over one connection."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for number, data in enumerate(requests.values()):
                member = tarfile.TarInfo(f"{number:03}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        script = (
            "d=$(mktemp -d); cd $d; tar x; for f in *; do "
            f"sudo -n {PROGRAM} session {self.app} < $f > $f.out 2> $f.err; echo $? > $f.status; done; "
            "tar c *.out *.err *.status; rm -r $d"
        )
        done = self.ssh(script, input=buffer.getvalue())
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            said = {member.name: (archive.extractfile(member) or buffer).read() for member in archive}
        return {
            name: RawSession(
                [json.loads(line) for line in said[f"{number:03}.out"].splitlines() if line],
                said[f"{number:03}.err"].decode(errors="replace"),
                int(said[f"{number:03}.status"]),
            )
            for number, name in enumerate(requests)
        }


@dataclass
class RawSession:
    """A session's end: its events, what came on standard error, its exit status."""

    events: list[dict[str, Any]]
    err: str
    status: int

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]


def make_tiny(host: SandboxHost, path: Path, **options: Any) -> TinySite:
    """A fresh project under ``path``, configured and committed."""
    path.mkdir(parents=True, exist_ok=True)
    site = TinySite(host, Project(path), **options)
    site.project.git("init", "--quiet", "--initial-branch=main")
    for name, text in {**FABFILE, "server.py": SERVER, "static/hello.txt": "hello from the proxy\n"}.items():
        site.project.write(name, text)
    site.configure()
    return site


def entry(path: str, content: bytes, kind: str = "f") -> Entry:
    return Entry(path, kind, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Shipment:
    """A hand-made upload on top of the tree that serves: what a laptop that does not play by the rules sends."""

    request: dict[str, Any]
    body: bytes

    @property
    def data(self) -> bytes:
        return json.dumps({**self.request, "body": len(self.body)}).encode() + b"\n" + self.body


def ship(
    site: TinySite, files: dict[str, tuple[str, bytes]], *, phases: Iterable[str], build: Sequence[str] = ()
) -> Shipment:
    """Add ``files`` (kind and content by path) to what serves on the host, whatever a careful laptop would say."""
    facts = site.session(b'{"op":"ask"}\n').last
    beside = f"/srv/{site.app}/trees/{facts['base']['key']}"
    record = json.loads(site.host.run(f"cat {beside}.json").stdout)
    lines = site.host.run(f"cat {beside}.entries").stdout.split("\n")[:-1]
    base = [one for one in map(parse_line, lines) if one.path not in record["altered"]]
    added = [entry(path, content, kind) for path, (kind, content) in files.items()]
    kept = [one for one in base if one.path not in files]
    have = unpack_ids(facts["base"]["ids"])
    body = zlib.compress(b"".join(content for _, content in files.values()))
    delta = Delta(
        digest=Entries.of([*kept, *added]).digest,
        base=facts["base"]["key"],
        drop=tuple(sorted(set(have) - {one.id for one in kept})),
        add=tuple(added),
        body=hashlib.sha256(body).hexdigest(),
        length=len(body),
    )
    spec = facts["spec"]
    spec["source"]["digest"] = delta.digest
    spec["build"] = list(build)
    request = {
        "op": "release", "kind": "deploy", "by": "mallory", "phases": list(phases), "of": 0, "release": 0, "spec": spec,
        "env": {}, "secret": [], "delta": delta.as_json(), "yes": False, "no_migrate": False, "offset": 0,
        "barriers": [], "number": 0,
    }  # fmt: skip
    return Shipment(request, body)
