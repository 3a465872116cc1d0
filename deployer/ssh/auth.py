"""Logging in: which keys to offer, in which order, and what to say when none is accepted."""

from __future__ import annotations

import base64
import binascii
import contextlib
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paramiko.agent import AgentSSH
from paramiko.pkey import PKey, UnknownKeyType
from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType, SSHException

from deployer.errors import DeployerError, Unreachable
from deployer.ssh import causes
from deployer.ssh.options import Question, SshOptions, ssh_command
from deployer.ssh.settings import Identity, Settings
from deployer.ssh.target import Target
from deployer.ssh.transport import StrictTransport, printable
from deployer.wire.causes import Cause

MAX_OFFERS = 5
"""sshd hangs up at the sixth failure (MaxAuthTries)."""
AGENT_TIMEOUT = 60.0
LOGIN_TIMEOUT = 30.0
"""Seconds that sshd may take to answer an attempt to log in."""
ASKED = 3
"""How often a person may be asked for one password or passphrase."""
ANSWER_TIME = 600.0
"""Seconds for what a host asks; sshd hangs up sooner (LoginGraceTime)."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A key to try. ``load`` may ask for a passphrase; it raises UnusableKeyError when that fails."""

    label: str
    load: Callable[[], Any]


class UnusableKeyError(Exception):
    """A key file that can't be used; the text says why."""


class HungUpError(EOFError):
    """The host ended the connection while we logged in; the text is what it said, if anything."""


class KeptWaitingError(EOFError):
    """The host hung up while a person was thinking about the answer; next time there is one at once."""


@dataclass(slots=True, kw_only=True)
class Attempt:
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


def offers(settings: Settings, agent_keys: Sequence[Any], load: Callable[[Path], Any]) -> Iterator[Offer]:
    """The likely key first: files the user named (through the agent when it has them), agent, usual files."""
    agent = {bytes(key.asbytes()): key for key in agent_keys}
    files = [identity for identity in settings.identities if identity.is_there]
    blobs = {identity.path: public_blob(identity.path) if agent else None for identity in files}

    def offer(path: Path) -> Offer:
        key = agent.get(blobs[path] or b"")
        label = f"{path} (agent)" if key else str(path)
        return Offer(label=label, load=lambda: key or load(path))

    def held(identity: Identity) -> bool:
        return blobs[identity.path] in agent

    yield from (offer(identity.path) for identity in files if identity.chosen)
    yield from (offer(identity.path) for identity in files if not identity.chosen and held(identity))
    if not settings.identities_only:
        yield from (_of_agent(key) for blob, key in agent.items() if blob not in blobs.values())
    yield from (offer(identity.path) for identity in files if not identity.chosen and not held(identity))


def _of_agent(key: Any) -> Offer:
    return Offer(label=f"agent key {key.comment or key.get_name()}", load=lambda: key)


def load_key(path: Path, target: Target, options: SshOptions, attempt: Attempt) -> Any:
    """The private key in ``path``, unlocked with the given passphrase or by asking for it."""
    try:
        return PKey.from_path(path)
    except TypeError:
        return _unlock(path, target, options, attempt)
    except (OSError, ValueError, UnknownKeyType, SSHException) as error:
        raise UnusableKeyError(f"{path} can't be read as a private key: {error}") from error


def _unlock(path: Path, target: Target, options: SshOptions, attempt: Attempt) -> Any:
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


def _passphrases(path: Path, target: Target, options: SshOptions, attempt: Attempt) -> Iterator[str]:
    """What was given beforehand, or what is typed: once more when it was wrong."""
    if options.passphrase is not None:
        yield options.passphrase
    elif options.password_prompt is not None:
        question = Question(text=f"passphrase for {path}", host=target.name)
        yield from _typed(question, options, attempt)


def _typed(question: Question, options: SshOptions, attempt: Attempt) -> Iterator[str]:
    answer: str | None = None
    for _ in range(ASKED if options.password_prompt else 0):
        attempt.asked = True
        answer = options.password_prompt(question, answer) if options.password_prompt else None
        if answer is None:
            return
        yield answer


