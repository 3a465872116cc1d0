"""``[web]`` and ``[web.health]``: what answers requests, and how it proves that it can."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from deployer.config import check
from deployer.config.check import Invalid
from deployer.config.declare import key, seconds, whole
from deployer.wire.reader import MOST_ITEMS
from deployer.wire.release.health import HEALTHY, HOST_HEADER, HOST_LENGTH, MOST_RANGES, SETTLE, URL_LENGTH, URL_PATH
from deployer.wire.release.processes import TARGET, TARGET_LENGTH, WORKERS

WSGI_SERVERS = ("gunicorn",)
ASGI_SERVERS = ("uvicorn", "hypercorn")
Callable = Annotated[str, Meta(pattern=f"^{TARGET.pattern}", max_length=TARGET_LENGTH)]
UnitTable = dict[str, str | int | bool | tuple[str | int, ...]]


# fmt: off
class HealthConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a candidate proves that it can serve."""

    path: Annotated[str, key(
        "What is requested. A page that is quick and needs the database is a good choice.",
        'a path such as "/healthz", without spaces', pattern=f"^{URL_PATH.pattern}", max_length=URL_LENGTH)] = "/"
    host: Annotated[Annotated[str, Meta(pattern=f"^{HOST_HEADER.pattern}", max_length=HOST_LENGTH)] | None, key(
        "The Host header of the check: one that the app accepts (Django: ALLOWED_HOSTS). Left out: the first "
        "one of `proxy.domains`, else localhost.",
        'a host name such as "shop.example.com"')] = None
    status: Annotated[tuple[str, ...], key(
        "The statuses that count as healthy.",
        'a status such as "200", a range such as "200-399", or a list of them',
        min_length=1, max_length=MOST_RANGES)] = ("200-399",)
    timeout: Annotated[float, seconds(
        "Within how many seconds of its start the candidate must be healthy.", HEALTHY)] = 30.0
    settle: Annotated[float, seconds(
        "How many seconds the candidate must then stay up and healthy before it gets traffic.", SETTLE)] = 3.0

    def __post_init__(self) -> None:
        check.statuses("status", self.status)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The statuses as (first, last) pairs."""
        bounds = (item.partition("-") for item in self.status)
        return tuple((int(first), int(last or first)) for first, _, last in bounds)


class WebConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes that answer requests."""

    wsgi: Annotated[Callable | None, key(
        "The WSGI callable. One of `wsgi`, `asgi` and `command`; all left out: found from manage.py.",
        'a callable such as "shop.wsgi:application"')] = None
    asgi: Annotated[Callable | None, key(
        "The ASGI callable.", 'a callable such as "shop.asgi:application"')] = None
    command: Annotated[str | None, key(
        "A command of your own instead of a server that deployer knows. It must serve on the listening "
        "socket that systemd hands it as file descriptor 3.", "a command, in one line")] = None
    server: Annotated[Literal["gunicorn", "uvicorn", "hypercorn"] | None, key(
        "The server that runs the callable; it must be among the app's dependencies. Left out: gunicorn for "
        "`wsgi`, uvicorn for `asgi`.",
        '"gunicorn" (wsgi), or "uvicorn" or "hypercorn" (asgi)')] = None
    workers: Annotated[int, whole("How many worker processes serve.", WORKERS)] = 4
    args: Annotated[tuple[str, ...], key(
        "More arguments for the server.", 'a list of strings such as ["--threads", "4"]', max_length=MOST_ITEMS)] = ()
    memory: Annotated[Annotated[str, Meta(pattern=check.SIZE.pattern)] | None, key(
        "The memory that all processes of one release need together. When it is given, a host without room "
        "for two releases is found before anything starts.",
        'an amount such as "300M" or "2G"')] = None
    overlap: Annotated[bool, key(
        "Whether the old and the new release run side by side during a handover. `false` suits hosts too "
        "small for both: requests then wait in the socket while the new one starts, and a bad release costs "
        "a second start.",
        "true or false")] = True
    health: Annotated[HealthConfig, key(HealthConfig.__doc__ or "", "a table")] = field(default_factory=HealthConfig)
    unit: Annotated[UnitTable, key(
        "systemd directives that replace those of the generated service, for example `MemoryMax = '1G'`. The "
        "host holds the list of those that are allowed.",
        "a table whose values are strings, whole numbers, true, false, or lists of them")] = {}

    def __post_init__(self) -> None:
        self._check_kind()
        check.arguments("args", self.args)
        check.unit_table("unit", self.unit)
        check.memory("memory", self.memory)
        if self.command is not None:
            check.program("command", self.command)

    def _check_kind(self) -> None:
        given = [name for name in ("wsgi", "asgi", "command") if getattr(self, name) is not None]
        if len(given) > 1:
            raise Invalid(given[1], f"cannot be set beside {given[0]}: choose one")
        if self.command is not None and (self.server or self.args):
            raise Invalid("server" if self.server else "args", "has no meaning beside command")
        if self.wsgi and self.server and self.server not in WSGI_SERVERS:
            raise Invalid("server", f'must be "gunicorn" for wsgi; {self.server} serves asgi')
        if self.asgi and self.server and self.server not in ASGI_SERVERS:
            raise Invalid("server", f'must be "uvicorn" or "hypercorn" for asgi; {self.server} serves wsgi')
        if self.asgi and self.asgi.endswith("()"):
            raise Invalid("asgi", 'must not end in "()"; for a factory set args = ["--factory"]')

    @property
    def server_name(self) -> str | None:
        """The server that runs the callable; None for a command, and as long as nothing is chosen."""
        return self.server or ("gunicorn" if self.wsgi else "uvicorn" if self.asgi else None)

    @property
    def memory_bytes(self) -> int | None:
        """``memory`` in bytes."""
        return check.memory_bytes(self.memory)
# fmt: on
