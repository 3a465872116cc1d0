"""Once a week all that is kept is read: what is damaged is marked, and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.host.setup import scrub
from deployer.host.state.app import Context
from deployer.host.state.content.damage import damage_of
from deployer.host.state.content.store import Store
from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees are root's")


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    """v2 serves, and v1 did before it."""
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two").exit == 0
    return host


@pytest.fixture
def ctx(host: SimulatedHost) -> Context:
    return host.context(lambda *_, **__: None)


def lose(path: Path) -> None:
    """A byte changes, and nothing tells of it but the content."""
    before = path.stat()
    path.write_bytes(b"!" + path.read_bytes()[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_all_is_whole(ctx: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert scrub.scrub(ctx) == 0
    assert capsys.readouterr().out == "all that is kept is whole\n"


def test_damage_is_marked_and_told(host: SimulatedHost, ctx: Context, capsys: pytest.CaptureFixture[str]) -> None:
    """Of code and environment; what is known already is told again, until it is gone."""
    first = ctx.catalog.get(1)
    lose(ctx.trees.path(first.tree) / "app.py")
    lose(ctx.venvs.path(first.venv) / "bin/gunicorn")
    for _ in range(2):
        assert scrub.scrub(ctx) != 0
        told = capsys.readouterr().out
        assert "the code of v1 is damaged" in told and "app.py" in told
        assert "the virtual environment of v1, v2 is damaged" in told and "bin/gunicorn" in told
        assert "next: fab deploy" in told
    assert [bool((ctx.trees.record(one.tree) or {}).get("damaged")) for one in ctx.catalog.all()] == [True, False]
    assert host.rollback(to=1).exit == 5
    for text in ("three", "four", "five"):
        assert host.deploy(text=text, keep=2).exit == 0
    assert scrub.scrub(ctx) == 0


def test_what_a_job_removes_meanwhile_is_no_damage(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(store: Store, key: str) -> str:
        store.remove(key)
        return damage_of(store, key)

    monkeypatch.setattr(scrub, "damage_of", gone)
    assert scrub.scrub(ctx) == 0
    assert capsys.readouterr().out == "all that is kept is whole\n"


def test_the_units_are_templates() -> None:
    """One text for all apps of the host."""
    service, timer = (scrub.templates().texts[f"deployer-scrub@.{kind}"] for kind in ("service", "timer"))
    assert "deployer-host scrub %i" in service and "IOSchedulingClass=idle" in service
    assert "Persistent=yes" in timer and "WantedBy=timers.target" in timer
