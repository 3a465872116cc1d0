"""A sandbox host whose disk is one plain file system, as that of a server is, and no overlay."""

from __future__ import annotations

from deployer.sandbox import SandboxHost
from deployer.sandbox.backends import mounts
from deployer.sandbox.machine.commands import run


def give_plain_disk(host: SandboxHost) -> None:
    """Copy all of a host's files into a directory of this machine, and boot the host from that.

    Hard links and overlays are then what they are on a server's disk. The host is switched off and on meanwhile; the
    next time it is switched off, it is back on its overlay, without what it wrote since. Raises SandboxError, and
    RuntimeError for a host of another backend than systemd-nspawn.
    """
    if host.root is None:
        raise RuntimeError(f"{host.name} is no systemd-nspawn host: its disk cannot be exchanged")
    directory = host.state.host(host.name)
    plain = directory / "plain"
    host.power_off()
    merged = mounts.mount_overlay((directory / "image").read_text(encoding="utf-8"), directory)
    try:
        run(["cp", "-a", f"{merged}/.", str(plain)], timeout=300)
    finally:
        mounts.unmount_below(merged)
    run(["mount", "--bind", str(plain), str(merged)])
    host.boot()
