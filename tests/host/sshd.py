"""A real sshd of our own on loopback, with its own keys: nothing of the machine's is used or changed."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ADDRESS = "127.0.0.1"
BINARY = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A fresh key pair at ``path`` and ``path``.pub."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


def public(path: Path) -> str:
    """The key of ``path``.pub as ``type base64``."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def fingerprint(path: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-lf", f"{path}.pub"], check=True, capture_output=True, text=True)
    return done.stdout.split()[1]


@dataclass
class Sshd:
    """A running sshd. ``client`` is a key that it lets in; ``keys`` are its own, by type."""

    directory: Path
    port: int
    client: Path
    keys: dict[str, Path]
    process: subprocess.Popen[bytes]
    user: str = field(default_factory=getpass.getuser)

    @property
    def name(self) -> str:
        return f"[{ADDRESS}]:{self.port}"

    def known(self, kind: str = "ed25519", name: str = "") -> str:
        """A known_hosts line that trusts this sshd."""
        return f"{name or self.name} {public(self.keys[kind])}\n"

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((ADDRESS, 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(
    directory: Path, *, kinds: tuple[str, ...] = ("ed25519",), extra: str = "", startups: int = 100
) -> Iterator[Sshd]:
    """An sshd with host keys of ``kinds``; ``extra`` lines go to its configuration.

    It turns away who comes while ``startups`` others are logging in.
    """
    if BINARY is None:
        pytest.skip("no sshd is installed (openssh-server)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    directory.mkdir(parents=True)
    keys = {kind: make_key(directory / f"host_{kind}", kind) for kind in kinds}
    client = make_key(directory / "client")
    (directory / "authorized").write_text(public(client) + "\n")
    port = free_port()
    lines = [f"HostKey {path}" for path in keys.values()]
    (directory / "sshd_config").write_text("\n".join([*lines, *_settings(directory, port, startups), extra, ""]))
    argv = [BINARY, "-D", "-f", str(directory / "sshd_config"), "-E", str(directory / "log")]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    sshd = Sshd(directory=directory, port=port, client=client, keys=keys, process=process)
    try:
        _wait(sshd)
        yield sshd
    finally:
        sshd.stop()


def _settings(directory: Path, port: int, startups: int) -> list[str]:
    return [
        f"ListenAddress {ADDRESS}:{port}",
        f"AuthorizedKeysFile {directory}/authorized",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        f"MaxStartups {startups}",
        *(["PerSourcePenalties no"] if _has_penalties() else []),
    ]


@functools.cache
def _has_penalties() -> bool:
    """Whether sshd turns away an address for a while after logins that failed (OpenSSH 9.8 and newer)."""
    done = subprocess.run([str(BINARY), "-T", "-f", "/dev/null", "-o", "PerSourcePenalties=no"], capture_output=True)
    return b"Bad configuration option" not in done.stderr


def _wait(sshd: Sshd) -> None:
    limit = time.monotonic() + 10
    while time.monotonic() < limit and sshd.process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((ADDRESS, sshd.port)):
            return
        time.sleep(0.01)
    raise AssertionError(f"sshd did not start: {sshd.log()}")


def write_config(directory: Path, hosts: dict[str, Sshd], known: str, extra: str = "") -> Path:
    """An ssh_config that names each sshd, with a known_hosts file beside it that says ``known``."""
    directory.mkdir(parents=True, exist_ok=True)
    if known:
        (directory / "known_hosts").write_text(known)
    blocks = [_block(name, sshd) for name, sshd in hosts.items()]
    files = f"UserKnownHostsFile {directory}/known_hosts\n GlobalKnownHostsFile none\n"
    config = directory / "ssh_config"
    config.write_text("".join([extra, "\n", *blocks, f"Host *\n {files} IdentityAgent none\n"]))
    return config


def _block(name: str, sshd: Sshd) -> str:
    where = f" HostName {ADDRESS}\n Port {sshd.port}\n"
    return f"Host {name}\n{where} User {sshd.user}\n IdentityFile {sshd.client}\n"