def authenticate(transport: StrictTransport, target: Target, options: SshOptions, settings: Settings) -> None:
    """Logs in as ``settings.user``, or raises Unreachable with all that was tried."""
    attempt = Attempt()
    transport.auth_timeout = LOGIN_TIMEOUT
    agent = SocketAgent(settings.identity_agent)
    try:
        if _with_keys(transport, target, options, settings, agent, attempt):
            return
        if _with_password(transport, target, options, settings, attempt):
            return
        if _with_questions(transport, target, options, settings, attempt):
            return
    except HungUpError as error:
        raise _hung_up(target, options, settings, attempt, transport.goodbye, str(error)) from error
    finally:
        agent.close()
    raise _denied(target, options, settings, attempt)


def _hung_up(
    target: Target, options: SshOptions, settings: Settings, attempt: Attempt, goodbye: str, said: str
) -> Unreachable:
    """sshd says so when there were too many keys; an account that may not log in ends the connection without."""
    if goodbye and attempt.rejected:
        return _unreachable(causes.TOO_MANY_KEYS, target, options, settings, attempt, printable(goodbye))
    return _unreachable(causes.CLOSED, target, options, settings, attempt, f"; it said: {said}" if said else "")


def _with_keys(
    transport: StrictTransport,
    target: Target,
    options: SshOptions,
    settings: Settings,
    agent: SocketAgent,
    attempt: Attempt,
) -> bool:
    for offer in offers(settings, agent.get_keys(), lambda path: load_key(path, target, options, attempt)):
        if len(attempt.rejected) == MAX_OFFERS:
            attempt.unusable.append("other keys were not tried: name the right one by IdentityFile")
            return False
        try:
            key = offer.load()
            _refuse_gone(transport, attempt)
            with _answered(transport):
                further = transport.auth_publickey(settings.user, key)
        except UnusableKeyError as error:
            attempt.unusable.append(str(error))
        except HungUpError:
            attempt.in_hand = offer.label
            raise
        except BadAuthenticationType as error:
            attempt.methods = error.allowed_types
            return False
        except AuthenticationException:
            attempt.rejected.append(offer.label)
        else:
            attempt.methods = further
            attempt.accepted = attempt.accepted or (offer.label if further else "")
            if "publickey" not in further:
                return bool(transport.is_authenticated())
    return False


def _with_password(
    transport: StrictTransport, target: Target, options: SshOptions, settings: Settings, attempt: Attempt
) -> bool:
    """With a password, when the host takes one and we have one or can ask."""
    attempt.methods = attempt.methods or _methods(transport, settings.user)
    if transport.is_authenticated() or "password" not in attempt.methods:
        return bool(transport.is_authenticated())
    question = Question(text=f"password of {settings.user}", host=target.name)
    given = [options.password] if options.password is not None else _typed(question, options, attempt)
    for password in given:
        if len(attempt.rejected) >= MAX_OFFERS:
            break
        _refuse_gone(transport, attempt)
        try:
            with _answered(transport):
                attempt.methods = transport.auth_password(settings.user, password, fallback=False)
            break
        except AuthenticationException:
            attempt.rejected.append("the password")
    return bool(transport.is_authenticated())


