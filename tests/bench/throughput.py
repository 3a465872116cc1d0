"""Figure 6: how fast 100 MB that do not compress reach a host, beside scp, ssh and stock Fabric."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.bed import Bed
from tests.bench.show import progress, table, title
from tests.bench.stats import median, seconds, spread

SIZE = 100 * 1000 * 1000
FAR = "/dev/shm/bench-upload"
"""In the host's memory: no disk takes part."""

OURS = """\
import sys, time
from pathlib import Path
from deployer.ssh.link import connect
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
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
config, host, local, far = sys.argv[1:]
settings = Config(runtime_ssh_path=config)
with Connection(host, config=settings) as connection:
    connection.open()
    begun = time.monotonic()
    connection.put(local, far)
    print(time.monotonic() - begun)
"""


def measure(bed: Bed, *, quick: bool) -> None:
    """Print both tables."""
    times = 2 if quick else 3
    local = bed.directory / "incompressible"
    local.write_bytes(random.Random(1).randbytes(SIZE))
    ssh = ["ssh", "-F", str(bed.host.ssh_config), bed.host.name]
    ways: dict[str, Callable[[], float]] = {
        "stock Fabric put": lambda: _told(STOCK, bed, local),
        "our channel": lambda: _told(OURS, bed, local),
        "scp": lambda: _scp(bed, local) - _scp(bed, _nothing(bed)),
        "ssh cat": lambda: _wall([*ssh, f"cat > {FAR}"], local) - _wall([*ssh, "true"], None),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(times):
        for name, way in ways.items():
            progress(f"100 MB by {name}, {turn + 1} of {times}")
            taken[name].append(way())
            bed.host.run(f'test "$(stat -c %s {FAR})" = {SIZE}; rm -f {FAR}')
    _show(taken, times)
    if not quick:
        _show_deploy(bed, local, median(taken["our channel"]))


def _told(script: str, bed: Bed, local: Path) -> float:
    """Seconds that a script says the transfer took: connecting is not in them."""
    argv = [sys.executable, "-c", script, str(bed.host.ssh_config), bed.host.name, str(local), FAR]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return float(done.stdout)


def _scp(bed: Bed, local: Path) -> float:
    far = FAR if local.stat().st_size else f"{FAR}.nothing"
    return _wall(["scp", "-q", "-F", str(bed.host.ssh_config), str(local), f"{bed.host.name}:{far}"], None)


def _nothing(bed: Bed) -> Path:
    path = bed.directory / "nothing"
    path.touch()
    return path


def _wall(argv: Sequence[str], stdin: Path | None) -> float:
    with (stdin or Path("/dev/null")).open("rb") as file:
        begun = time.monotonic()
        subprocess.run(list(argv), stdin=file, check=True)
        return time.monotonic() - begun


def _show(taken: dict[str, list[float]], times: int) -> None:
    base = taken["stock Fabric put"]
    title(
        "6. Upload of 100 MB that do not compress",
        f"{times} runs of each at 0 ms, taking turns, into the host's memory; connecting is taken off. Ratio: to the",
        "throughput of stock Fabric's put (median of the turns' ratios).",
    )
    rows = []
    for name, found in taken.items():
        ratio = median([other / one for one, other in zip(found, base, strict=True)])
        rows.append([name, spread(found, seconds), f"{SIZE / 1e6 / median(found):.0f}", f"{ratio:.2f}"])
    table(["by", "seconds", "MB/s", "ratio"], rows)


def _show_deploy(bed: Bed, local: Path, channel: float) -> None:
    """The same bytes as one new file of a release: compressed, hashed, sent, unpacked, sealed."""
    small = bed.small()
    shutil.copy(local, small.path / "incompressible.bin")
    small.commit("a big file")
    run = bed.near().fab(small, "deploy")
    sent = run.at("phase.done", phase="upload") - run.phase("upload")
    last = max(event["at"] for event in run.events if event.get("doing") == "sending")
    first = min(event["at"] for event in run.events if event.get("doing") == "sending")
    title("6b. The same 100 MB as a new file of a deploy", "Seconds, one run; from the events.")
    rows = [
        ("connecting and reading the project", run.at("connected") - run.at("connecting")),
        ("finding and compressing what the host lacks", first - sent),
        ("sending", last - first),
        ("checking and unpacking on the host", run.at("phase.done", phase="upload") - last),
        ("build (collectstatic, bytecode, seal)", run.phase("build")),
        ("for comparison: the same bytes through our channel alone", channel),
    ]
    table(["part", "s"], [[name, seconds(value)] for name, value in rows])
