"""The phases ``upload`` and ``build``: the code tree and the virtual environment of a release."""

from __future__ import annotations

import hashlib

from deployer.host.build import disk, keys, pythons
from deployer.host.build.code import shipped, tree
from deployer.host.build.environment import venv
from deployer.host.deployment import outcome
from deployer.host.deployment.deployment import Deployment
from deployer.host.errors import HostError
from deployer.host.processes import commands
from deployer.host.state.content.store import Store
from deployer.host.units import programs
from deployer.wire.advice import run
from deployer.wire.sizes import size
from deployer.wire.tree.entries import Entries


def upload(deployment: Deployment) -> str:
    """Build the code tree from what the host has and what was sent, checking every digest."""
    ctx, spec = deployment.ctx, deployment.release.spec
    interpreter = _interpreter(deployment)
    plan = tree.plan(ctx, deployment.request.delta, _compiler(deployment))
    environment_key = keys.venv_key(spec, plan.entries, interpreter)
    secret = keys.host_key(ctx.paths.private / "fingerprint.key")
    key = keys.tree_key(spec, spec.source.digest, environment_key, interpreter, deployment.request.environment, secret)
    used = {what: outcome.used(ctx, what) for what in ("tree", "venv")}
    deployment.record(tree=_sound(ctx.trees, key, used["tree"]), venv=_sound(ctx.venvs, environment_key, used["venv"]))
    if ctx.trees.record(deployment.release.tree) is None:
        disk.require_room(ctx.paths.trees, plan.room, "the code", plan.inodes)
        if deployment.body is None:
            raise HostError("the job has no upload", next=run("fab deploy", "again"))
        tree.unpack(ctx, deployment.release.tree, plan, deployment.body)
        deployment.plan = plan
    if deployment.body is not None and deployment.body.exists():
        deployment.body.unlink()
    return f"{len(plan.delta.add)} of {len(plan.entries)} files, {size(plan.delta.length)} compressed"


def _sound(store: Store, key: str, used: set[str]) -> str:
    """The key to build under. Not the given one when its content is damaged, or in use without a seal: building there
    would replace code that processes run."""
    while key:
        record = store.record(key)
        if not (record.get("damaged") if record is not None else key in used):
            break
        key = hashlib.sha256(f"{key} again".encode()).hexdigest()
    return key


def build(deployment: Deployment) -> str:
    """Install the locked dependencies into a virtual environment, run the build commands, seal both."""
    ctx, release = deployment.ctx, deployment.release
    told = _build_venv(deployment)
    place = ctx.venvs.path(release.venv) if release.venv else None
    programs.refuse_missing(release.spec, programs.Place(ctx.app, place))
    if ctx.trees.record(release.tree) is not None:
        return f"{told}code unchanged"
    like = [deployment.current.tree] if deployment.current is not None and deployment.current.tree else []
    environment, compiler = _environment(deployment), _compiler(deployment)
    tree.build(ctx, release.tree, release.spec, place, environment, compiler, like, deployment.plan)
    deployment.built.add(release.tree)
    deployment.plan = None
    return f"{told}code built"


def _build_venv(deployment: Deployment) -> str:
    ctx, release = deployment.ctx, deployment.release
    if not release.venv:
        return ""
    if ctx.venvs.record(release.venv) is not None:
        return "dependencies unchanged, "
    python, code = _interpreter(deployment).path, ctx.trees.path(release.tree)
    before = deployment.current.venv if deployment.current is not None else ""
    environment = _environment(deployment)
    venv.build(ctx, release.venv, release.spec, python, code, _entries(deployment), environment, before)
    deployment.built.add(release.venv)
    return f"dependencies of {release.spec.lock.path} installed, "


def _interpreter(deployment: Deployment) -> pythons.Interpreter:
    spec = deployment.release.spec
    if deployment.interpreter is None:
        source = "pyproject.toml" if spec.lock.kind == "requirements" else spec.lock.path
        deployment.interpreter = pythons.find_interpreter(spec.python, spec.lock.requires, source)
    return deployment.interpreter


def _compiler(deployment: Deployment) -> str:
    return keys.compiler(_interpreter(deployment), _environment(deployment))


def _entries(deployment: Deployment) -> Entries:
    """The shipped files of a tree, sealed or not."""
    trees, key = deployment.ctx.trees, deployment.release.tree
    seal = trees.record(key)
    return shipped.entries(trees, key, seal) if seal is not None else shipped.unsealed(trees, key)


def _environment(deployment: Deployment) -> dict[str, str]:
    return {**commands.read_environment(deployment.ctx, deployment.release), "DEPLOYER_APP": deployment.ctx.app}
