"""How a release's story ends: what is written down, in its record and in the ledger, and what of it stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.assets import links
from deployer.host.deployment import outcome
from deployer.host.errors import HostError
from deployer.host.processes import background
from deployer.host.recovery import debris
from deployer.host.state.app import Context
from deployer.host.state.catalog import Catalog
from deployer.host.state.ledger import Ledger
from deployer.host.state.releases import FAILED, GOOD, READY, ROLLING_BACK, SERVED, Release
from deployer.host.system import files
from deployer.wire.protocol import Exit
from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")
HELD = {"boot": "boot 1", "until": 1e9}


@pytest.fixture
def told() -> list[dict[str, Any]]:
    """What is emitted."""
    return []


@pytest.fixture
def ctx(tmp_path: Path, told: list[dict[str, Any]]) -> Iterator[Context]:
    """A host on which v1 serves."""
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        assert host.deploy(text="one").exit == 0
        yield replace(host.context(lambda name, **fields: told.append({"event": name, **fields})), clock=lambda: 1234.5)


def attempt(ctx: Context, result: str, phase: str = "check") -> Release:
    """v2, which has the parts of v1, between two phases."""
    one = ctx.catalog.get(1)
    made = ctx.catalog.create("deploy", 0, "ada", 1000.0, one.spec)
    for name in ("env", "env.json", "secret.json"):
        files.write_file(ctx.paths.release(2) / name, name.encode(), 0o600)
    return ctx.catalog.update(
        made, result=result, phase=phase, tree=one.tree, venv=one.venv, previous=1, held=HELD, sealed={"files": {}}
    )


def last_line(ctx: Context) -> dict[str, Any]:
    return list(ctx.ledger.entries())[-1]


def ended(release: str, result: str, phase: str, reason: str, serving: str = "v1") -> dict[str, Any]:
    fields = {"release": release, "result": result, "phase": phase, "reason": reason, "serving": serving}
    return {"at": 1234.5, "what": "ended", **fields}


def fails(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("given", "reason"), [((), ""), (("its leftovers stay",), "its leftovers stay")])
def test_a_good_end_is_written_down(ctx: Context, told: list[dict[str, Any]], given: Any, reason: str) -> None:
    """In the record, which holds it no more, and in the ledger, with what serves then."""
    release = attempt(ctx, SERVED, "drain")
    files.point(ctx.paths.current, "releases/v2")
    assert outcome.record_good(ctx, release, *given) is True
    kept = {"result": GOOD, "phase": "watch", "reason": reason, "ended": 1234.5, "held": None}
    assert ctx.catalog.get(2) == replace(release, **kept)
    assert last_line(ctx) == ended("v2", "good", "watch", reason, "v2")
    assert told == []


def test_what_is_being_taken_back_cannot_be_good(ctx: Context) -> None:
    """Whoever says so has a bug; nothing is written."""
    release = attempt(ctx, ROLLING_BACK)
    with pytest.raises(HostError) as caught:
        outcome.record_good(ctx, release)
    assert (caught.value.message, caught.value.exit) == ("v2 is being rolled back, and cannot be good", Exit.BUG)
    assert ctx.catalog.get(2) == release


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_room_is_made_for_a_good_record(
    ctx: Context,
    told: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tries: int,
) -> None:
    """On a full disk old releases go, as many as may, and it is tried again; if there is no room then, it is told that
    it serves, and nothing is said in the ledger."""
    release = attempt(ctx, SERVED)
    save, pruned, asked = Catalog.save, [], []

    def full(catalog: Catalog, release: Release) -> Release:
        asked.append(release)
        return save(catalog, release) if len(asked) >= tries else fails()

    def prune(given: Context, keep: int) -> None:
        assert given is ctx
        pruned.append(keep)
        raise RuntimeError("that, too") if tries == 2 else OSError(28, "No space left on device")

    monkeypatch.setattr(Catalog, "save", full)
    monkeypatch.setattr(outcome, "prune", prune)
    lines = list(ctx.ledger.entries())
    assert outcome.record_good(ctx, release, "so") is (tries < 3)
    assert pruned == [release.spec.keep] * (tries > 1)
    bug = "removing old releases: a bug of deployer\n"
    assert capsys.readouterr().err[: len(bug)] == (bug if tries == 2 else "")
    if tries < 3:
        assert ctx.catalog.get(2).result == GOOD
        assert last_line(ctx) == ended("v2", "good", "watch", "so")
        return
    assert ctx.catalog.get(2) == release
    assert list(ctx.ledger.entries()) == lines
    (warning,) = told
    assert warning["event"] == "warn"
    assert warning["text"] == (
        "v2 serves and is healthy, but that could not be recorded: [Errno 28] No space left on device; "
        "the host records it as soon as it can"
    )


def test_that_a_release_goes_is_written_down_first(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason; it goes all the same when that cannot be written."""
    release = attempt(ctx, SERVED)
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "save", fails)
        assert outcome.record_rollback(ctx, release, "it is ill") == release
        assert capsys.readouterr().err == ""
        patched.setattr(Catalog, "save", lambda *_: 1 // 0)
        assert outcome.record_rollback(ctx, release, "it is ill") == release
    assert "recording that v2 is rolled back: a bug of deployer\n" in capsys.readouterr().err
    going = outcome.record_rollback(ctx, release, "it is ill")
    assert going == ctx.catalog.get(2) == replace(release, result=ROLLING_BACK, reason="it is ill", held=None)


@pytest.mark.parametrize("serving", [True, False])
def test_of_a_dead_release_its_record_is_left(
    ctx: Context, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, serving: bool
) -> None:
    """And nothing else; old releases go then, as what serves says, or, where nothing does, as it said itself."""
    one = ctx.catalog.get(1)
    ctx.catalog.update(one, spec=replace(one.spec, keep=7))
    release = attempt(ctx, READY)
    release = ctx.catalog.update(release, spec=replace(release.spec, keep=4))
    kept: list[int] = []
    monkeypatch.setattr(outcome, "prune", lambda given, keep, _: kept.append(keep if given is ctx else 0))
    if not serving:
        ctx.paths.current.unlink()
    outcome.remove_content(ctx, release, FAILED, "it is ill")
    changes = {"result": FAILED, "reason": "it is ill", "ended": 1234.5, "held": None, "sealed": None}
    assert ctx.catalog.get(2) == replace(release, **changes)
    assert files.names(ctx.paths.release(2)) == ["release.json"]
    assert last_line(ctx) == ended("v2", FAILED, "check", "it is ill", "v1" if serving else "")
    assert kept == [7 if serving else 4]
    assert told == []


def test_what_still_finishes_a_job_keeps_its_code(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is written down all the same."""
    release = attempt(ctx, READY)
    before = files.names(ctx.paths.release(2))
    monkeypatch.setattr(background, "finishing_numbers", lambda _: {2})
    outcome.remove_content(ctx, release, FAILED, "it is ill")
    assert files.names(ctx.paths.release(2)) == before
    assert (ctx.catalog.get(2).result, last_line(ctx)["result"]) == (FAILED, FAILED)


def test_what_a_command_runs_in_keeps_its_code_until_that_has_ended(ctx: Context) -> None:
    """A release that failed meanwhile, and one beyond those that are kept; the next one to look takes them away."""
    release = attempt(ctx, READY)
    before = files.names(ctx.paths.release(2))
    dead = files.lock(ctx.paths.release(2))
    assert dead is not None
    outcome.remove_content(ctx, release, FAILED, "it is ill")
    assert files.names(ctx.paths.release(2)) == before
    assert release.tree in outcome.used(ctx, "tree")
    assert not [path for path in debris.find(ctx, {1, 2}) if path.parent == ctx.paths.release(2)]
    os.close(dead)
    assert [path for path in debris.find(ctx, {1, 2}) if path.parent == ctx.paths.release(2)]


def test_a_release_in_which_a_command_runs_is_not_pruned(ctx: Context) -> None:
    """It is passed by, and goes with the next look once the command has ended."""
    one = ctx.catalog.get(1)
    for number in (2, 3, 4, 5):
        made = ctx.catalog.create("deploy", 0, "ada", 1000.0 + number, one.spec)
        ctx.catalog.update(made, result=GOOD, tree=one.tree, venv=one.venv)
    held = files.lock(ctx.paths.release(2))
    assert held is not None
    outcome.prune(ctx, 2)
    assert ctx.catalog.numbers() == [1, 2, 4, 5]
    os.close(held)
    outcome.prune(ctx, 2)
    assert ctx.catalog.numbers() == [1, 4, 5]


@pytest.mark.parametrize("kind", ["processes", "timers", ""])
def test_a_release_that_finishes_a_job_is_not_pruned(ctx: Context, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whether it does, systemd is asked only if one of those that are to go has processes or timers."""
    one, asked = ctx.catalog.get(1), []
    parts: dict[str, Any] = {"processes": (), "timers": ()}
    with_job = replace(one.spec, **{**parts, **({kind: ("one",)} if kind else {})})
    for number in (2, 3, 4, 5):
        made = ctx.catalog.create("deploy", 0, "ada", 1000.0 + number, one.spec)
        ctx.catalog.update(made, result=GOOD, tree=one.tree, venv=one.venv)
    read = ctx.catalog.all()
    known = [replace(one, spec=with_job if one.number == 2 else replace(one.spec, **parts)) for one in read]
    monkeypatch.setattr(Catalog, "all", lambda _: known)

    def finishing(_: Context) -> set[int]:
        asked.append("asked")
        return {2}

    monkeypatch.setattr(background, "finishing_numbers", finishing)
    assert outcome.prunable(ctx, 2) == ([3] if kind else [2, 3])
    assert asked == ["asked"] * bool(kind)
    asked.clear()
    assert outcome.prunable(ctx, 4) == []
    assert asked == []


FAILING = {
    "looking at its assets": (links, "names"),
    "looking for what v2 still runs": (background, "finishing_numbers"),
    "removing {directory}/env": (files, "remove_tree"),
    "recording how v2 ended": (Catalog, "save"),
    "adding to the ledger": (Ledger, "add"),
    "removing old releases": (outcome, "prune"),
}


@pytest.mark.parametrize("step", FAILING)
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), HostError("no"), ValueError("a bug")])
def test_whatever_fails_at_an_end_does_not_keep_the_rest_from_being_done(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str, error: Exception
) -> None:
    """Nothing is raised: the host's next recovery sees to what was left. What nobody foresaw is in the journal."""
    release = attempt(ctx, READY)
    pruned: list[int] = []
    monkeypatch.setattr(outcome, "prune", lambda _, keep, __: pruned.append(keep))

    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(*FAILING[step], broken)
    outcome.remove_content(ctx, release, FAILED, "it is ill")
    what = step.split()[0]
    assert ("env" in files.names(ctx.paths.release(2))) is (step.startswith(("looking for", "removing {")))
    assert (ctx.catalog.get(2).result == FAILED) is (what != "recording")
    assert (last_line(ctx)["what"] == "ended") is (what not in ("recording", "adding"))
    assert pruned == ([] if step == "removing old releases" else [release.spec.keep])
    named = f"{step.format(directory=ctx.paths.release(2))}: a bug of deployer\n"
    assert (named in capsys.readouterr().err) is isinstance(error, ValueError)


def test_one_file_that_stays_does_not_keep_the_others(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is taken away by itself."""
    release, remove = attempt(ctx, READY), files.remove_tree

    def stuck(path: Path) -> None:
        fails() if path.name in ("env", "run") else remove(path)

    monkeypatch.setattr(files, "remove_tree", stuck)
    outcome.remove_content(ctx, release, FAILED, "")
    assert files.names(ctx.paths.release(2)) == ["env", "release.json", "run"]
