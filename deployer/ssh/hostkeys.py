"""Is this the host it claims to be? known_hosts, read by OpenSSH's own ``ssh-keygen -F``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from deployer.errors import ConfigError
from deployer.ssh.settings import SshSettings
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

FOUND = pattern(r"# Host .* found: line (\d+) ?(REVOKED|CA)?\s*\Z")
RSA = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A public key: its type as known_hosts writes it (``ssh-ed25519``), and its bytes."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """One line of a known_hosts file that speaks of the host."""

    key: HostKey
    file: Path
    line: int
    marker: Literal["", "REVOKED", "CA"] = ""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class KnownKeys:
    """All that known_hosts says of a host; ``portless``: under its name without the port."""

    keys: tuple[KnownKey, ...] = ()
    portless: tuple[KnownKey, ...] = ()

    def types(self) -> tuple[str, ...]:
        """The key types the host can prove itself with, in the files' order."""
        plain = [known.key.type for known in (*self.keys, *self.portless) if not known.marker]
        return tuple(dict.fromkeys(plain))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    kind: Literal["known", "unknown", "changed", "revoked"]
    line: KnownKey | None = None


def judge(known: KnownKeys, presented: HostKey) -> Verdict:
    """As OpenSSH decides, but stricter in one thing: a host known by other types only counts as changed."""
    for line in (*known.keys, *known.portless):
        if line.marker == "REVOKED" and line.key == presented:
            return Verdict(kind="revoked", line=line)
    for line in (*known.keys, *known.portless):
        if not line.marker and line.key == presented:
            return Verdict(kind="known", line=line)
    plain = [line for line in known.keys if not line.marker]
    same_type = [line for line in plain if line.key.type == presented.type]
    for line in same_type or plain:
        return Verdict(kind="changed", line=line)
    return Verdict(kind="unknown")


def preference(known: KnownKeys, allowed: Sequence[str], supported: Sequence[str]) -> tuple[str, ...]:
    """The host key algorithms to negotiate, those the host is known by first: it then shows one of them."""
    usable = [name for name in supported if not allowed or name in allowed] or list(supported)
    familiar = [name for kind in known.types() for name in (RSA if kind == "ssh-rsa" else (kind,))]
    first = [name for name in familiar if name in usable]
    return tuple(dict.fromkeys([*first, *usable]))


def lookup(settings: SshSettings) -> KnownKeys:
    """Reads every known_hosts file that exists. Raises ConfigError when one can't be read."""
    files = [file for file in (*settings.user_known_hosts, *settings.global_known_hosts) if file.is_file()]
    keys = _search(settings.known_as, files)
    portless: tuple[KnownKey, ...] = ()
    if settings.port != 22 and not settings.host_key_alias and not any(not key.marker for key in keys):
        portless = _search(settings.hostname, files)
    return KnownKeys(keys=keys, portless=portless)


def _search(name: str, files: Iterable[Path]) -> tuple[KnownKey, ...]:
    found: list[KnownKey] = []
    for file in files:
        done = _ssh_keygen("-F", name.lower(), "-f", str(file))
        if done.returncode not in (0, 1):
            why = done.stderr.decode(errors="replace").strip()
            raise _unchecked(f"{file} can't be read: {why}")
        found += read_found(done.stdout.decode(errors="replace"), file)
    return tuple(found)


def read_found(output: str, file: Path) -> list[KnownKey]:
    """``ssh-keygen -F``'s output: before each line of the file that matches, a comment with its number."""
    keys: list[KnownKey] = []
    line, marker = 0, ""
    for text in output.splitlines():
        if comment := FOUND.fullmatch(text):
            line, marker = int(comment[1]), comment[2] or ""
        elif key := _read_key(text):
            keys.append(KnownKey(key=key, file=file, line=line, marker=_marker(marker)))
    return keys


def _marker(text: str) -> Literal["", "REVOKED", "CA"]:
    return "REVOKED" if text == "REVOKED" else "CA" if text == "CA" else ""


def _read_key(text: str) -> HostKey | None:
    words = text.split()
    if words and words[0].startswith("@"):
        words = words[1:]
    if len(words) < 3:
        return None
    try:
        return HostKey(type=words[1], blob=base64.b64decode(words[2], validate=True))
    except binascii.Error:
        return None


def in_revocation_list(settings: SshSettings, key: HostKey) -> bool:
    """Whether RevokedHostKeys names the key. A list that can't be read revokes everything, as in OpenSSH."""
    if settings.revoked_host_keys is None:
        return False
    with tempfile.NamedTemporaryFile("w", suffix=".pub") as file:
        file.write(f"{key.type} {base64.b64encode(key.blob).decode()}\n")
        file.flush()
        return _ssh_keygen("-Q", "-f", str(settings.revoked_host_keys), file.name).returncode != 0


def _ssh_keygen(*args: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", *args], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except FileNotFoundError:
        raise _unchecked("OpenSSH's ssh-keygen is not installed") from None
    except subprocess.TimeoutExpired:
        raise _unchecked("ssh-keygen did not answer within 60 s") from None


def _unchecked(why: str) -> ConfigError:
    return ConfigError(message=f"host keys can't be checked: {why}", state="nothing was touched")


def record(file: Path, name: str, key: HostKey, *, hashed: bool) -> None:
    """Appends one line to ``file``, creating it 0600 (and its directory 0700)."""
    line = f"{_hashed(name.lower()) if hashed else name.lower()} {key.type} {base64.b64encode(key.blob).decode()}\n"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ended = not file.is_file() or file.stat().st_size == 0 or file.read_bytes().endswith(b"\n")
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write((line if ended else "\n" + line).encode())
    except OSError as error:
        message = f"the host's key could not be recorded in {file}: {error.strerror}"
        raise ConfigError(message=message, state="nothing was touched") from error


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
