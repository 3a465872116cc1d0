"""What a laptop sends."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

from deployer.wire.protocol import PHASES
from deployer.wire.tree import entry as tree
from deployer.wire.tree.entries import Entries, difference
from deployer.wire.tree.entry import Delta, Entry

from . import builds

WORKER: dict[str, Any] = {
    "name": "worker",
    "command": ["python", "-m", "worker"],
    "count": 1,
    "stop": 60,
    "overlap": True,
    "check": "",
    "unit": {},
}
TIMER: dict[str, Any] = {
    "name": "tick",
    "command": ["python", "-m", "tick"],
    "calendar": "daily",
    "persistent": True,
    "timeout": 0,
    "unit": {},
}


def make_delta(contents: Mapping[str, str], base: Mapping[str, str]) -> tuple[Delta, bytes]:
    """What a laptop sends of these files, when the host has that base."""
    data = {path: text.encode() for path, text in contents.items()}
    entries = Entries.of(Entry(path, "f", len(text), hashlib.sha256(text).hexdigest()) for path, text in data.items())
    drop, add = difference(tree.unpack_ids(base["ids"]), entries)
    body = zlib.compress(b"".join(data[entry.path] for entry in add))
    digest = hashlib.sha256(body).hexdigest()
    return Delta(entries.digest, base["key"], drop, add, digest, len(body)), body


def release_request(kind: str, digest: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A request to the session. ``settings``: env, secret, phases, barriers, number, sources, change, required (the
    last three may be left out), and any key of the spec."""
    spec: dict[str, Any] = {
        "source": {"digest": digest, "commit": "a" * 40, "ref": "main", "dirty": False},
        "lock": {"kind": "requirements", "path": "requirements.txt", "files": ["requirements.txt"]},
        "python": "",
        "build": [builds.COLLECT],
        "migrate": builds.MIGRATE,
        "web": {"server": "gunicorn", "target": "app:app", "workers": 2, "args": [], "memory": 0, "unit": {}},
        "health": {"path": "/", "host": "localhost", "status": [[200, 399]], "timeout": 5, "settle": 1},
        "watch": 2,
        "drain": 1,
        "keep": 3,
        "overlap": True,
        "processes": [WORKER],
        "timers": [TIMER],
    }
    env, phases = settings.get("env", {}), settings.get("phases", PHASES)
    more = {key: settings[key] for key in ("sources", "change", "required") if key in settings}
    apart = ("env", "secret", "phases", "barriers", "number", *more)
    spec.update({key: value for key, value in settings.items() if key not in apart})
    return {
        "op": "release",
        "kind": kind,
        "by": "ada@laptop",
        "phases": list(phases),
        "of": 0,
        "release": 0,
        "spec": spec,
        "env": dict(env),
        "secret": list(settings.get("secret", ())),
        "delta": None,
        "yes": False,
        "no_migrate": False,
        "barriers": list(settings.get("barriers", ())),
        "number": settings.get("number", 0),
        **more,
    }


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
