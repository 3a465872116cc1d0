"""The names of built things: a digest of all that shaped them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host import files
from deployer.host.errors import HostError
from deployer.host.manifest import Entry
from deployer.host.spec import Spec
from deployer.host.systemd import run

_IDENTITY = "import sys,platform;print(platform.python_implementation(),sys.version.split()[0],platform.machine())"
_LAYOUT = 1
"""Raised when the way trees and environments are built changes, so that old ones are not taken for new ones."""


@dataclass(frozen=True)
class Interpreter:
    """A Python on the host: its path and what it says of itself (``CPython 3.11.2 x86_64``)."""

    path: str
    identity: str


def find_interpreter(version: str) -> Interpreter:
    """The host's Python of that version (``3.12``; empty: its ``python3``). Raises HostError when there is none."""
    name = f"python{version or '3'}"
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise HostError(
            f"this host has no {name}",
            next=f"install it (apt-get install {name} {name}-venv), or set python in deploy.toml to one that is there",
        )
    done = run([found, "-I", "-S", "-c", _IDENTITY])
    if not done.ok:
        raise HostError(f"{found} does not start", logs=done.tail())
    return Interpreter(found, done.out.strip())


def venv_key(spec: Spec, entries: Sequence[Entry], interpreter: Interpreter) -> str:
    """Names the virtual environment: the lock's content, the interpreter. Empty when the app has no dependencies.

    Raises HostError when a file of the lock is not among the files that were shipped.
    """
    if spec.lock.kind == "none":
        return ""
    digests = {entry.path: entry.digest for entry in entries}
    missing = [path for path in spec.lock.files if path not in digests]
    if missing:
        raise HostError(
            f"{missing[0]} is not among the files of this release", next="commit it, or list it under include"
        )
    return _digest(["venv", _LAYOUT, spec.lock.kind, [[p, digests[p]] for p in spec.lock.files], interpreter.identity])


def tree_key(
    spec: Spec,
    digest: str,
    venv: str,
    interpreter: Interpreter,
    environment: Mapping[str, str],
    secret: bytes,
) -> str:
    """Names the tree: its files, its build commands, and all those commands could see.

    The environment enters through an HMAC under a key of this host, so that the name tells nothing of a secret.
    """
    seen: Any = ""
    if spec.build:
        text = json.dumps(sorted(environment.items())).encode()
        seen = hmac.new(secret, text, hashlib.sha256).hexdigest()
    return _digest(["tree", _LAYOUT, digest, list(spec.build), venv, interpreter.identity, seen])


def fingerprint_key(path: Path) -> bytes:
    """This host's key for :func:`tree_key`, made at first use."""
    if not path.exists():
        files.write_file(path, secrets.token_bytes(32), 0o600)
    return path.read_bytes()


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
