"""The names of built things: a digest of all that shaped them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.host.build.pythons import Interpreter
from deployer.host.errors import HostError
from deployer.host.system import files
from deployer.wire.advice import do
from deployer.wire.spec import Spec
from deployer.wire.tree import Entry

_LAYOUT = 2
"""Raised when the way trees and environments are built changes, so that old ones are not taken for new ones."""


def venv_key(spec: Spec, entries: Sequence[Entry], interpreter: Interpreter) -> str:
    """Names the virtual environment: all that an installer reads, the interpreter. Empty when there is no lock.

    Raises HostError when a file of the lock is not among the files that were shipped.
    """
    if spec.lock.kind == "none":
        return ""
    covered = sorted(entry.as_list() for entry in entries if spec.lock.covers(entry.path))
    paths = {path for path, *_ in covered}
    missing = [path for path in spec.lock.files if path not in paths]
    if missing:
        raise HostError(
            f"{missing[0]} is not among the files of this release", next=do("commit it, or list it under include")
        )
    return _digest(["venv", _LAYOUT, spec.lock.kind, covered, interpreter.identity])


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


def host_key(path: Path) -> bytes:
    """This host's key for :func:`tree_key`, made at first use."""
    if not path.exists():
        files.write_file(path, secrets.token_bytes(32), 0o600)
    return path.read_bytes()


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
