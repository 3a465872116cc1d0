"""The data services of an app: what is asked of the host's servers, and what is said when they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.setup.software import dumps, postgresql, redis, services
from deployer.host.setup.software.service import Service
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths
from deployer.host.system.runner import CommandResult


class Server:
    """A PostgreSQL that answers a statement by the words in it; the statements and who made them are recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> None:
        usual = {"unix_socket": "/var/run/postgresql, /tmp", "SHOW port": "5432", "hba_file": "/etc/pg/pg_hba.conf"}
        self.answers = {**usual, **answers}
        self.asked: list[tuple[str, str]] = []
        self.refused = ""
        monkeypatch.setattr(postgresql.runner, "run", self.run)
        monkeypatch.setattr(postgresql.apt, "missing", lambda names: [])

    def run(self, argv: Sequence[str], *, user: str = "", stdin: bytes = b"", **_: Any) -> CommandResult:
        statement = stdin.decode()
        self.asked.append((user, statement))
        if self.refused and self.refused in (user, statement):
            return CommandResult(2, "", "psql: error: FATAL: no\n")
        found = next((answer for words, answer in self.answers.items() if words in statement), "")
        return CommandResult(0, f"{found}\n", "")


def nothing(name: str, **fields: Any) -> None:
    pass


def test_a_database_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that may do nothing but log in, a database that it owns and others cannot connect to."""
    server = Server(monkeypatch, {})
    found = postgresql.ensure("my-shop", nothing)
    made = [statement for _, statement in server.asked if statement.startswith(("CREATE", "REVOKE", "ALTER", "DROP"))]
    assert made == [
        'CREATE ROLE :"app" LOGIN',
        'CREATE DATABASE :"app" OWNER :"app" TEMPLATE template0 ENCODING \'UTF8\' '
        "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' ALLOW_CONNECTIONS false",
        'REVOKE ALL ON DATABASE :"app" FROM PUBLIC',
        'ALTER DATABASE :"app" ALLOW_CONNECTIONS true',
    ]
    assert ("my-shop", "SELECT 1") in server.asked, "it was tried as the app"
    assert found.url == "postgresql://my-shop@/my-shop?host=/var/run/postgresql"
    assert found.changed == ("role my-shop", "database my-shop") and found.found == ""


def test_a_database_that_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds is said; nothing is created or changed. Another port than the usual one is in the URL."""
    server = Server(monkeypatch, {"pg_roles": "1", "datdba": "shop", "pg_tables": "12", "SHOW port": "5433"})
    found = postgresql.ensure("shop", nothing)
    assert not [statement for _, statement in server.asked if not statement.startswith(("SELECT", "SHOW"))]
    assert (found.changed, found.found) == ((), "the database shop holds 12 tables, and is left alone")
    assert found.url.endswith("?host=/var/run/postgresql&port=5433")


def test_a_database_whose_making_was_interrupted_is_closed_to_others_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made closed, and opens to the app alone."""
    server = Server(monkeypatch, {"pg_roles": "1", "datdba": "shop", "NOT datallowconn": "1"})
    found = postgresql.ensure("shop", nothing)
    made = [statement for _, statement in server.asked if not statement.startswith(("SELECT", "SHOW"))]
    assert made == ['REVOKE ALL ON DATABASE :"app" FROM PUBLIC', 'ALTER DATABASE :"app" ALLOW_CONNECTIONS true']
    assert (found.changed, found.found) == (("database shop",), "")


@pytest.mark.cause("database-taken")
def test_a_database_of_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is made in it."""
    Server(monkeypatch, {"pg_roles": "1", "datdba": "bob"})
    with pytest.raises(HostError, match="database 'shop' that belongs to 'bob'"):
        postgresql.ensure("shop", nothing)


@pytest.mark.cause("no-peer-login")
def test_a_server_that_lets_the_app_in_only_with_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line and the file that mend it are named."""
    server = Server(monkeypatch, {"pg_roles": "1", "datdba": "shop"})
    server.refused = "shop"
    with pytest.raises(HostError, match="does not let the user shop in over its Unix socket: psql: error") as caught:
        postgresql.ensure("shop", nothing)
    assert 'local "shop" "shop" peer' in str(caught.value.next) and "/etc/pg/pg_hba.conf" in str(caught.value.next)


@pytest.mark.cause("postgresql-down")
def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given some time, which a server that was just installed needs."""
    Server(monkeypatch, {}).refused = "SELECT 1"
    monkeypatch.setattr(postgresql, "_PATIENCE", 0.0)
    monkeypatch.setattr(postgresql.time, "sleep", lambda _: None)
    with pytest.raises(HostError, match="PostgreSQL on this host does not answer: psql: error: FATAL: no"):
        postgresql.ensure("shop", nothing)


def test_redis_listens_on_a_socket_and_nowhere_else() -> None:
    """It forgets nothing to make room, and writes what it is told to the disk."""
    lines = redis.settings_text("shop", 1 << 27).splitlines()
    assert {"port 0", "unixsocketperm 770", "maxmemory 134217728", "maxmemory-policy noeviction", "appendonly yes"} <= {
        *lines
    }
    assert "unixsocket /run/deployer-redis/shop/redis.sock" in lines


