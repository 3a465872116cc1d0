"""A sandbox host whose disk is one plain file system, as that of a server is, and no overlay."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.sandbox import SandboxHost
from deployer.sandbox.backends import mounts
from deployer.sandbox.machine.commands import run

SIZE = 3 << 30
"""Bytes of a disk with a file system of its own; its file is sparse."""


def give_plain_disk(host: SandboxHost, mkfs: Sequence[str] = ()) -> None:
    """Copy all of a host's files into a directory of this machine, and boot the host from that.

    Hard links and overlays are then what they are on a server's disk. ``mkfs`` makes a file system of its own for it,
    such as ``["mkfs.xfs", "-q"]``. The host is switched off and on meanwhile; the next time it is switched off, it is
    back on its overlay, without what it wrote since. Raises SandboxError, and RuntimeError where the host is of another
    backend than systemd-nspawn.
    """
    if host.root is None:
        raise RuntimeError(f"{host.name} is no systemd-nspawn host: its disk cannot be exchanged")
    directory = host.state.host(host.name)
    plain = directory / "plain"
    plain.mkdir()
    if mkfs:
        image = directory / "plain.img"
        with image.open("wb") as file:
            file.truncate(SIZE)
        run([*mkfs, str(image)])
        run(["mount", "-o", "loop", str(image), str(plain)])
    host.power_off()
    merged = mounts.mount_overlay((directory / "image").read_text(encoding="utf-8"), directory)
    try:
        run(["cp", "-a", f"{merged}/.", f"{plain}/"], timeout=300)
    finally:
        mounts.unmount_below(merged)
    run(["mount", "--bind", str(plain), str(merged)])
    host.boot()
