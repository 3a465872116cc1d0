"""Logging in: with keys, a password, or answers to what the host asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType

from deployer.ssh.login.denial import denied, hung_up
from deployer.ssh.login.keys import LoginAttempt, SocketAgent, UnusableKeyError, load_key, offers, typed_answers
from deployer.ssh.options import Question, SshOptions
from deployer.ssh.settings import SshSettings
from deployer.ssh.target import Target
from deployer.ssh.transport import StrictTransport

MAX_OFFERS = 5
"""sshd hangs up at the sixth failure (MaxAuthTries)."""
LOGIN_TIMEOUT = 30.0
"""Seconds that sshd may take to answer an attempt to log in."""
ANSWER_TIME = 600.0
"""Seconds for what a host asks; sshd hangs up sooner (LoginGraceTime)."""


class HungUpError(EOFError):
    """The host ended the connection while we logged in; the text is what it said, if anything."""


class KeptWaitingError(EOFError):
    """The host hung up while a person was thinking about the answer; next time there is one at once."""


def authenticate(transport: StrictTransport, target: Target, options: SshOptions, settings: SshSettings) -> None:
    """Logs in as ``settings.user``, or raises Unreachable with all that was tried."""
    attempt = LoginAttempt()
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
        raise hung_up(target, options, settings, attempt, transport.goodbye, str(error)) from error
    finally:
        agent.close()
    raise denied(target, options, settings, attempt)


def _with_keys(
    transport: StrictTransport,
    target: Target,
    options: SshOptions,
    settings: SshSettings,
    agent: SocketAgent,
    attempt: LoginAttempt,
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
    transport: StrictTransport, target: Target, options: SshOptions, settings: SshSettings, attempt: LoginAttempt
) -> bool:
    """With a password, when the host takes one and we have one or can ask."""
    attempt.methods = attempt.methods or _methods(transport, settings.user)
    if transport.is_authenticated() or "password" not in attempt.methods:
        return bool(transport.is_authenticated())
    question = Question(text=f"password of {settings.user}", host=target.name)
    given = [options.password] if options.password is not None else typed_answers(question, options, attempt)
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
    transport: StrictTransport, target: Target, options: SshOptions, settings: SshSettings, attempt: LoginAttempt
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


def _refuse_gone(transport: StrictTransport, attempt: LoginAttempt) -> None:
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
