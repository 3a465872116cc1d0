"""Whether visitors of an app get a maintenance page, and on what terms.

``current`` leads to ``releases/vN``, or in maintenance to ``releases/vN/maintenance``: all of the release by links, but
for its socket, in whose place is that of the maintenance page. So one rename begins it and one ends it, for any proxy.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import field
from typing import Any

from deployer.host.errors import Damaged
from deployer.host.state.paths import AppPaths
from deployer.host.system import files
from deployer.wire.lazydata import dataclass
from deployer.wire.maintenance import MaintenanceRequest
from deployer.wire.protocol import MOST_BY, MOST_MOMENT
from deployer.wire.reader import Reader

DIRECTORY = "maintenance"
"""Within a release: where ``current`` leads in maintenance."""


@dataclass(frozen=True)
class Maintenance:
    """What was asked for, since when (seconds since 1970; 0: unknown) and by whom."""

    request: MaintenanceRequest = field(default_factory=MaintenanceRequest)
    since: float = 0.0
    by: str = ""

    @classmethod
    def parse(cls, value: Any) -> Maintenance:
        """Raises ValueError."""
        read = Reader(value, "maintenance")
        since = read.seconds("since", 0, MOST_MOMENT)
        return cls(MaintenanceRequest.read(read), since, read.text("by", length=MOST_BY))

    def as_json(self) -> dict[str, Any]:
        return {**self.request.as_json(), "since": self.since, "by": self.by}


def is_on(paths: AppPaths) -> bool:
    """Whether ``current`` leads to the page. The link alone decides."""
    try:
        return os.path.basename(os.readlink(str(paths.current))) == DIRECTORY
    except OSError:
        return False


def stored(paths: AppPaths) -> Maintenance:
    """The terms that are written down, whether or not it is on; those of a bare ``on`` when they cannot be read."""
    with contextlib.suppress(ValueError, Damaged, OSError):
        return Maintenance.parse(files.read_json(paths.maintenance))
    return Maintenance()


def find(paths: AppPaths) -> Maintenance | None:
    """The terms; None when maintenance is off."""
    return stored(paths) if is_on(paths) else None


def workers_stopped(paths: AppPaths) -> bool:
    """Whether processes and timers are to stay stopped until maintenance is off."""
    found = find(paths)
    return found is not None and found.request.stop_workers


def target(paths: AppPaths, number: int, *, on: bool) -> str:
    """Where ``current`` is to lead for a release. In maintenance, what it leads to is made first. Raises OSError."""
    name = f"releases/v{number}"
    if not on:
        return name
    _mirror(paths, number)
    return f"{name}/{DIRECTORY}"


def _mirror(paths: AppPaths, number: int) -> None:
    """A directory with a link to each part of the release, complete by now; only its socket is another."""
    release = paths.release(number)
    if (release / DIRECTORY).is_dir():
        return
    made = release / f".{DIRECTORY}{files.TEMPORARY}"
    files.remove_tree(made)
    files.make_directory(made, 0o755)
    files.make_directory(made / "run", 0o755)
    (made / "run" / "web.sock").symlink_to(f"../../../../{paths.maintenance_socket.name}")
    (made / "run" / "probe.sock").symlink_to("../../run/probe.sock")
    for name in files.names(release):
        if name != "run" and not files.is_debris(name):
            (made / name).symlink_to(f"../{name}")
    files.sync_directory(made / "run")
    files.sync_directory(made)
    os.rename(str(made), str(release / DIRECTORY))
    files.sync_directory(release)
