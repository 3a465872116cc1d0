"""The nine phases of a release, one function each: it does its part and returns a short fact, or raises HostError."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from deployer.host.build import builder, disk, keys, pythons
from deployer.host.build.delta import parse_delta
from deployer.host.deployment import handover, outcome, retention
from deployer.host.deployment.barrier import Word
from deployer.host.deployment.failures import understood
from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.processes import commands
from deployer.host.processes.watch import watch as watch_release
from deployer.host.processes.watch import watch_until
from deployer.host.state import seal
from deployer.host.state.app import Context
from deployer.host.state.releases import READY, SERVED, Release
from deployer.host.state.store import Store
from deployer.host.system import files, orders
from deployer.host.system.signals import ignore_terminate, uninterrupted
from deployer.host.units import install as unit_files
from deployer.host.units import programs
from deployer.wire.advice import do, run
from deployer.wire.sizes import size
from deployer.wire.spec import Spec
from deployer.wire.tree import Entry

_LONGEST_PROOF = 900.0
"""Seconds that reading a release's files may take before the switch."""


@dataclass
class Work:
    """A release on its way. ``release`` is its record, saved at each change; ``current`` is what serves, or served.

    ``body`` is the file with what the laptop sent, ``word`` what the fleet says to one of its hosts.
    """

    ctx: Context
    request: Request
    release: Release
    current: Release | None
    body: Path | None = None
    proof: Proof | None = field(default=None, repr=False)
    word: Word | None = None

    def record(self, **changes: Any) -> None:
        self.release = self.ctx.catalog.update(self.release, **changes)

    @property
    def directory(self) -> Path:
        return self.ctx.paths.release(self.release.number)

    @property
    def proven(self) -> bool:
        """Its very parts have served before."""
        return self.release.kind == "rollback"


class Proof:
    """All parts of a sealed release are read again, while something else goes on, and compared with the seal."""

    def __init__(self, ctx: Context, release: Release) -> None:
        self._ctx, self._release = ctx, release
        self._found = f"(its files could not be read within {_LONGEST_PROOF:g} s)"
        self._thread = threading.Thread(target=self._look, daemon=True, name="proof")
        with uninterrupted():
            self._thread.start()

    def _look(self) -> None:
        try:
            self._found = seal.damage(self._ctx, self._release)
        except Exception as error:
            self._found = f"(its files cannot be read: {understood(error, self._ctx, 'reading its files').message})"

    def damage(self) -> str:
        """What has changed since the seal was made, for people; empty when nothing has."""
        self._thread.join(_LONGEST_PROOF)
        return self._found


def upload(work: Work) -> str:
    """Put the code tree together from what the host has and what was sent; every digest is checked."""
    ctx, spec, value = work.ctx, work.release.spec, work.request.delta
    delta = parse_delta(value)
    base = builder.builds_on(ctx, delta)
    entries = _final(delta.drop, builder.base_of(base) if base else [], delta.add)
    interpreter = _interpreter(spec)
    venv = keys.venv_key(spec, entries, interpreter)
    secret = keys.host_key(ctx.paths.private / "fingerprint.key")
    tree = keys.tree_key(spec, spec.source.digest, venv, interpreter, work.request.environment, secret)
    used = {what: retention.used(ctx, what) for what in ("tree", "venv")}
    work.record(tree=_sound(ctx.trees, tree, used["tree"]), venv=_sound(ctx.venvs, venv, used["venv"]))
    if ctx.trees.record(work.release.tree) is None:
        disk.require_room(ctx.paths.trees, sum(entry.size for entry in entries), "the code")
        if work.body is None:
            raise HostError("the job has no upload of its own", next=run("fab deploy", "again"))
        entries = list(builder.unpack(ctx, work.release.tree, value, work.body))
        files.write_json(work.directory / "entries.json", [entry.as_list() for entry in entries], 0o600)
    if work.body is not None and work.body.exists():
        work.body.unlink()
    return f"{len(delta.add)} of {len(entries)} files, {size(delta.length)} compressed"


