"""All data services of an app on its host."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from deployer.host.setup.software import dumps, postgresql, redis
from deployer.host.setup.software.service import Service
from deployer.host.state.app import Emit
from deployer.host.state.paths import dump_unit, redis_unit
from deployer.wire.setup.software import Software


def ensure(app: str, software: Software, without: Collection[str], emit: Emit) -> list[Service]:
    """Make sure that those that are wanted are there. Raises HostError."""
    found = []
    if software.postgresql is not None:
        database = postgresql.ensure(app, emit)
        made = dumps.ensure(app, software.postgresql.backups)
        found.append(replace(database, changed=(*database.changed, *made)))
    if software.redis is not None:
        found.append(redis.ensure(app, software.redis.memory, without, emit))
    return found


def left(app: str, before: Mapping[str, str], wanted: Sequence[Service]) -> Iterator[str]:
    """What is said of services of an earlier set-up that deploy.toml no longer names: nobody but an admin removes
    data."""
    gone = set(before) - {one.variable for one in wanted}
    if postgresql.VARIABLE in gone:
        yield (
            f"[host.postgresql] is no longer in deploy.toml: the database {app} and its dumps stay, and "
            f"{dump_unit(app, 'timer')} goes on; new releases get no {postgresql.VARIABLE} from the host"
        )
    if redis.VARIABLE in gone:
        yield (
            f"[host.redis] is no longer in deploy.toml: {redis_unit(app)} and its data stay; new releases get no "
            f"{redis.VARIABLE} from the host"
        )
