"""Figure 5: what ``fab --list`` costs with our fabfile, beside stock ``fab --list``, and which imports cost it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.show import progress, table, title
from tests.bench.stats import median, milliseconds, spread
from tests.support.site import FAB, FABFILE

STOCK = "from fabric import task\n\n\n@task\ndef nothing(c):\n    pass\n"
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")
SHOWN = 14
Cost = tuple[float, float]
"""Wall and CPU (user and system) seconds."""


def measure(scratch: Path, *, quick: bool) -> None:
    """Print both tables."""
    times = 10 if quick else 25
    sides = {
        "python -c pass": (_directory(scratch / "none", {}), [sys.executable, "-c", "pass"]),
        "stock fab --list (one empty task)": (
            _directory(scratch / "stock", {"fabfile.py": STOCK}),
            [FAB, "--list"],
        ),
        "fab --list (our fabfile)": (_directory(scratch / "ours", FABFILE), [FAB, "--list"]),
        "deployer --list": (
            _directory(scratch / "bare", {}),
            [str(Path(FAB).with_name("deployer")), "--list"],
        ),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for turn in range(times + 1):
        progress(f"--list, {turn} of {times}")
        for name, (directory, argv) in sides.items():
            cost = _run(argv, directory)
            if turn:  # the first only warms the page cache
                costs[name].append(cost)
    base = costs["stock fab --list (one empty task)"]
    title(
        "5. Start-up",
        f"Milliseconds; {times} runs of each, taking turns. The ratio is the median of the turns' ratios to stock fab.",
    )
    table(
        ["command", "wall", "CPU", "wall ratio", "CPU ratio"],
        [_row(name, cost, base) for name, cost in costs.items()],
    )
    _imports(*sides["fab --list (our fabfile)"], *sides["stock fab --list (one empty task)"])


def _directory(path: Path, files: dict[str, str]) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def _run(argv: Sequence[str], directory: Path) -> Cost:
    started = time.monotonic()
    process = subprocess.Popen(argv, cwd=directory, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv}: exit status {process.returncode}")
    return wall, used.ru_utime + used.ru_stime


def _row(name: str, costs: list[Cost], base: list[Cost]) -> list[str]:
    ratios = [median([one[side] / other[side] for one, other in zip(costs, base, strict=True)]) for side in (0, 1)]
    shown = [spread([cost[side] for cost in costs], milliseconds) for side in (0, 1)]
    return [name, *shown, *(f"{ratio:.2f}" for ratio in ratios)]


def _imports(ours: Path, argv: Sequence[str], stock: Path, stock_argv: Sequence[str]) -> None:
    """What our fabfile imports beyond stock fab: each module's own milliseconds, summed by package."""
    own, others = _import_times(argv, ours), _import_times(stock_argv, stock)
    extra: dict[str, tuple[float, int]] = {}
    for module, cost in own.items():
        if module not in others:
            package = ".".join(module.split(".")[:2]) if module.startswith("deployer") else module.split(".")[0]
            known = extra.get(package, (0.0, 0))
            extra[package] = known[0] + cost, known[1] + 1
    title(
        "5b. What our fabfile imports beyond stock fab",
        "Milliseconds each module took itself (python -X importtime, one run), summed by package.",
    )
    ranked = sorted(extra.items(), key=lambda item: -item[1][0])
    rows = [[name, f"{cost / 1000:.1f}", str(count)] for name, (cost, count) in ranked[:SHOWN]]
    rows.append(["all of them", f"{sum(cost for cost, _ in extra.values()) / 1000:.1f}", str(len(extra))])
    table(["package", "ms", "modules"], rows)


def _import_times(argv: Sequence[str], directory: Path) -> dict[str, float]:
    """Each imported module's own microseconds."""
    command = [sys.executable, "-X", "importtime", *argv]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    return {found[4]: float(found[1]) for line in done.stderr.splitlines() if (found := LINE.match(line))}