def _sound(store: Store, key: str, used: set[str]) -> str:
    """The key to build under: another one where what lies under this one is damaged, or has lost its seal in use.

    To build in its place would take the code from under what runs from it.
    """
    while key:
        record = store.record(key)
        if not (record.get("damaged") if record is not None else key in used):
            break
        key = hashlib.sha256(f"{key} again".encode()).hexdigest()
    return key


def _final(drop: Sequence[bytes], base: Sequence[Entry], add: Sequence[Entry]) -> list[Entry]:
    dropped = set(drop)
    return [entry for entry in base if entry.id not in dropped] + list(add)


def make(work: Work) -> str:
    """``build``: locked dependencies into a virtual environment, build commands, seal."""
    ctx, release = work.ctx, work.release
    told = _make_venv(work)
    venv = ctx.venvs.path(release.venv) if release.venv else None
    programs.refuse_missing(release.spec, programs.Place(ctx.app, venv))
    if ctx.trees.record(release.tree) is not None:
        return f"{told}code unchanged"
    entries = _entries(work)
    builder.build_tree(ctx, release.tree, release.spec, entries, venv, _environment(work))
    return f"{told}code built"


def _make_venv(work: Work) -> str:
    ctx, release = work.ctx, work.release
    if not release.venv:
        return ""
    if ctx.venvs.record(release.venv) is not None:
        return "dependencies unchanged, "
    python, tree = _interpreter(release.spec).path, ctx.trees.path(release.tree)
    builder.build_venv(ctx, release.venv, release.spec, python, tree, _entries(work), _environment(work))
    return f"dependencies of {release.spec.lock.path} installed, "


def _interpreter(spec: Spec) -> pythons.Interpreter:
    says = "pyproject.toml" if spec.lock.kind == "requirements" else spec.lock.path
    return pythons.find_interpreter(spec.python, spec.lock.requires, says)


def _entries(work: Work) -> list[Entry]:
    """The files that were shipped, of a tree that is sealed or is still to be built."""
    record = work.ctx.trees.record(work.release.tree)
    if record is not None:
        return builder.entries_of(record)
    return [Entry(*value) for value in files.read_json(work.directory / "entries.json") or []]


def _environment(work: Work) -> dict[str, str]:
    return {**commands.read_environment(work.ctx, work.release), "DEPLOYER_APP": work.ctx.app}


def install(work: Work) -> str:
    """Link the parts, write the units, and seal the release: from now on it counts."""
    ctx, release = work.ctx, work.release
    for link, store, key in (("code", ctx.trees, release.tree), ("venv", ctx.venvs, release.venv)):
        record = store.record(key) if key else {}
        if record is None or record.get("damaged"):
            why = f"damaged: {record['damaged']}" if record else "gone from the host"
            raise HostError(f"the {link} of {release.name} is {why}", next=run("fab deploy", "builds it anew"))
        if key:
            files.point(work.directory / link, f"../../{store.directory.name}/{key}")
    if not work.proven:  # a reload comes without a build, and may run something new
        venv = ctx.venvs.path(release.venv) if release.venv else None
        programs.refuse_missing(release.spec, programs.Place(ctx.app, venv, ctx.trees.path(release.tree)))
    detail = unit_files.install(ctx, release, proven=work.proven)
    work.record(sealed=seal.take(ctx, release, list(unit_files.unit_texts(ctx, release))))
    work.proof = Proof(ctx, work.release)
    return detail


def start(work: Work) -> str:
    return handover.start(work.ctx, work.release, work.current)


def migrate(work: Work) -> str:
    return commands.migrate(work.ctx, work.release)


def check(work: Work) -> str:
    """Healthy, and still what was sealed: only then is it ready for the switch."""
    proof = work.proof or Proof(work.ctx, work.release)
    detail = handover.check(work.ctx, work.release, work.current, proven=work.proven)
    _refuse_damage(work, proof)
    work.record(result=READY)
    return detail


