"""The user's private keys: in an agent or in files, in the order in which they are offered."""

from __future__ import annotations

import base64
import binascii
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from paramiko.agent import AgentSSH
from paramiko.pkey import PKey, UnknownKeyType
from paramiko.ssh_exception import SSHException

from deployer.ssh.options import Question, SshOptions
from deployer.ssh.settings import KeyFile, SshSettings
from deployer.ssh.target import Target
from deployer.wire.lazydata import dataclass

AGENT_TIMEOUT = 60.0


ASKED = 3
"""How often a person may be asked for one password or passphrase."""


class SocketAgent(AgentSSH):  # type: ignore[misc]
    """An ssh-agent behind the socket at ``path``; one that doesn't answer has no keys."""

    def __init__(self, path: str | None) -> None:
        super().__init__()
        if path is None:
            return
        with contextlib.suppress(OSError, SSHException):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(AGENT_TIMEOUT)
            connection.connect(path)
            self._connect(connection)

    def close(self) -> None:
        self._close()


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A key to try. ``load`` may ask for a passphrase; it raises UnusableKeyError when that fails."""

    label: str
    load: Callable[[], Any]


class UnusableKeyError(Exception):
    """A key file that can't be used; the text says why."""


@dataclass(kw_only=True)
class LoginAttempt:
    """What was tried so far, for the message at the end."""

    rejected: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    locked: list[Path] = field(default_factory=list)
    in_hand: str = ""
    """The key at whose offer the host hung up."""
    accepted: str = ""
    """The first key that the host took, and wanted more."""
    methods: Sequence[str] = ()
    asked: bool = False
    """A person was asked for what is known from now on."""


def public_blob(path: Path) -> bytes | None:
    """The public key that belongs to a private key file, without its passphrase."""
    for file in (path.with_name(path.name + ".pub"), path):
        with contextlib.suppress(OSError, binascii.Error, IndexError):
            words = file.read_bytes().split(None, 2)
            if not words[0].startswith(b"-----"):
                return base64.b64decode(words[1], validate=True)
    with contextlib.suppress(Exception):
        return bytes(PKey.from_path(path).asbytes())
    return None


def offers(settings: SshSettings, agent_keys: Sequence[Any], load: Callable[[Path], Any]) -> Iterator[Offer]:
    """The likely key first: files the user named (through the agent when it has them), agent, usual files."""
    agent = {bytes(key.asbytes()): key for key in agent_keys}
    files = [identity for identity in settings.identities if identity.is_there]
    blobs = {identity.path: public_blob(identity.path) if agent else None for identity in files}

    def offer(path: Path) -> Offer:
        key = agent.get(blobs[path] or b"")
        label = f"{path} (agent)" if key else str(path)
        return Offer(label=label, load=lambda: key or load(path))

    def held(identity: KeyFile) -> bool:
        return blobs[identity.path] in agent

    yield from (offer(identity.path) for identity in files if identity.chosen)
    yield from (offer(identity.path) for identity in files if not identity.chosen and held(identity))
    if not settings.identities_only:
        yield from (_of_agent(key) for blob, key in agent.items() if blob not in blobs.values())
    yield from (offer(identity.path) for identity in files if not identity.chosen and not held(identity))


def _of_agent(key: Any) -> Offer:
    return Offer(label=f"agent key {key.comment or key.get_name()}", load=lambda: key)


def load_key(path: Path, target: Target, options: SshOptions, attempt: LoginAttempt) -> Any:
    """The private key in ``path``, unlocked with the given passphrase or by asking for it."""
    try:
        return PKey.from_path(path)
    except TypeError:
        return _unlock(path, target, options, attempt)
    except (OSError, ValueError, UnknownKeyType, SSHException) as error:
        raise UnusableKeyError(f"{path} can't be read as a private key: {error}") from error


def _unlock(path: Path, target: Target, options: SshOptions, attempt: LoginAttempt) -> Any:
    why = "there is no terminal to ask for its passphrase"
    for passphrase in _passphrases(path, target, options, attempt):
        try:
            return PKey.from_path(path, passphrase.encode())
        except (ValueError, TypeError, SSHException):
            why = "the passphrase is wrong"
    attempt.locked.append(path)
    if why.startswith("there") and options.password_prompt is not None:
        why = "no passphrase was given"
    raise UnusableKeyError(f"{path} is encrypted, and {why}")


def _passphrases(path: Path, target: Target, options: SshOptions, attempt: LoginAttempt) -> Iterator[str]:
    """What was given beforehand, or what is typed: once more when it was wrong."""
    if options.passphrase is not None:
        yield options.passphrase
    elif options.password_prompt is not None:
        question = Question(text=f"passphrase for {path}", host=target.name)
        yield from typed_answers(question, options, attempt)


def typed_answers(question: Question, options: SshOptions, attempt: LoginAttempt) -> Iterator[str]:
    answer: str | None = None
    for _ in range(ASKED if options.password_prompt else 0):
        attempt.asked = True
        answer = options.password_prompt(question, answer) if options.password_prompt else None
        if answer is None:
            return
        yield answer
