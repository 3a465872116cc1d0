"""Plain text to stdout: the header that says on what and when, and tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROBE = 0.5
"""Seconds of CPU."""
PACKAGES = ("deployer", "fabric", "invoke", "paramiko", "cryptography")


def header(*, quick: bool) -> None:
    """What the figures below were taken on."""
    model = next(
        (line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line),
        platform.machine(),
    )
    said = {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{os.cpu_count()} cores ({model}), {_memory()}, load {os.getloadavg()[0]:.1f} at the start",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "ssh": _said(["ssh", "-V"]),
        "commit": _commit(),
        "runs": "as each table says; a figure is the median (least to most)" + (" [--quick]" if quick else ""),
    }
    say("deployer benchmarks")
    for name, text in said.items():
        say(f"  {name:<9} {text}")


def title(text: str, *notes: str) -> None:
    """The heading of one figure, and what must be known to read it."""
    say("", text, "-" * len(text), *notes)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they must be; the first is text, the others are numbers."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        first, *rest = line
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        say("  ".join(cells).rstrip())
        if number == 0:
            say("  ".join("-" * width for width in widths))


def contention(when: str) -> None:
    """How much of a core a busy process gets now, by a short calculation: below 100 %, others use the machine too."""
    wall, used = time.monotonic(), time.process_time()
    while time.process_time() - used < _PROBE:
        pass
    share = (time.process_time() - used) / (time.monotonic() - wall)
    say(f"[{when}: a busy process gets {share:.0%} of a core; load {os.getloadavg()[0]:.1f}]")


def say(*lines: str) -> None:
    """Lines to stdout, at once: a run takes minutes."""
    for line in lines:
        print(line, flush=True)


def progress(text: str) -> None:
    """What is going on, to stderr."""
    print(f"  … {text}", file=sys.stderr, flush=True)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _memory() -> str:
    total = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if "MemTotal" in line), "0")
    return f"{int(total) / 1024 / 1024:.1f} GiB"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def _said(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() or "?"
