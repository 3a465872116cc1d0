"""The version of the contract, its names, phases, barriers and exit codes, and one message as bytes."""

from __future__ import annotations

import enum
import json
from typing import Any

from deployer.wire.lazyre import pattern

PROTOCOL = 8
"""Raised whenever an old host program and a new laptop (or the reverse) could misunderstand each other."""

APP = pattern(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
APP_LENGTH = 24
"""App names also name Unix users (32 characters at most) and units."""
RESERVED_APP = pattern(r"deployer(-.*)?\Z|.*-(build|migrate|lease)\Z")
"""Apps of these names would meet the units and directories that deployer itself has for other apps."""
USER = pattern(r"[a-z_][a-z0-9_-]{0,31}\Z")
"""The name of a Unix user that deploys; not ``root``, nor that of the app."""
PROCESS = pattern(r"[a-z][a-z0-9_]*\Z")
"""The name of a kind of process, or of a timer. No dash: ``shop-web-a`` could be a unit of the app ``shop-web``."""
PROCESS_LENGTH = 24
WEB = "web"
"""The kind of process that answers requests: the one whose name is not the user's."""
RELEASE = pattern(r"v[1-9][0-9]{0,8}\Z")
MOST_BY = 256
"""Characters of who asked for a job."""
DIGEST = pattern(r"[0-9a-f]{64}\Z")
ENV_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*\Z")

MOST_NUMBER = 999_999_999
"""The last release there can be: RELEASE has nine digits."""
MOST_MOMENT = 1e11
"""The last moment that is one, in seconds since 1970: a clock that is wrong is earlier, too."""
MOST_MISSED = 100_000
"""Releases that a host may have missed of its fleet's: so far may one request raise its number. A host that joins late
comes from v1; ten releases a day make this many in 27 years."""

PHASES = ("upload", "build", "install", "start", "migrate", "check", "switch", "drain", "watch")
"""In the order they run. Up to ``check`` no one but the health check reaches the new release."""

BEHIND_THE_SWITCH = PHASES[PHASES.index("switch") :]
"""The phases of a release that may have traffic already."""

BARRIERS = ("migrate", "check", "switch", "keep")
"""Where the job of a fleet waits for the laptop's ``go``: before these phases; ``keep`` is the end of the watch."""

SWITCH_BARRIERS = ("switch", "keep")
"""Those of a release that has been through all that precedes its switch."""

FLEET_LEASE = 60.0
"""Seconds without a keep-alive after which a job at a barrier decides by itself."""

LEASE = 900
"""Seconds that a release is held between two phases that are run one by one."""

HOLD = 60
"""Seconds without a keep-alive after which a session that needs them ends."""

PROGRAM = "/usr/local/lib/deployer/deployer-host"
"""The root-owned program on the host; sudoers names it."""


class Exit(enum.IntEnum):
    """Exit codes, each with one meaning for what serves afterwards."""

    OK = 0
    BUG = 1
    USAGE = 2
    UNREACHABLE = 3
    BUSY = 4
    REFUSED = 5
    ROLLED_BACK = 6
    MIXED = 7
    INTERRUPTED = 130


def standing(phase: str, waits: str) -> str:
    """How far a job is, for people. One that ``waits`` at a barrier has done all of its last phase but at ``keep``."""
    if waits == "keep":
        return f"at {phase}, until its fleet is through"
    return f"waiting for its fleet before {waits}" if waits else f"at {phase or 'its start'}"


def dumps(message: dict[str, Any]) -> bytes:
    """One message as one line of UTF-8 JSON. A lone surrogate (a byte that was no UTF-8) becomes ``?``."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
