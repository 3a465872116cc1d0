"""A command in a transient unit of its own that somebody waits for: begun again only when it never began.

A systemd that is executed again drops the request to start a unit, or only the answer to it. Which of the two it was is
told by the unit's runtime directory: systemd makes it just before it begins the unit's process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Callable

from deployer.host.state.app import Context
from deployer.host.system import files, orders, runner, systemd

_TRIES, _PAUSE = 10, 0.25
_UNDER_WAY = ("active", "activating", "reloading", "deactivating")


def run(
    ctx: Context, unit: str, settings: Sequence[str], argv: Sequence[str], on_line: Callable[[str], None]
) -> tuple[int, bool]:
    """Its exit status, and whether it ever began. What it prints goes to ``on_line``.

    Who waits for the unit may lose sight of it. Then the unit itself tells: one that failed is still known as failed.
    """
    name = unit.rpartition(".")[0]
    mark = ctx.paths.root / "run" / name
    lines = [*settings, f"RuntimeDirectory={name}", "RuntimeDirectoryPreserve=yes"]
    command = systemd.transient(unit, lines, argv, wait=True, collect=False)
    status, begun = 1, False
    try:
        files.remove_tree(mark)  # once: one that comes later is of a start that was heard after all
        for _ in range(_TRIES):
            orders.ensure_free(unit)
            status = runner.stream(command, on_line)
            if status == 0:
                return 0, True
            state = _end(unit)
            begun, failed = mark.exists(), state.active == "failed"
            if begun or (failed and not state.cut_short):
                return (status if failed else 0), True
            time.sleep(_PAUSE)
        return status, begun
    finally:
        systemd.systemctl("reset-failed", unit)
        files.remove_tree(mark)


def _end(unit: str) -> systemd.UnitState:
    """Its state once nothing of it is under way: a start that was heard after all is waited for."""
    while (state := systemd.show(unit)).queued or state.active in _UNDER_WAY:
        time.sleep(_PAUSE)
    return state
