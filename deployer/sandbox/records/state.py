"""What the sandbox remembers on disk: one directory per host, and the record in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine.locks import exclusive
from deployer.sandbox.machine.processes import OsProcess

Phase = Literal["booting", "up", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of one host. `address` and the ports are where this machine reaches it.

    `maker` is the process that is booting it (phase "booting" only), `owner` the one whose end means the
    host may go (None: it stays until it is taken down), `init` the process that keeps it running. `engine` is
    the Docker engine that has it, as in $DOCKER_HOST (empty: the usual one): another one does not know it.
    """

    name: str
    distribution: str
    backend: str
    address: str
    ssh_port: int
    http_port: int
    host_key: str
    phase: Phase
    maker: OsProcess | None = None
    owner: OsProcess | None = None
    init: OsProcess | None = None
    engine: str = ""

    def to_json(self) -> str:
        """The record as it is stored."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read `text` back; raises ValueError or TypeError when it is no record."""
        fields: dict[str, Any] = json.loads(text)
        for role in ("maker", "owner", "init"):
            fields[role] = OsProcess(**fields[role]) if fields.get(role) else None
        return cls(**fields)


def is_abandoned(record: Record, *, init_alive: bool) -> bool:
    """Whether the host is abandoned: its owner is gone, its maker died before it was up, or it died itself.

    A host that was switched off on purpose (phase "off") lives on as long as its owner.
    """
    if record.owner is not None and not record.owner.is_alive():
        return True
    if record.phase == "booting":
        return record.maker is None or not record.maker.is_alive()
    return record.phase == "up" and not init_alive


@dataclass(frozen=True, slots=True)
class State:
    """The sandbox's directory. Only its owner may read it: it holds the key that opens every host."""

    directory: Path

    @classmethod
    def open(cls, environment: Mapping[str, str]) -> State:
        """The state directory named by the environment, created when missing.

        Raises SandboxError when another user owns it: everyone can write to /var/tmp.
        """
        state = cls(directory_for(environment, is_root=os.geteuid() == 0))
        state.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = state.directory.lstat().st_uid
        if state.directory.is_symlink() or owner != os.geteuid():
            raise SandboxError(
                f"{state.directory} belongs to uid {owner}, not to you: it is not safe to use.",
                state="Nothing was created.",
                hint="set DEPLOYER_SANDBOX_DIR to a directory of your own",
            )
        state.directory.chmod(0o700)
        state.hosts.mkdir(exist_ok=True)
        return state

    @property
    def images(self) -> Path:
        """The base images."""
        return self.directory / "images"

    @property
    def hosts(self) -> Path:
        """One directory per host."""
        return self.directory / "hosts"

    @property
    def identity(self) -> Path:
        """The private key that opens every host of this sandbox, as root."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Every host's key, in OpenSSH's format."""
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """A configuration with which `ssh -F` knows every host by name."""
        return self.directory / "ssh_config"

    def host(self, name: str) -> Path:
        """The directory of host `name`."""
        return self.hosts / name

    def label(self, name: str) -> str:
        """What `name` is called outside this directory: unique on the machine, at most 57 characters."""
        place = hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]
        return f"deployer-sandbox-{place}-{name}"

    def lock(self) -> AbstractContextManager[None]:
        """Held while records are read and changed together. Not re-entrant."""
        return exclusive(self.directory / "lock")

    def records(self) -> list[Record]:
        """Every host's record, sorted by name; directories without a readable one are left out."""
        found = (self.find(path.name) for path in sorted(self.hosts.iterdir()))
        return [record for record in found if record is not None]

    def find(self, name: str) -> Record | None:
        """The record of `name`, or None."""
        try:
            return Record.from_json((self.host(name) / "record.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return None

    def get(self, name: str) -> Record:
        """The record of `name`; raises SandboxError when there is no such host."""
        record = self.find(name)
        if record is None:
            names = ", ".join(other.name for other in self.records()) or "none"
            raise SandboxError(
                f"There is no sandbox host called {name!r}.",
                state=f"Hosts: {names}.",
                hint="deployer sandbox list",
            )
        return record

    def save(self, record: Record) -> None:
        """Store `record`, whole or not at all."""
        self.host(record.name).mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.host(record.name) / "record.json", record.to_json())


def directory_for(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """Where the sandbox keeps its things: $DEPLOYER_SANDBOX_DIR, or a place that suits the user."""
    if chosen := environment.get("DEPLOYER_SANDBOX_DIR"):
        return Path(chosen).expanduser().absolute()
    if is_root:
        return Path("/var/tmp/deployer-sandbox")  # noqa: S108  (its owner is checked when it is opened)
    return Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "deployer-sandbox"


def replace_file(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, readable only by us."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