def test_redis_has_no_confinement_that_the_host_cannot_apply() -> None:
    """As the app's own units have none."""
    whole = redis.unit("/usr/bin/redis-server")
    assert "PrivateNetwork=yes" in whole and "SystemCallFilter=@system-service" in whole and "User=%i" in whole
    less = redis.unit("/usr/bin/redis-server", ["PrivateNetwork", "SystemCallFilter=@system-service"])
    assert "PrivateNetwork" not in less and "SystemCallFilter" not in less and "ProtectSystem=strict" in less


@pytest.mark.parametrize(
    ("there", "offered", "installs"),
    [
        ((), ("redis-server", "valkey-server"), "redis-server"),
        ((), ("valkey-server",), "valkey-server"),
        ((), (), "redis-server"),  # apt says why it cannot
        (("valkey-server",), ("redis-server", "valkey-server"), ""),
    ],
)
def test_the_server_is_what_the_distribution_has(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], offered: tuple[str, ...], installs: str
) -> None:
    """Valkey where there is no Redis. One that is there will do; the package's own, for everybody, never starts."""
    installed: list[tuple[list[str], str]] = []
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(redis.runner, "which", lambda name, path: f"/usr/bin/{name}" if name in there else None)
    monkeypatch.setattr(redis.apt, "has_candidate", lambda name: name in offered)
    monkeypatch.setattr(redis.apt, "install", lambda names, _, unstarted: installed.append((names, unstarted)))
    monkeypatch.setattr(redis.systemd, "systemctl", lambda *words: asked.append(words))
    assert redis._install(nothing) == ([f"installed {installs}"] if installs else [])
    assert installed == ([([installs], f"{installs}.service")] if installs else [])
    assert asked == ([("disable", f"{installs}.service")] if installs else [])


@pytest.mark.cause("redis-down")
def test_a_redis_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unit's log is named."""
    monkeypatch.setattr(redis, "answers", lambda app: False)
    monkeypatch.setattr(redis, "_PATIENCE", 0.0)
    monkeypatch.setattr(redis.time, "sleep", lambda _: None)
    with pytest.raises(HostError, match="the Redis of shop does not answer on /run/") as caught:
        redis._wait("shop")
    assert "journalctl -u deployer-redis@shop.service" in str(caught.value.next)


def test_services_that_are_no_longer_wanted_are_named() -> None:
    """What stays is said; a service that is still wanted is not spoken of."""
    kept = Service("REDIS_URL", "unix:///x", (), "")
    told = list(services.left("shop", {"REDIS_URL": "x", "DATABASE_URL": "y"}, [kept]))
    assert len(told) == 1 and "deployer-dump@shop.timer goes on" in told[0]
    assert len(list(services.left("shop", {"REDIS_URL": "x"}, []))) == 1


# dumps


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """An app that keeps two dumps, with three older ones and a file of somebody's."""
    monkeypatch.setattr(dumps, "DIRECTORY", tmp_path / "backups")
    monkeypatch.setattr(dumps.files, "own_directory", lambda path, *_: path.mkdir(exist_ok=True))
    place = tmp_path / "backups/shop"
    place.mkdir(parents=True)
    for name in ("20200101T000000Z.dump", "20200102T000000Z.dump", "20200103T000000Z.dump", "notes", "x.dump.part"):
        (place / name).write_bytes(b"old")
    settings = AppSettings(deploy_user="deploy", socket_group="shop", backups=2)
    return Context(paths=AppPaths("shop", tmp_path), settings=settings, emit=nothing, clock=lambda: 1600000000.0)


def test_a_dump_takes_the_place_of_the_oldest(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are kept; what is not a dump stays, but for what a dump that was killed has left. Only root can read it."""
    monkeypatch.setattr(dumps, "_AS_POSTGRES", ("/bin/sh", "-c", "echo new", "sh"))
    assert dumps.dump(ctx) == 0
    place = dumps.DIRECTORY / "shop"
    assert sorted(path.name for path in place.iterdir()) == ["20200103T000000Z.dump", "20200913T122640Z.dump", "notes"]
    newest = place / "20200913T122640Z.dump"
    assert newest.read_text() == "new\n" and newest.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("program", ["exit 1", 'test "$1" = pg_dump'])
def test_a_dump_that_fails_costs_no_older_one(ctx: Context, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Neither when it cannot be made, nor when it cannot be read again; nothing half-made stays."""
    monkeypatch.setattr(dumps, "_AS_POSTGRES", ("/bin/sh", "-c", program, "sh"))
    with pytest.raises(HostError, match="failed"):
        dumps.dump(ctx)
    left = [path.name for path in dumps.listed("shop")]
    assert left == ["20200103T000000Z.dump", "20200102T000000Z.dump", "20200101T000000Z.dump"]
    assert not list((dumps.DIRECTORY / "shop").glob("*.part"))