def revive(work: Work) -> None:
    """Have what was switched to by an attempt that died run again, and see meanwhile that it is what was sealed: not a
    byte of it was changed or rebuilt since, and none was lost with the power. Raises HostError."""
    proof = Proof(work.ctx, work.release)
    handover.revive(work.ctx, work.release)
    _refuse_damage(work, proof)


def _refuse_damage(work: Work, proof: Proof) -> None:
    damage = proof.damage()
    if damage:
        _remember(work, damage)
        raise HostError(
            f"{work.release.name} is no longer what was built: its digest differs {damage}",
            next=run("fab deploy", "builds what is damaged anew") + do("and look at the disk"),
        )


def _remember(work: Work, damage: str) -> None:
    """Neither store gives out again what is damaged; what runs from it goes on."""
    for store, key in ((work.ctx.trees, work.release.tree), (work.ctx.venvs, work.release.venv)):
        if key and str(store.path(key)) in damage:
            store.mark_damaged(key, damage)


def switch(work: Work) -> str:
    """The rename. Its record comes first, and no SIGTERM between the two: what was switched to is always known."""
    if work.release.sealed is None:
        raise HostError(f"{work.release.name} was never sealed", next=run("fab deploy"))
    if work.proof is None and work.release.result != SERVED:
        _ask_again(work)
    with uninterrupted():
        previous = work.current.number if work.current else work.release.previous
        work.record(result=SERVED, previous=previous, switched=work.ctx.clock())
        handover.point(work.ctx, work.release, work.current)
    return handover.after_switch(work.ctx, work.release, work.current, proven=work.proven)


def _ask_again(work: Work) -> None:
    """It was found healthy by a job before this one. Much may have happened since: it is asked once more."""
    proof = Proof(work.ctx, work.release)
    handover.wake(work.ctx, work.release, work.current)
    _refuse_damage(work, proof)


def drain(work: Work) -> str:
    return handover.drain(work.ctx, work.release, work.current)


def watch(work: Work) -> str:
    """Look after it for a while; then it is good, whatever may fail from now on."""
    detail = watch_release(work.ctx, work.release)
    if work.word is not None and "keep" in work.request.barriers:
        detail += _watch_on(work, work.word)
    ignore_terminate()
    if not outcome.good(work.ctx, work.release, work.request.reason):
        return f"{detail}; not recorded yet"
    work.release = work.ctx.catalog.get(work.release.number)
    try:
        _tidy(work)
    except Exception as error:  # the release is good: nothing that fails now may take it back
        failure = understood(error, work.ctx, "tidying up").message
        work.ctx.emit("warn", text=f"{work.release.name} serves, but tidying up after it failed: {failure}")
    return detail


def _watch_on(work: Work, word: Word) -> str:
    """The fleet is not through: what serves is watched until it is. Nobody left to say so: it stays, being healthy."""
    work.ctx.emit("ready", phase="keep", release=work.release.name)
    watch_until(work.ctx, work.release, lambda: word.said("keep") or word.over)
    return "" if word.said("keep") else f"; kept, as nothing was heard of the laptop for {word.silence:.0f} s"


def _tidy(work: Work) -> None:
    if work.current is not None:
        handover.retire(work.ctx, work.current)
    retention.prune(work.ctx, work.release.spec.keep)
    orders.ensure_started(work.ctx.app)


def reason_to_skip(work: Work, phase: str) -> str:
    """Why there is nothing to do in a phase; empty when there is."""
    release, request = work.release, work.request
    if phase in ("upload", "build") and request.of:
        return f"the parts of v{request.of}"
    if phase == "drain" and work.current is None:
        return "nothing served before"
    if phase != "migrate":
        return ""
    if not release.spec.migrate:
        return "no migrate command in deploy.toml"
    if release.kind != "deploy":
        return f"a {release.kind} does not migrate"
    return "as asked" if request.no_migrate else ""


DEEDS: Mapping[str, Callable[[Work], str]] = {
    "upload": upload,
    "build": make,
    "install": install,
    "start": start,
    "migrate": migrate,
    "check": check,
    "switch": switch,
    "drain": drain,
    "watch": watch,
}
