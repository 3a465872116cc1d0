"""The weekly scrub: all code and all environments that a host keeps of an app are read from the disk, when nobody else
uses it. What a disk loses by itself shows in nothing else (:mod:`deployer.host.state.content.contents`)."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.host.setup import timers
from deployer.host.state.app import Context
from deployer.host.state.content.damage import damage_of, mark_damaged
from deployer.host.state.content.store import Store
from deployer.host.state.paths import scrub_unit
from deployer.host.system import idle
from deployer.wire.protocol import PROGRAM, Exit

COMMAND = "scrub"
"""The command of the host program that does it."""


def ensure(app: str) -> list[str]:
    """Make sure that a timer scrubs once a week. Returns what was changed. Raises HostError, OSError."""
    timer = scrub_unit(app, "timer")
    changed = templates().write()
    return [*changed, f"{timer} reads what is kept once a week"] if timers.enable(timer) else changed


def templates() -> timers.Templates:
    """The units' templates. Pure."""
    return timers.Templates.of(
        scrub_unit("", "service"),
        scrub_unit("", "timer"),
        "reads all code and environments of each app once a week",
        description="scrub of the releases of %i",
        runs=[("ExecStart", f"{PROGRAM} {COMMAND} %i"), *idle.SETTINGS, ("TimeoutStartSec", "infinity")],
        starts=[("OnCalendar", "Sun *-*-* 02:00"), ("RandomizedDelaySec", "8h")],
    )


def scrub(ctx: Context) -> int:
    """Read all that is kept, and mark what is damaged: no release uses it from then on. Prints what it found; the exit
    status."""
    found = [*_damaged(ctx, ctx.trees, "tree", "code"), *_damaged(ctx, ctx.venvs, "venv", "virtual environment")]
    for text in found:
        print(text)
    print("next: fab deploy   (builds it anew); check the disk, too" if found else "all that is kept is whole")
    return int(Exit.REFUSED if found else Exit.OK)


def _damaged(ctx: Context, store: Store, field: str, what: str) -> Iterator[str]:
    for key in store.all_keys():
        record = store.record(key)
        if record is None:
            continue
        damage = str(record.get("damaged") or "")
        if not damage:
            damage = damage_of(store, key)
            if not damage or store.record(key) is None:  # a job has removed it meanwhile
                continue
            mark_damaged(store, key, damage)
        names = [release.name for release in ctx.catalog.all() if getattr(release, field) == key]
        yield f"the {what} of {', '.join(names) or 'no release'} is damaged: {damage}"
