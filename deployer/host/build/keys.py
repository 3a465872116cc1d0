"""The keys of built content: a digest of everything that shapes it."""

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
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entries import Entries

_LAYOUT = 2
"""Raised when trees or environments are built differently, so that old ones are not reused."""


def venv_key(spec: Spec, entries: Entries, interpreter: Interpreter) -> str:
    """The key of the virtual environment: everything that an installer reads, and the interpreter. Empty without a
    lock.

    Raises HostError when a file of the lock was not shipped.
    """
    if spec.lock.kind == "none":
        return ""
    covered = [list(entry) for entry in spec.lock.covered(entries)]
    paths = {path for path, *_ in covered}
    missing = [path for path in spec.lock.files if path not in paths]
    if missing:
        raise HostError(
            f"{missing[0]} is not among the files of this release", next=do("commit it, or list it under include")
        )
    lock = spec.lock
    chosen = [lock.directory, sorted(lock.groups), sorted(lock.extras)]
    own = [chosen] if any(chosen) else []  # keys of environments without any of these stay what they were
    return _digest(["venv", _LAYOUT, lock.kind, covered, interpreter.identity, *own])


def tree_key(
    spec: Spec,
    digest: str,
    venv: str,
    interpreter: Interpreter,
    environment: Mapping[str, str],
    secret: bytes,
) -> str:
    """The key of the tree: its files, its build commands, and everything that those commands can see.

    The environment enters as an HMAC with a key of this host, so that the key reveals nothing of a secret.
    """
    seen: Any = ""
    if spec.build:
        text = json.dumps(sorted(environment.items())).encode()
        seen = hmac.new(secret, text, hashlib.sha256).hexdigest()
    where = [spec.directory] if spec.build and spec.directory else []
    links = [sorted([one.key, one.target] for one in spec.shared)] if spec.shared else []
    return _digest(["tree", _LAYOUT, digest, list(spec.build), venv, interpreter.identity, seen, *where, *links])


def compiler(interpreter: Interpreter, environment: Mapping[str, str]) -> str:
    """What the bytecode of a tree depends on, besides its modules."""
    return f"{interpreter.identity} {environment.get('PYTHONOPTIMIZE', '')}".rstrip()


def host_key(path: Path) -> bytes:
    """This host's key for :func:`tree_key`, created at first use."""
    if not path.exists():
        files.write_file(path, secrets.token_bytes(32), 0o600)
    return path.read_bytes()


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
