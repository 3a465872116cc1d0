"""Why an app's process, command or health check fails: the causes that are recognized, and what to do about each.

``diagnosis`` finds them; the failures page of the docs is made from these rows.
"""

from __future__ import annotations

from deployer.wire.advice import do, run
from deployer.wire.cause import Cause

_AGAIN = run("fab deploy")
_LOGS = run("fab logs -n 200", "the full log")

APP_ERROR = Cause(
    "app-error",
    "the process ends or fails for none of the causes listed here",
    "",
    _LOGS + do("fix it, commit, then") + _AGAIN,
)
COMMAND_ERROR = Cause(
    "command-error",
    "a command of the build or a check fails for none of the causes listed here",
    "",
    do("its output is above: run it by hand to see it fail, fix it, commit, then") + _AGAIN,
)
MISSING_PACKAGE = Cause(
    "missing-package",
    "`ModuleNotFoundError` names a module that is not in the project's code",
    "the module {module} is not installed: no locked dependency contains it",
    do("add the package to the dependencies, lock them (uv add, uv lock or requirements.txt), commit, then") + _AGAIN,
)
MISSING_MODULE = Cause(
    "missing-module",
    "`ModuleNotFoundError` names a module inside one of the project's own packages",
    "the code that was shipped has no module {module}",
    do("check that it is committed, and spelled as it is imported; ignored files ship only if include names them")
    + run("git status --ignored")
    + _AGAIN,
)
MISSING_VARIABLE = Cause(
    "missing-variable",
    "`KeyError` of `os.environ`, `UndefinedValueError` (decouple) or `ImproperlyConfigured` (Django) names a variable",
    "the environment variable {name} is not set",
    run("fab env.set {name}", "asks for its value, and keeps it on the hosts")
    + do("or, if it is not secret, set {name} in [env] of deploy.toml; then")
    + _AGAIN
    + do("or {other}"),
)
NO_DATABASE = Cause(
    "no-database",
    "an `OperationalError` that is raised while connecting, or a refused connection (`[Errno 111]`)",
    "it cannot connect to {what}",
    do("check that it runs, that this host can reach it, and its settings in [env] or env_file; then")
    + _AGAIN
    + do(
        "or have one on the host itself: [host.postgresql] or [host.redis] in deploy.toml, then fab setup -H root@HOST"
    ),
)
_PACKAGES = (
    do("add {packages} to packages under [host] in deploy.toml; then")
    + run("fab setup -H root@HOST", "installs it")
    + _AGAIN
)
MISSING_TO_BUILD = Cause(
    "missing-to-build",
    "a compiler, a header or a `…-config` program is named as missing (`Python.h`, `libpq-fe.h`, `gcc`, `pg_config`): "
    "a dependency has no wheel for this Python, and is built on the host",
    "{what} is not installed on this host",
    _PACKAGES + do("or lock a version of the dependency that has a wheel for this Python"),
)
MISSING_LIBRARY = Cause(
    "missing-library",
    "a shared library cannot be loaded (`libpq.so.5: cannot open shared object file`, Django's GDAL and GEOS)",
    "{what} is not installed on this host",
    _PACKAGES,
)
MISSING_PROGRAM = Cause(
    "missing-program",
    "a shell, `subprocess` or Django names a program that is not found (`msgfmt`, `npm`, `ffmpeg`)",
    "{what} is not installed on this host",
    _PACKAGES,
)
LACKING = (MISSING_TO_BUILD, MISSING_LIBRARY, MISSING_PROGRAM)
"""What a package of the host's distribution mends."""
READ_ONLY_CODE = Cause(
    "read-only-code",
    "`[Errno 30]` or `[Errno 13]` for a path in the release, or SQLite cannot open or write its file",
    "it writes{path}, but its code is read-only after the build",
    do("let the app write below $STATE_DIRECTORY (/var/lib/{app}), and create what belongs to the code in the build; "
       "commit, then") + _AGAIN,
)  # fmt: skip
NOT_ALLOWED = Cause(
    "not-allowed",
    "`[Errno 13]` or `[Errno 1]` for any other path",
    "the app's user has no permission for {path}",
    do("give the user {app} permission on the host, or relax the confinement in [web.unit] of deploy.toml; then")
    + _AGAIN,
)
DISK_FULL = Cause(
    "app-disk-full",
    "`[Errno 28]`",
    "a file system is full",
    do("free space on the host (df -h), then") + _AGAIN,
)
PORT_IN_USE = Cause(
    "port-in-use",
    "`[Errno 98]`, or gunicorn's message for it",
    "it binds an address that is in use",
    do("the app gets its socket from systemd: take bind, --bind, --port out of [web], its arguments and its settings "
       "(a free command serves on file descriptor 3); then") + _AGAIN,
)  # fmt: skip
NO_MEMORY = Cause(
    "no-memory",
    "systemd reports `oom-kill`, or it raises `MemoryError`",
    "it ran out of memory",
    do("use fewer workers, more memory or swap, or a higher MemoryMax; or set overlap = false under [web], so that one "
       "generation runs at a time") + _LOGS + _AGAIN,
)  # fmt: skip
KILLED = Cause(
    "killed",
    "the process is killed by SIGKILL (137), and systemd does not report `oom-kill`",
    "it was killed by SIGKILL, as the kernel does when memory is short",
    do("the kernel's log says whether memory was short: on the host, as root, journalctl -k")
    + run("fab logs -n 200", "the full log")
    + _AGAIN,
)
HEALTH_HOST = Cause(
    "health-host",
    "the health check is answered 400",
    "",
    do('set a name that ALLOWED_HOSTS has: health = {{ host = "shop.example.com" }} under [web] in deploy.toml; then')
    + _AGAIN,
)
HEALTH_PATH = Cause(
    "health-path",
    "the health check is answered 404, 405 or 410",
    "",
    do('name a page of the app instead of {path}: health = {{ path = "/" }} under [web] in deploy.toml; then') + _AGAIN,
)
HEALTH_LOGIN = Cause(
    "health-login",
    "the health check is answered 401, 403, 407 or a redirect that health.status does not accept",
    "",
    do("let health.path under [web] in deploy.toml name a page that needs no login, over https, or add the status to "
       "health.status; then") + _AGAIN,
)  # fmt: skip
HEALTH_SLOW = Cause(
    "health-slow",
    "no response comes within health.timeout, and the process runs",
    "",
    do("find what it waits for")
    + _LOGS
    + do("or allow more time: health = {{ timeout = … }} under [web] in deploy.toml (now {timeout:g} s); then")
    + _AGAIN,
)
MIGRATION_NEVER_BEGAN = Cause(
    "migration-never-began",
    "the migration prints a traceback first, and no migration is in it",
    "it failed before it touched the database",
    _AGAIN,
)
MIGRATION_BROKE_OFF = Cause(
    "migration-broke-off",
    "the migration fails in any other way: what it has done is unknown",
    "",
    do("check the database: whatever the migration did before it failed is not undone") + _AGAIN,
)

CAUSES = (
    APP_ERROR, COMMAND_ERROR, MISSING_PACKAGE, MISSING_MODULE, MISSING_VARIABLE, MISSING_TO_BUILD, MISSING_LIBRARY,
    MISSING_PROGRAM, NO_DATABASE, READ_ONLY_CODE, NOT_ALLOWED, DISK_FULL, PORT_IN_USE, NO_MEMORY, KILLED, HEALTH_HOST,
    HEALTH_PATH, HEALTH_LOGIN, HEALTH_SLOW, MIGRATION_NEVER_BEGAN, MIGRATION_BROKE_OFF,
)  # fmt: skip
