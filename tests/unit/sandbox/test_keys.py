"""The files with which plain OpenSSH reaches sandbox hosts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deployer.sandbox import ssh
from deployer.sandbox.keys import ensure_identity, generate, known_hosts, ssh_config, write_client_files
from deployer.sandbox.records.state import Record, State


def record(name: str, *, address: str = "127.0.10.4", ssh_port: int = 22) -> Record:
    return Record(
        name=name,
        distribution="bookworm",
        backend="nspawn",
        address=address,
        ssh_port=ssh_port,
        http_port=80,
        host_key="ssh-ed25519 AAAA a comment",
        phase="up",
    )


def test_known_hosts_names_what_is_dialled() -> None:
    """A port other than 22 is part of the name, as OpenSSH wants it; comments are left out."""
    text = known_hosts([record("a"), record("b", address="127.0.0.1", ssh_port=2022)])
    assert text == "127.0.10.4 ssh-ed25519 AAAA\n[127.0.0.1]:2022 ssh-ed25519 AAAA\n"


def test_openssh_reads_the_configuration_as_meant(tmp_path: Path) -> None:
    """OpenSSH itself resolves address, port, key and strictness, also with an awkward path."""
    state = State(tmp_path / "with space %h")
    state.directory.mkdir()
    state.ssh_config.write_text(ssh_config([record("a"), record("b", ssh_port=2022)], state))
    command = ["ssh", "-G", "-F", str(state.ssh_config), "b"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    resolved = dict(line.split(" ", 1) for line in shown)
    assert resolved["hostname"] == "127.0.10.4"
    assert resolved["port"] == "2022"
    assert resolved["user"] == "root"
    assert resolved["identitiesonly"] == "yes"
    assert resolved["stricthostkeychecking"] in ("yes", "true")
    assert resolved["identityfile"].replace("%%", "%").strip('"') == str(state.identity)
    assert resolved["userknownhostsfile"].replace("%%", "%").strip('"') == str(state.known_hosts)


def test_the_identity_is_made_once_and_is_private(tmp_path: Path) -> None:
    """Every host is opened by the same key, which only its owner can read."""
    state = State.open({"DEPLOYER_SANDBOX_DIR": str(tmp_path)})
    first = ensure_identity(state)
    assert ensure_identity(state) == first
    assert state.identity.stat().st_mode & 0o777 == 0o600
    derived = subprocess.run(["ssh-keygen", "-y", "-f", state.identity], capture_output=True, check=True).stdout
    assert derived.split()[1] == first.split()[1]


def test_every_pair_is_different() -> None:
    """No two hosts share a host key."""
    assert generate("a").public != generate("a").public


def test_client_files_follow_the_records(tmp_path: Path) -> None:
    """A host is known to ssh exactly as long as it has a record."""
    state = State.open({"DEPLOYER_SANDBOX_DIR": str(tmp_path)})
    state.save(record("web"))
    write_client_files(state)
    assert "Host web\n" in state.ssh_config.read_text()
    assert state.known_hosts.read_text().startswith("127.0.10.4 ")
    (state.host("web") / "record.json").unlink()
    write_client_files(state)
    assert state.ssh_config.read_text() == ""
    assert state.known_hosts.read_text() == ""


def test_the_shared_connection_fits_into_a_socket_path(tmp_path: Path) -> None:
    """A long sandbox directory and the longest name stay below the 104 bytes that every system allows."""
    long = State(tmp_path / ("d" * 200))
    # OpenSSH appends a dot and 16 characters while it creates the socket.
    assert len(str(ssh.socket_path(long, "n" * 31))) + 17 < 104
