"""The unit directives that ``[web.unit]`` in deploy.toml may set: those that cannot give the app more than its user
has.

Root can allow more for an app at setup. Each value is checked here as strictly as systemd would, and ``systemd-analyze
verify`` checks again: systemd itself skips a line that it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from deployer.host.errors import BadRequest
from deployer.host.units.confinement import REPEATABLE
from deployer.wire.advice import do, run
from deployer.wire.release.processes import Unit

_BYTES = r"(?:\d+(?:\.\d+)?[KMGT]?|\d+(?:\.\d+)?%|infinity)"
_TIME = r"(?:\d+(?:\.\d+)?(?:us|ms|s|min|m|h)?(?: \d+(?:ms|s|min|m|h))*|infinity)"
_BOOL = r"(?:yes|no|true|false)"
_NUMBER = r"(?:\d+|infinity)"
_PATHS = r"[-+]?/[^\s%\\\x00-\x1f\x7f]*(?: [-+]?/[^\s%\\\x00-\x1f\x7f]*)*"
_MOUNT = r"(?:mode=[0-7]{3,4}|size=\d+[KMG%]?|nr_inodes=\d+|ro|noexec|nosuid|nodev)"

ALLOWED: Mapping[str, str] = {
    # resources
    "MemoryMax": _BYTES, "MemoryHigh": _BYTES, "MemorySwapMax": _BYTES, "CPUQuota": r"\d+%", "CPUWeight": r"\d+|idle",
    "IOWeight": r"\d+", "TasksMax": _NUMBER + r"|\d+%", "LimitNOFILE": rf"{_NUMBER}(?::{_NUMBER})?",
    "LimitNPROC": _NUMBER,
    "LimitCORE": _NUMBER, "Nice": r"1?\d", "OOMScoreAdjust": r"\d{1,3}|1000", "OOMPolicy": "continue|stop|kill",
    "CPUAffinity": r"[\d, -]+",
    # times and restarts
    "TimeoutStartSec": _TIME, "TimeoutStopSec": _TIME, "RestartSec": _TIME, "RuntimeMaxSec": _TIME,
    "WatchdogSec": _TIME,
    "Restart": "no|always|on-success|on-failure|on-abnormal|on-abort|on-watchdog", "KillSignal": r"SIG(TERM|INT|QUIT)",
    "KillMode": "control-group|mixed|process",
    # the hardening lines, each of which can be relaxed
    "NoNewPrivileges": "yes|true", "ProtectSystem": rf"{_BOOL}|full|strict", "ProtectHome": rf"{_BOOL}|read-only|tmpfs",
    "PrivateTmp": _BOOL, "PrivateIPC": _BOOL, "PrivateDevices": _BOOL, "PrivateUsers": _BOOL, "PrivateNetwork": _BOOL,
    "PrivateMounts": _BOOL,
    "ProtectKernelTunables": _BOOL, "ProtectKernelModules": _BOOL, "ProtectKernelLogs": _BOOL,
    "ProtectControlGroups": _BOOL, "ProtectClock": _BOOL, "ProtectHostname": _BOOL,
    "ProtectProc": "noaccess|invisible|ptraceable|default", "ProcSubset": "all|pid", "RestrictNamespaces": _BOOL,
    "RestrictRealtime": _BOOL, "RestrictSUIDSGID": _BOOL, "LockPersonality": _BOOL, "MemoryDenyWriteExecute": _BOOL,
    "RemoveIPC": _BOOL, "KeyringMode": "private|shared",
    "RestrictAddressFamilies": r"~?(?:AF_[A-Z0-9_]+|none)(?: AF_[A-Z0-9_]+)*",
    "SystemCallFilter": r"~?@?[a-z0-9_-]+(?: @?[a-z0-9_-]+)*",
    "SystemCallArchitectures": r"native|[a-z0-9-]+(?: [a-z0-9-]+)*", "UMask": r"0?[0-7]{3}",
    "DevicePolicy": "auto|closed|strict",
    "IPAddressAllow": r"[0-9a-fA-F:./ a-z-]+", "IPAddressDeny": r"[0-9a-fA-F:./ a-z-]+",
    "ReadOnlyPaths": _PATHS, "InaccessiblePaths": _PATHS + "|", "ReadWritePaths": _PATHS,
    "TemporaryFileSystem": rf"/[^\s%\\:\x00-\x1f\x7f]*(?::{_MOUNT}(?:,{_MOUNT})*)?|",
}  # fmt: skip


def check(units: Iterable[tuple[str, Unit]], also: Iterable[str] = ()) -> None:
    """Raises BadRequest naming a directive that may not be set, or a value that systemd would not accept.

    Each of ``units`` has the key of deploy.toml that it belongs to. ``also`` are the directives that root allowed at
    setup; their values are not checked.
    """
    widened = set(also)
    for key, overrides in units:
        for name, values in overrides:
            if name not in widened:
                _check(f"{key}.unit", name, values)


def _check(key: str, name: str, values: tuple[str, ...]) -> None:
    next = do(f"correct [{key}] in deploy.toml, then fab deploy")
    if name == "TimeoutStopSec" and not key.startswith("web."):
        how = "use stop" if key.startswith("processes.") else "a run that is ended has 10 seconds"
        raise BadRequest(f"{key}.{name}: may not be set here; {how}", next=next)
    if name not in ALLOWED:
        raise BadRequest(
            f"{key}.{name}: this directive may not be set from deploy.toml",
            next=run(f"fab setup -H root@HOST --allow-unit {name}", "as root: allows it for this app"),
        )
    for value in values:
        if not re.fullmatch(ALLOWED[name], value):
            raise BadRequest(f"{key}.{name}: systemd does not accept {value!r} here", next=next)
    if len(values) > 1 and name not in REPEATABLE:
        raise BadRequest(f"{key}.{name}: takes one value, not {len(values)}", next=next)
