"""A database of the app's own: the distribution's PostgreSQL, a role and a database named after the app.

The app logs in over the Unix socket as its system user, without a password. What is there is never changed: no role, no
database, no setting of the server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from deployer.host.errors import HostError
from deployer.host.setup.software import apt
from deployer.host.setup.software.service import AGAIN, Service
from deployer.host.state.app import Emit
from deployer.host.system import runner
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause

VARIABLE = "DATABASE_URL"
_ADMIN = "postgres"
"""The system user, and the role, that owns the server."""
_PORT = "5432"
_PATIENCE = 30.0
"""Seconds in which a server that was just installed must answer."""

_CREATE = (
    "CREATE DATABASE :\"app\" OWNER :\"app\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
    " ALLOW_CONNECTIONS false"
)
"""Sorted by code point, whatever the host's locale is and becomes: an upgrade of the system's libraries then damages no
index. Closed until other users of the server are kept out, should this be interrupted."""

SERVER_DOWN = Cause(
    "postgresql-down",
    "PostgreSQL is installed, and does not answer on its Unix socket",
    "PostgreSQL on this host does not answer: {why}",
    do("as root on the host: pg_lsclusters   (shows its state and its log), then systemctl start postgresql; then")
    + run("fab setup -H root@HOST", "goes on where it stopped"),
)
NOT_THE_APPS = Cause(
    "database-taken",
    "there is a database of the app's name that belongs to another role",
    "this host has a PostgreSQL database {app!r} that belongs to {owner!r}",
    do("choose another app name in deploy.toml; or, if it is the app's, as root on the host: "
       "runuser -u postgres -- psql -c 'ALTER DATABASE \"{app}\" OWNER TO \"{app}\"'; then")
    + run("fab setup -H root@HOST", "again"),
)  # fmt: skip
NO_PEER = Cause(
    "no-peer-login",
    "the app's system user cannot log in to its database over the Unix socket: pg_hba.conf asks for a password",
    "PostgreSQL does not let the user {app} in over its Unix socket: {why}",
    do('put the line  local "{app}" "{app}" peer  before all others into {file}, then systemctl reload postgresql, as '
       "root on the host; then") + run("fab setup -H root@HOST", "again"),
)  # fmt: skip
CAUSES = (SERVER_DOWN, NOT_THE_APPS, NO_PEER)


def ensure(app: str, emit: Emit) -> Service:
    """Make sure that the server, the role and the database are there, and that the app can log in. Raises HostError."""
    missing = apt.missing(["postgresql"])
    if missing:
        apt.install(missing, emit)
    changed = [f"installed {name}" for name in missing]
    _wait()
    if not _ask("SELECT 1 FROM pg_roles WHERE rolname = :'app'", app):
        _ask('CREATE ROLE :"app" LOGIN', app)
        changed.append(f"role {app}")
    owner = _ask("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :'app'", app)
    if owner not in ("", app):
        raise HostError(**NOT_THE_APPS.told(app=app, owner=owner))
    found, closed = "", _ask("SELECT 1 FROM pg_database WHERE datname = :'app' AND NOT datallowconn", app)
    if owner and not closed:
        found = f"the database {app} holds {_tables(app)} tables, and is left alone"
    else:
        if not owner:
            _ask(_CREATE, app)
        _ask('REVOKE ALL ON DATABASE :"app" FROM PUBLIC', app)
        _ask('ALTER DATABASE :"app" ALLOW_CONNECTIONS true', app)
        changed.append(f"database {app}")
    _try_login(app)
    return Service(VARIABLE, _url(app), tuple(changed), found)


def _tables(app: str) -> str:
    statement = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    return _ask(statement, app, database=app)


def _url(app: str) -> str:
    sockets, port = _place()
    return f"postgresql://{app}@/{app}?host={sockets}" + (f"&port={port}" if port != _PORT else "")


def _place() -> tuple[str, str]:
    """The directory of the server's socket, and the number in its name."""
    return _ask("SHOW unix_socket_directories").split(",")[0].strip(), _ask("SHOW port")


def _wait() -> None:
    deadline = time.monotonic() + _PATIENCE
    while not (done := _psql("SELECT 1")).ok:
        if time.monotonic() > deadline:
            raise HostError(**SERVER_DOWN.told(why=" ".join(done.tail(1))), logs=done.tail())
        time.sleep(0.5)


def _try_login(app: str) -> None:
    """It must do so by itself, as its own system user."""
    sockets, port = _place()
    done = _psql("SELECT 1", database=app, user=app, options=["-h", sockets, "-p", port])
    if not done.ok:
        why = " ".join(done.tail(1))
        raise HostError(**NO_PEER.told(app=app, why=why, file=_ask("SHOW hba_file")), logs=done.tail())


def answers() -> bool:
    """Whether the server answers now. Raises HostError when it is not installed."""
    return _psql("SELECT 1").ok


def has_database(app: str) -> bool:
    """Whether the server runs here and has a database of the app's role. Never raises."""
    statement = "SELECT 1 FROM pg_database WHERE datname = :'app' AND pg_get_userbyid(datdba) = :'app'"
    try:
        done = _psql(statement, options=["-v", f"app={app}"])
    except HostError:  # there is no psql here
        return False
    return done.ok and done.out.strip() == "1"


def drop(app: str) -> list[str]:
    """Remove the app's database, with the connections that are open to it, and its role. Raises HostError when the
    server does not do it."""
    if not has_database(app):
        return []
    _ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'app'", app)
    _ask('DROP DATABASE :"app"', app)
    _ask('DROP ROLE IF EXISTS :"app"', app)
    return [f"database {app}"]


def _ask(statement: str, app: str = "", *, database: str = _ADMIN) -> str:
    """What a statement of the server's admin answers; psql fills in and quotes ``:'app'`` and ``:"app"``. Raises
    HostError."""
    done = _psql(statement, database=database, options=["-v", f"app={app}"])
    if not done.ok:
        raise HostError(f"PostgreSQL refuses: {statement}", logs=done.tail(), next=AGAIN)
    return done.out.strip()


def _psql(
    statement: str, *, database: str = _ADMIN, user: str = _ADMIN, options: Sequence[str] = ()
) -> runner.CommandResult:
    quiet = ["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1"]
    return runner.run(["psql", *quiet, *options, "-d", database], user=user, stdin=statement.encode())
