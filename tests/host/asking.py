"""A good request to the host's session, and a host in a directory that hears it; no command is really run."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deployer.host.session.session import Session
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.catalog import Catalog
from deployer.host.state.paths import AppPaths
from deployer.host.system import journald, runner
from deployer.wire.protocol import PHASES, Exit
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import Delta, Entry

CONTENT = b"print('hello')\n"
BODY = zlib.compress(CONTENT)
ENTRY = Entry("app.py", "f", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
DELTA = Delta(
    digest=Entries.of([ENTRY]).digest,
    base="",
    drop=(),
    add=(ENTRY,),
    body=hashlib.sha256(BODY).hexdigest(),
    length=len(BODY),
).as_json()
SPEC: dict[str, Any] = {
    "source": {"digest": DELTA["digest"], "commit": "a" * 40, "ref": "main", "dirty": False},
    "lock": {"kind": "none", "path": "", "files": []},
    "python": "",
    "build": ["true"],
    "migrate": "",
    "web": {"server": "gunicorn", "target": "a:b", "workers": 1, "args": [], "memory": 0, "unit": {}},
    "health": {"path": "/", "host": "localhost", "status": [[200, 399]], "timeout": 5, "settle": 0},
    "watch": 1,
    "drain": 1,
    "keep": 5,
    "overlap": True,
}
GOOD: dict[str, Any] = {
    "op": "release",
    "kind": "deploy",
    "by": "ada@laptop",
    "phases": list(PHASES),
    "of": 0,
    "release": 0,
    "spec": SPEC,
    "env": {"DEBUG": "0"},
    "secret": [],
    "delta": DELTA,
    "yes": False,
    "no_migrate": False,
    "barriers": [],
    "number": 0,
    "offset": 0,
    "body": len(BODY),
}


@dataclass
class Host:
    """A host in a directory. ``commands`` are those root would have run; none really is."""

    root: Path
    commands: list[list[str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def paths(self) -> AppPaths:
        return AppPaths("shop", self.root)

    def serve(self, data: bytes) -> Exit:
        """One session that hears ``data`` and then the end."""
        self.events.clear()

        def emit(name: str, **fields: Any) -> None:
            self.events.append({"event": name, **fields})

        ctx = Context(paths=self.paths, settings=AppSettings("deploy", "www-data"), emit=emit, clock=lambda: 0.0)
        return Session(ctx, io.BytesIO(data), self.events.append).serve()

    def files(self) -> dict[str, bytes | None]:
        """Everything on the host."""
        return {
            str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else None
            for path in self.root.rglob("*")
        }

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.paths)

    @property
    def started(self) -> list[list[str]]:
        return [command for command in self.commands if command[0] == "systemd-run"]


def make_host(root: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Set up; on it nothing runs."""
    made = Host(root)
    paths = made.paths
    for path in (paths.releases, paths.trees, paths.venvs, paths.incoming, paths.jobs, paths.units):
        path.mkdir(parents=True)

    def run(argv: Sequence[str], **_: Any) -> runner.CommandResult:
        made.commands.append(list(argv))
        return runner.CommandResult(0, "ActiveState=inactive\n", "")

    def records(arguments: Sequence[str]) -> Iterator[journald.JournalEntry]:
        made.commands.append(["journalctl", *arguments])
        return iter(())

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(journald, "entries", records)
    return made


def line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def refused(host: Host, data: bytes) -> dict[str, Any]:
    """What was said of data that must be refused as bad usage, and left nothing, and started nothing."""
    before = host.files()
    assert host.serve(data) == Exit.USAGE
    assert [(event["event"], event["exit"]) for event in host.events] == [("failed", 2), ("finished", 2)]
    assert host.files() == before
    assert host.started == []
    failed = host.events[0]
    assert failed["message"]
    assert failed["state"] == "nothing was touched"
    return failed
