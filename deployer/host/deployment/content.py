"""The phases ``upload`` and ``build``: the code tree and the virtual environment of a release."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from deployer.host.build import builder, disk, keys, pythons
from deployer.host.build.delta import parse_delta
from deployer.host.deployment import outcome
from deployer.host.deployment.deployment import Deployment
from deployer.host.errors import HostError
from deployer.host.processes import commands
from deployer.host.state.store import Store
from deployer.host.system import files
from deployer.host.units import programs
from deployer.wire.advice import run
from deployer.wire.release.spec import Spec
from deployer.wire.sizes import size
from deployer.wire.tree import Entry


def upload(deployment: Deployment) -> str:
    """Build the code tree from what the host has and what was sent, checking every digest."""
    ctx, spec, value = deployment.ctx, deployment.release.spec, deployment.request.delta
    delta = parse_delta(value)
    base = builder.builds_on(ctx, delta)
    entries = _merged(delta.drop, builder.base_of(base) if base else [], delta.add)
    interpreter = _interpreter(spec)
    venv = keys.venv_key(spec, entries, interpreter)
    secret = keys.host_key(ctx.paths.private / "fingerprint.key")
    tree = keys.tree_key(spec, spec.source.digest, venv, interpreter, deployment.request.environment, secret)
    used = {what: outcome.used(ctx, what) for what in ("tree", "venv")}
    deployment.record(tree=_sound(ctx.trees, tree, used["tree"]), venv=_sound(ctx.venvs, venv, used["venv"]))
    if ctx.trees.record(deployment.release.tree) is None:
        disk.require_room(ctx.paths.trees, sum(entry.size for entry in entries), "the code")
        if deployment.body is None:
            raise HostError("the job has no upload", next=run("fab deploy", "again"))
        entries = list(builder.unpack(ctx, deployment.release.tree, value, deployment.body))
        files.write_json(deployment.directory / "entries.json", [entry.as_list() for entry in entries], 0o600)
    if deployment.body is not None and deployment.body.exists():
        deployment.body.unlink()
    return f"{len(delta.add)} of {len(entries)} files, {size(delta.length)} compressed"


def _sound(store: Store, key: str, used: set[str]) -> str:
    """The key to build under. Not the given one when its content is damaged, or in use without a seal: building there
    would replace code that processes run."""
    while key:
        record = store.record(key)
        if not (record.get("damaged") if record is not None else key in used):
            break
        key = hashlib.sha256(f"{key} again".encode()).hexdigest()
    return key


def _merged(drop: Sequence[bytes], base: Sequence[Entry], add: Sequence[Entry]) -> list[Entry]:
    dropped = set(drop)
    return [entry for entry in base if entry.id not in dropped] + list(add)


def build(deployment: Deployment) -> str:
    """Install the locked dependencies into a virtual environment, run the build commands, seal both."""
    ctx, release = deployment.ctx, deployment.release
    told = _build_venv(deployment)
    venv = ctx.venvs.path(release.venv) if release.venv else None
    programs.refuse_missing(release.spec, programs.Place(ctx.app, venv))
    if ctx.trees.record(release.tree) is not None:
        return f"{told}code unchanged"
    entries = _entries(deployment)
    builder.build_tree(ctx, release.tree, release.spec, entries, venv, _environment(deployment))
    deployment.built.add(release.tree)
    return f"{told}code built"


def _build_venv(deployment: Deployment) -> str:
    ctx, release = deployment.ctx, deployment.release
    if not release.venv:
        return ""
    if ctx.venvs.record(release.venv) is not None:
        return "dependencies unchanged, "
    python, tree = _interpreter(release.spec).path, ctx.trees.path(release.tree)
    builder.build_venv(ctx, release.venv, release.spec, python, tree, _entries(deployment), _environment(deployment))
    deployment.built.add(release.venv)
    return f"dependencies of {release.spec.lock.path} installed, "


def _interpreter(spec: Spec) -> pythons.Interpreter:
    source = "pyproject.toml" if spec.lock.kind == "requirements" else spec.lock.path
    return pythons.find_interpreter(spec.python, spec.lock.requires, source)


def _entries(deployment: Deployment) -> list[Entry]:
    """The shipped files of a tree, sealed or not."""
    record = deployment.ctx.trees.record(deployment.release.tree)
    if record is not None:
        return builder.entries_of(record)
    return [Entry(*value) for value in files.read_json(deployment.directory / "entries.json") or []]


def _environment(deployment: Deployment) -> dict[str, str]:
    return {**commands.read_environment(deployment.ctx, deployment.release), "DEPLOYER_APP": deployment.ctx.app}
