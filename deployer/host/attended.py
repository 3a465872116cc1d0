"""A command in a transient unit of its own that somebody waits for: begun again only when it never began.

A systemd that is executed again drops the request to start a unit, or only the answer to it. Which of the two it was is
told by the unit's runtime directory: systemd makes it just before it begins the unit's process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from deployer.host import files, systemd
from deployer.host.context import Context

_TRIES, _PAUSE = 10, 0.25
_UNDER_WAY = ("active", "activating", "reloading", "deactivating")


def run(
    ctx: Context, unit: str, settings: Sequence[str], argv: Sequence[str], on_line: Callable[[str], None]
) -> tuple[int, bool]:
    """Its exit status, and whether it ever began. What it prints goes to ``on_line``."""
    name = unit.rpartition(".")[0]
    mark = ctx.paths.root / "run" / name
    lines = [*settings, f"RuntimeDirectory={name}", "RuntimeDirectoryPreserve=yes"]
    status, begun = 1, False
    try:
        for _ in range(_TRIES):
            files.remove_tree(mark)
            status = systemd.stream(systemd.transient(unit, lines, argv, wait=True), on_line)
            begun = status == 0 or _has_begun(unit, mark)
            if begun:
                break
            time.sleep(_PAUSE)
        return status, begun
    finally:
        files.remove_tree(mark)


def _has_begun(unit: str, mark: Path) -> bool:
    """Whether the unit's process began. A start that was heard after all is waited for."""
    while not mark.exists():
        state = systemd.show(unit)
        if not state.queued and state.active not in _UNDER_WAY:
            return mark.exists()
        time.sleep(_PAUSE)
    return True