def _with_questions(
    transport: StrictTransport, target: Target, options: SshOptions, settings: Settings, attempt: Attempt
) -> bool:
    """With answers to what the host asks (keyboard-interactive): a password, a verification code, or both.

    A password that was given beforehand answers the first question whose answer is not shown.
    """
    known = [] if options.password is None or "the password" in attempt.rejected else [options.password]
    if "keyboard-interactive" not in attempt.methods or not (known or options.password_prompt):
        return False

    def answer(title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
        note, answers = "\n".join(filter(None, (title, instructions))), []
        for text, shown in prompts:
            if known and not shown:
                answers.append(known.pop())
                continue
            question = Question(text=text, host=target.name, note=note, secret=not shown, once=False)
            answers.append((options.password_prompt and options.password_prompt(question)) or "")
            note = ""
        return answers

    transport.auth_timeout = ANSWER_TIME
    try:
        with _answered(transport):
            transport.auth_interactive(settings.user, answer)
    except AuthenticationException:
        attempt.rejected.append("answers to its questions")
    finally:
        transport.auth_timeout = LOGIN_TIMEOUT
    return bool(transport.is_authenticated())


def _refuse_gone(transport: StrictTransport, attempt: Attempt) -> None:
    """Raises KeptWaitingError when the host hung up before there was an answer."""
    if attempt.asked and not transport.is_active():
        raise KeptWaitingError("the host hung up before there was an answer")


def _methods(transport: StrictTransport, user: str) -> Sequence[str]:
    """What the host would take: it says so when it refuses to take nothing."""
    try:
        with _answered(transport):
            transport.auth_none(user)
    except BadAuthenticationType as error:
        return list(error.allowed_types)
    except AuthenticationException:
        return ()
    return ()


@contextlib.contextmanager
def _answered(transport: StrictTransport) -> Iterator[None]:
    """Tells a refusal (AuthenticationException) from a host that hung up or doesn't answer."""
    begun = time.monotonic()
    try:
        yield
    except AuthenticationException as error:
        if not transport.is_active():
            raise HungUpError(transport.said) from error
        if time.monotonic() - begun >= transport.auth_timeout:
            raise TimeoutError(f"{transport.auth_timeout:g} s") from error
        raise


def _denied(target: Target, options: SshOptions, settings: Settings, attempt: Attempt) -> DeployerError:
    cause = _cause(settings, attempt)
    return _unreachable(cause, target, options, settings, attempt)


def _cause(settings: Settings, attempt: Attempt) -> Cause:
    """What was observed: which keys there are, and what the host made of them."""
    if attempt.accepted:
        return causes.SECOND_FACTOR
    if attempt.locked:
        return causes.LOCKED_KEY
    if attempt.methods and "publickey" not in attempt.methods:
        return causes.PASSWORD_ONLY
    there = any(identity.is_there for identity in settings.identities)
    return causes.KEY_REFUSED if attempt.rejected or there else causes.NO_KEY


def _unreachable(
    cause: Cause, target: Target, options: SshOptions, settings: Settings, attempt: Attempt, said: str = ""
) -> Unreachable:
    key = attempt.locked[0] if attempt.locked else ""
    tried = [*attempt.rejected, *filter(None, [attempt.in_hand])]
    none = "no key could be offered" if attempt.unusable else "no key was found to offer"
    told = cause.told(
        host=target.name,
        user=settings.user,
        tried=f"tried: {', '.join(tried)}" if tried else none,
        count=len(tried),
        details="".join(f"; {one}" for one in (*attempt.unusable, *_hidden(settings))),
        key=attempt.accepted or shlex.quote(str(key)),
        methods=" or ".join(attempt.methods),
        said=said,
        root=", PermitRootLogin" if settings.user == "root" else "",
        allow=_allow(target, options, settings),
        by_hand=ssh_command(target, options),
    )
    return Unreachable(**told, state="nothing was touched", host=target.name)


def _hidden(settings: Settings) -> list[str]:
    directories = dict.fromkeys(one.path.parent for one in settings.identities if one.is_hidden)
    return [f"{directory} cannot be looked into: its permissions" for directory in directories]


def _allow(target: Target, options: SshOptions, settings: Settings) -> str:
    """The command that has the host accept a key of this machine."""
    there = [identity.path for identity in settings.identities if identity.is_there]
    public = shlex.quote(f"{there[0] if there else Path('~/.ssh/id_ed25519')}.pub")
    if settings.user != "root":
        return f"fab setup -H root@HOST --key {public}"
    bare = ssh_command(target, replace(options, identities=()))
    return bare.replace("ssh ", f"ssh-copy-id -i {public} ", 1)
