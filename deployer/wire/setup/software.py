"""What ``fab setup`` installs on a host for an app: an interpreter, the distribution's packages, data services."""

from __future__ import annotations

from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.reader import Reader
from deployer.wire.release.versions import OPTIONAL_PYTHON, REQUIRES

PACKAGE = pattern(r"[a-z0-9][a-z0-9.+-]{0,98}[a-z0-9+]\Z")
"""The name of a Debian package. It ends in no ``-``, which would tell apt-get to remove it."""
MOST_PACKAGES = 100
MIRROR = pattern(r"(?:https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|file://)(?:/[A-Za-z0-9._~%+-]+)*/?\Z")
"""Where interpreters come from. No user and no password: the file is readable by all."""
MIRROR_LENGTH = 1024
BACKUPS = (0, 3660)
"""Dumps of a database that are kept, one a day."""
REDIS_MEMORY = (1 << 20, 1 << 40)
"""Bytes of data that an app's Redis may hold."""

_MIRROR = pattern(rf"(?:{MIRROR.pattern})?\Z")


@dataclass(frozen=True)
class Postgresql:
    """A database of the app's own. ``backups`` is how many daily dumps are kept; 0: none is made."""

    backups: int

    @classmethod
    def parse(cls, value: Any) -> Postgresql:
        """Raises ValueError."""
        read = Reader(value, "postgresql")
        service = cls(backups=read.integer("backups", *BACKUPS))
        read.done()
        return service


@dataclass(frozen=True)
class Redis:
    """A Redis of the app's own. ``memory`` is the most bytes of data."""

    memory: int

    @classmethod
    def parse(cls, value: Any) -> Redis:
        """Raises ValueError."""
        read = Reader(value, "redis")
        service = cls(memory=read.integer("memory", *REDIS_MEMORY))
        read.done()
        return service


@dataclass(frozen=True)
class Software:
    """``python`` is the version that releases are to have (``3.13``), ``requires`` what the project says of it
    (``>=3.12``); both may be empty. ``mirror`` is where interpreters come from, if not from their makers. ``upgrade``:
    bring uv, and an interpreter that it installed, up to date.
    """

    python: str = ""
    requires: str = ""
    mirror: str = ""
    upgrade: bool = False
    packages: tuple[str, ...] = ()
    postgresql: Postgresql | None = None
    redis: Redis | None = None

    @classmethod
    def parse(cls, value: Any) -> Software:
        """Raises ValueError naming the key that is refused."""
        read = Reader(value, "software")
        postgresql, redis = read.raw("postgresql"), read.raw("redis")
        software = cls(
            python=read.text("python", OPTIONAL_PYTHON),
            requires=read.text("requires", REQUIRES),
            mirror=read.text("mirror", _MIRROR, MIRROR_LENGTH),
            upgrade=read.boolean("upgrade"),
            packages=read.texts("packages", PACKAGE, MOST_PACKAGES),
            postgresql=None if postgresql is None else Postgresql.parse(postgresql),
            redis=None if redis is None else Redis.parse(redis),
        )
        read.done()
        return software


NOTHING = Software()
