"""What ``fab doctor`` finds of an app's data services."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from deployer.host.inspect import services
from deployer.host.setup.machine import Machine
from deployer.host.setup.software import dumps
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths
from deployer.host.system.systemd import UnitEnd

NOW = 1_600_000_000.0


class Unit:
    def __init__(self, active: str) -> None:
        self.active = active


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A host on which all is well, as a table that a test changes."""
    world: dict[str, Any] = {
        "database": True, "redis": True, "timer": "active", "end": "success", "scrub": "active", "machine": Machine(),
        "root": tmp_path / "disk",
    }  # fmt: skip
    units = AppPaths("shop", world["root"]).units
    units.mkdir(parents=True)
    (units / "deployer-scrub@.timer").touch()
    monkeypatch.setattr(services.postgresql, "answers", lambda: world["database"])
    monkeypatch.setattr(services.redis, "answers", lambda app: world["redis"])
    monkeypatch.setattr(services.systemd, "show", lambda unit: Unit(world["scrub" if "scrub" in unit else "timer"]))
    monkeypatch.setattr(services.systemd, "end_of", lambda unit: UnitEnd(world["end"]))
    monkeypatch.setattr(services.machine, "look", lambda ports: world["machine"])
    monkeypatch.setattr(dumps, "DIRECTORY", tmp_path)
    (tmp_path / "shop").mkdir()
    return world


def found(root: Path = Path("/nowhere"), **settings: Any) -> list[tuple[str, str]]:
    given = {"environment": {"DATABASE_URL": "x", "REDIS_URL": "y"}, "backups": 7, **settings}
    app = AppSettings(deploy_user="deploy", socket_group="shop", **given)
    ctx = Context(paths=AppPaths("shop", root), settings=app, emit=lambda *_, **__: None, clock=lambda: NOW)
    return [(one["kind"], one["text"]) for one in services.findings(ctx)[0]]


def test_all_is_well(world: dict[str, Any]) -> None:
    """Services that answer, a timer whose first run is still to come."""
    assert found() == []


@pytest.mark.cause("postgresql-silent")
@pytest.mark.cause("redis-silent")
@pytest.mark.cause("dumps-stopped")
@pytest.mark.cause("dump-failed")
@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("database", False, "PostgreSQL, which has the app's database, does not answer"),
        ("redis", False, "the app's Redis does not answer on /run/deployer-redis/shop/redis.sock"),
        ("timer", "inactive", "the database is not dumped: its timer is stopped"),
        ("end", "exit-code", "the last dump of the database failed"),
    ],
)
def test_what_does_not_work_is_found(world: dict[str, Any], key: str, value: Any, text: str) -> None:
    """One finding each; an app without that service has none."""
    world[key] = value
    assert found() == [("service", text)]
    assert found(environment={}, backups=0) == []


@pytest.mark.cause("dump-old")
def test_a_dump_that_is_too_old(world: dict[str, Any], tmp_path: Path) -> None:
    """The newest counts; a day and a half is none."""
    for name, days in (("20200101T000000Z.dump", 9.0), ("20200102T000000Z.dump", 1.5)):
        (tmp_path / "shop" / name).touch()
        os.utime(tmp_path / "shop" / name, (NOW - days * 86400,) * 2)
    assert found() == []
    os.utime(tmp_path / "shop/20200102T000000Z.dump", (NOW - 3 * 86400,) * 2)
    assert found() == [("service", "the newest dump of the database is 3 days old")]


@pytest.mark.cause("scrub-stopped")
def test_a_scrub_that_is_stopped(world: dict[str, Any]) -> None:
    """On a host that was set up by a version without one it is not missed."""
    assert found(world["root"]) == []
    world["scrub"] = "inactive"
    ((kind, text),) = found(world["root"])
    assert kind == "service" and "the timer of the weekly scrub is stopped" in text
    assert found() == []


def test_the_machine_is_looked_at(world: dict[str, Any]) -> None:
    """What fails sooner or later is a finding, the rest a note."""
    world["machine"] = Machine(clock=False, memory=400 << 20)
    assert [kind for kind, _ in found()] == ["machine"]
