"""The weekly scrub: all code and all environments that a host keeps of an app are read from the disk, when nobody else
uses it. What a disk loses by itself shows in nothing else (:mod:`deployer.host.state.contents`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deployer.host.state.app import Context
from deployer.host.state.paths import scrub_unit
from deployer.host.state.store import Store
from deployer.host.system import files, idle, systemd
from deployer.host.units.unitfile import unit_text
from deployer.wire.protocol import PROGRAM, Exit

UNITS = Path("/etc/systemd/system")
COMMAND = "scrub"
"""The command of the host program that does it."""
_TIMER = [("OnCalendar", "Sun *-*-* 02:00"), ("RandomizedDelaySec", "8h"), ("Persistent", "yes")]


def ensure(app: str) -> list[str]:
    """Make sure that a timer scrubs once a week. Returns what was changed. Raises HostError, OSError."""
    timer = scrub_unit(app, "timer")
    changed = [str(UNITS / name) for name, text in texts().items() if files.write_if_changed(UNITS / name, text)]
    if changed:
        systemd.require("daemon-reload")
    if systemd.systemctl("is-enabled", timer).out.strip() != "enabled" or systemd.show(timer).active != "active":
        systemd.require("enable", "--now", timer)
        changed.append(f"{timer} reads what is kept once a week")
    return changed


def texts() -> dict[str, str]:
    """The templates of all apps' units, by name: ``%i`` is the app. Pure."""
    service = [
        ("Type", "oneshot"),
        ("ExecStart", f"{PROGRAM} {COMMAND} %i"),
        *idle.SETTINGS,
        ("ProtectSystem", "full"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("TimeoutStartSec", "infinity"),
    ]
    description = ("Description", "scrub of the releases of %i")
    what = "reads all code and environments of each app once a week"
    wanted = ("Install", [("WantedBy", "timers.target")])
    return {
        scrub_unit("", "service"): unit_text(what, ("Unit", [description]), ("Service", service)),
        scrub_unit("", "timer"): unit_text(what, ("Unit", [description]), ("Timer", _TIMER), wanted),
    }


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
            damage = store.damage(key)
            if not damage or store.record(key) is None:  # a job has removed it meanwhile
                continue
            store.mark_damaged(key, damage)
        names = [release.name for release in ctx.catalog.all() if getattr(release, field) == key]
        yield f"the {what} of {', '.join(names) or 'no release'} is damaged: {damage}"
