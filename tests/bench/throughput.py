"""Figure 6: how fast 100 MB that do not compress reach a host, beside scp, ssh and stock Fabric."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.bed import Bed
from tests.bench.show import progress, table, title
from tests.bench.stats import kib, median, seconds, spread

SIZE = 100 * 1000 * 1000
FAR = "/dev/shm/bench-upload"
"""In the host's memory: no disk takes part."""

OURS = """\
import sys, time
from pathlib import Path
from deployer.ssh import SshOptions, Target, connect
config, host, local, far = sys.argv[1:]
with connect(Target.parse(host), SshOptions(config_file=Path(config))) as link:
    with open(local, "rb") as file:
        begun = time.monotonic()
        with link.open(["sh", "-c", f"cat > {far}"]) as channel:
            channel.write_file(file, Path(local).stat().st_size)
            channel.close_stdin()
            assert channel.exit_status(60) == 0
        print(time.monotonic() - begun)
"""
STOCK = """\
import sys, time
from fabric import Config, Connection
from fabric.main import program
config, host, local, far = sys.argv[1:]
settings = Config(runtime_ssh_path=config)
with Connection(host, config=settings) as connection:
    connection.open()
    begun = time.monotonic()
    connection.put(local, far)
    print(time.monotonic() - begun)
"""
Timed = Callable[[], float]


def measure(bed: Bed, *, quick: bool) -> None:
    """Print both tables."""
    times = 2 if quick else 5
    local = bed.directory / "incompressible"
    local.write_bytes(random.Random(1).randbytes(SIZE))
    ways: dict[str, Timed] = {
        "stock Fabric put": lambda: _told([sys.executable, "-c", STOCK], bed, local),
        "our channel (Link.open, write_file)": lambda: _told([sys.executable, "-c", OURS], bed, local),
        "scp": lambda: _timed(["scp", "-q", "-F", str(bed.host.ssh_config), str(local), f"{bed.host.name}:{FAR}"]),
        "ssh cat": lambda: _timed(["ssh", "-F", str(bed.host.ssh_config), bed.host.name, f"cat > {FAR}"], local),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(times):
        for name, way in ways.items():
            progress(f"100 MB by {name}, {turn + 1} of {times}")
            taken[name].append(way())
            arrived = int(bed.host.run(f"stat -c %s {FAR}; rm {FAR}").stdout)
            if arrived != SIZE:
                raise RuntimeError(f"{name}: {arrived} of {SIZE} bytes arrived")
    _show(taken, times)
    if not quick:
        _show_deploy(bed, local, median(taken["our channel (Link.open, write_file)"]))


def _told(command: Sequence[str], bed: Bed, local: Path) -> float:
    """Seconds that a script says the transfer took: connecting is not in them."""
    argv = [*command, str(bed.host.ssh_config), bed.host.name, str(local), FAR]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return float(done.stdout)


def _timed(argv: Sequence[str], local: Path | None = None) -> float:
    """Seconds that a command took, less what the same with nothing to send takes (connecting)."""
    empty = [Path(os.devnull) if part == str(local) else part for part in map(str, argv)]
    return _wall(argv, local) - _wall([str(part) for part in empty[:-1]] + ["true"], None) if local else _scp(argv)


def _scp(argv: Sequence[str]) -> float:
    nothing = Path(argv[-2]).with_name("nothing")
    nothing.touch()
    return _wall(argv, None) - _wall([*argv[:-2], str(nothing), f"{argv[-1]}.nothing"], None)


def _wall(argv: Sequence[str], stdin: Path | None) -> float:
    with open(stdin or os.devnull, "rb") as file:
        begun = time.monotonic()
        subprocess.run(list(argv), stdin=file, check=True)
        return time.monotonic() - begun
