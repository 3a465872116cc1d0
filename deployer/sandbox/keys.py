"""SSH keys and the files that let plain OpenSSH use them, with strict host key checking from the start."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deployer.sandbox.machine.commands import run
from deployer.sandbox.records.state import Record, State, replace_file


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """An ed25519 key pair in OpenSSH's format."""

    private: bytes
    public: bytes


def generate(comment: str) -> KeyPair:
    """A fresh key pair without a passphrase; raises SandboxError when ssh-keygen is missing."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        return KeyPair(private=path.read_bytes(), public=path.with_suffix(".pub").read_bytes())


def ensure_identity(state: State) -> bytes:
    """The public half of the sandbox's own key, made on first use. Call it under the state's lock."""
    public = state.identity.with_suffix(".pub")
    if not (state.identity.exists() and public.exists()):
        pair = generate("deployer-sandbox")
        replace_file(public, pair.public.decode())
        replace_file(state.identity, pair.private.decode())
    return public.read_bytes()


def write_client_files(state: State) -> None:
    """Write ssh_config and known_hosts to match the records. Call it under the state's lock."""
    records = state.records()
    replace_file(state.known_hosts, known_hosts(records))
    replace_file(state.ssh_config, ssh_config(records, state))


def known_hosts(records: Iterable[Record]) -> str:
    """One line a host, by the address and port that clients dial."""
    return "".join(f"{_dialled(record)} {_key(record)}\n" for record in records)


def ssh_config(records: Iterable[Record], state: State) -> str:
    """What makes `ssh -F ssh_config NAME` log in as root."""
    return "".join(
        f"Host {record.name}\n"
        f"  HostName {record.address}\n"
        f"  Port {record.ssh_port}\n"
        "  User root\n"
        f"  IdentityFile {_quoted(state.identity)}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {_quoted(state.known_hosts)}\n"
        "  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
        for record in records
    )


def _dialled(record: Record) -> str:
    return record.address if record.ssh_port == 22 else f"[{record.address}]:{record.ssh_port}"


def _key(record: Record) -> str:
    return " ".join(record.host_key.split()[:2])


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'
