"""The host's own timers: templates of a timer and of its service for all apps, whose ``%i`` is the app."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deployer.host.system import files, systemd
from deployer.host.units.unitfile import Lines, unit_text
from deployer.wire.lazydata import dataclass

UNITS = Path("/etc/systemd/system")
_COMMON = (("Type", "oneshot"), ("ProtectSystem", "full"), ("ProtectHome", "yes"), ("PrivateTmp", "yes"))


@dataclass(frozen=True)
class Templates:
    """The text of each unit file, by its name."""

    texts: Mapping[str, str]

    @classmethod
    def of(
        cls, service: str, timer: str, what: str, *, description: str, runs: Lines, starts: Lines, unit: Lines = ()
    ) -> Templates:
        """Those of the units ``service`` and ``timer``: what it ``runs``, and what ``starts`` it. Pure."""
        named = ("Description", description)
        return cls({
            service: unit_text(what, ("Unit", [named, *unit]), ("Service", [*_COMMON, *runs])),
            timer: unit_text(
                what, ("Unit", [named]), ("Timer", [*starts, ("Persistent", "yes")]),
                ("Install", [("WantedBy", "timers.target")]),
            ),
        })  # fmt: skip

    def write(self) -> list[str]:
        """Write the files that differ; the paths of these. Raises HostError, OSError."""
        changed = [str(UNITS / name) for name, text in self.texts.items() if files.write_if_changed(UNITS / name, text)]
        if changed:
            systemd.require("daemon-reload")
        return changed


def is_enabled(timer: str) -> bool:
    return systemd.systemctl("is-enabled", timer).out.strip() == "enabled"


def enable(timer: str) -> bool:
    """Make sure that one app's timer runs, now and after a boot. Whether it was not enabled, or did not run. Raises
    HostError."""
    if is_enabled(timer) and systemd.show(timer).active == "active":
        return False
    systemd.require("enable", "--now", timer)
    return True
