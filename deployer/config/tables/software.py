"""``[host]``: what ``fab setup`` installs on the hosts besides what deployer itself needs."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from deployer.config import check
from deployer.config.check import Invalid
from deployer.config.declare import key, text, whole
from deployer.wire.setup.software import BACKUPS, MIRROR, MIRROR_LENGTH, MOST_PACKAGES, PACKAGE, REDIS_MEMORY


# fmt: off
class PostgresqlConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A PostgreSQL database on the host itself, for the app alone: the distribution's server, a role and a database
    named after the app, which logs in over the Unix socket as its system user, without a password. The app gets
    `DATABASE_URL`, unless `[env]` or the `env_file` sets it. For a database elsewhere set `DATABASE_URL` instead."""

    backups: Annotated[int, whole(
        "How many daily dumps of the database are kept, in `/var/backups/deployer` on the host. 0: none is made.",
        BACKUPS)] = 7


class RedisConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Redis on the host itself, for the app alone: the distribution's server, over a Unix socket that only the app
    and its deploy user can open. The app gets `REDIS_URL`, unless `[env]` or the `env_file` sets it."""

    memory: Annotated[str, key(
        "How much data it may hold. When that is reached, it refuses to store more.",
        'an amount such as "64M" or "2G"', pattern=f"^{check.SIZE.pattern}")] = "128M"

    def __post_init__(self) -> None:
        low, high = REDIS_MEMORY
        if not low <= self.memory_bytes <= high:
            raise Invalid("memory", 'must be an amount from "1M" to "1T"')

    @property
    def memory_bytes(self) -> int:
        return check.memory_bytes(self.memory) or 0


class HostConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `fab setup` installs on the hosts, besides what deployer itself needs."""

    packages: Annotated[tuple[Annotated[str, text(PACKAGE.pattern, 100)], ...], key(
        "Packages of the hosts' distribution that the app needs, such as libraries and programs. They are installed by "
        "apt, and never removed.",
        'a list of packages such as ["libpq5", "gettext"]', max_length=MOST_PACKAGES)] = ()
    python_mirror: Annotated[Annotated[str, Meta(pattern=f"^{MIRROR.pattern}", max_length=MIRROR_LENGTH)] | None, key(
        "Where a Python comes from that the host lacks: a mirror of "
        "`https://github.com/astral-sh/python-build-standalone/releases/download`. Left out: what the host's own "
        "`/etc/uv/uv.toml` or `UV_PYTHON_INSTALL_MIRROR` in its `/etc/environment` says, else that address.",
        'a URL such as "https://mirror.example.com/python-build-standalone", without a password')] = None
    postgresql: Annotated[PostgresqlConfig | None, key(
        PostgresqlConfig.__doc__ or "", "a table, which may be empty: [host.postgresql]")] = None
    redis: Annotated[RedisConfig | None, key(
        RedisConfig.__doc__ or "", "a table, which may be empty: [host.redis]")] = None

    def __post_init__(self) -> None:
        for index, name in enumerate(self.packages):
            if name in self.packages[:index]:
                raise Invalid("packages", f"{name} is named twice", f"[{index}]")

    @property
    def services(self) -> tuple[str, ...]:
        """The data services that are wanted, by their keys."""
        return tuple(name for name in ("postgresql", "redis") if getattr(self, name) is not None)
# fmt: on
