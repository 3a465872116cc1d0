"""Decides about a host's key: accept it, record it, or refuse it and say what to do."""

from __future__ import annotations

import shlex

from deployer.errors import DeployerError, Unreachable
from deployer.events import Warn
from deployer.ssh.hostkeys import HostKey, KnownKey, KnownKeys, in_revocation_list, judge, record
from deployer.ssh.options import SshOptions, ssh_command
from deployer.ssh.settings import SshSettings
from deployer.ssh.target import Target
from deployer.wire.advice import Next, do, run


def check(target: Target, options: SshOptions, settings: SshSettings, known: KnownKeys, key: HostKey) -> None:
    """Returns when ``key`` is the host's; raises Unreachable when it is unknown, changed or revoked."""
    verdict = judge(known, key)
    if verdict.kind == "revoked" or in_revocation_list(settings, key):
        raise _revoked(target, key, verdict.line.where if verdict.line else str(settings.revoked_host_keys))
    if verdict.kind == "changed" and verdict.line:
        raise _changed(target, options, settings, key, verdict.line)
    if verdict.kind == "unknown":
        if not settings.accept_new:
            raise _unknown(target, options, settings, known, key)
        _accept(target, options, settings, key)


def _accept(target: Target, options: SshOptions, settings: SshSettings, key: HostKey) -> None:
    file = next(iter(settings.user_known_hosts), None)
    if file is not None:
        record(file, settings.known_as, key, hashed=settings.hash_known_hosts)
    where = f"recorded in {file}" if file else "recorded nowhere: UserKnownHostsFile is none"
    text = f"the key of {settings.known_as} was unknown and is trusted from now on: {key}, {where}"
    options.report(Warn(host=target.name, text=text))


def _unknown(
    target: Target, options: SshOptions, settings: SshSettings, known: KnownKeys, key: HostKey
) -> DeployerError:
    authority = next((line for line in known.keys if line.marker == "CA"), None)
    also = f" ({authority.where} trusts a certificate authority for it: that can't be checked)" if authority else ""
    return Unreachable(
        message=f"{target.name} shows a host key that is not known: {key}{also}",
        state="nothing was touched",
        next=do(f"compare the fingerprint with the host's own ({_ask_host(key)}), then")
        + _trust(target, options, settings, key)
        + do("or, to trust the first key that a host shows: --accept-new, or StrictHostKeyChecking accept-new"),
        host=target.name,
    )


def _trust(target: Target, options: SshOptions, settings: SshSettings, key: HostKey) -> Next:
    file = next(iter(settings.user_known_hosts), None)
    if file is None or settings.host_key_alias or settings.proxy_jump or settings.proxy_command:
        return run(f"{ssh_command(target, options)} true", "and answer yes")
    port = ["-p", str(settings.port)] if settings.port != 22 else []
    scan = shlex.join(["ssh-keyscan", "-H", "-t", _short(key), *port, settings.hostname])
    make = "" if file.parent.is_dir() else f"mkdir -p -m 700 {shlex.quote(str(file.parent))} && "
    return run(f"{make}{scan} >> {shlex.quote(str(file))}")


def _ask_host(key: HostKey) -> str:
    return f"on it: ssh-keygen -lf /etc/ssh/ssh_host_{_short(key)}_key.pub"


def _short(key: HostKey) -> str:
    return "ecdsa" if key.type.startswith("ecdsa") else key.type.removeprefix("ssh-")


def _changed(target: Target, options: SshOptions, settings: SshSettings, key: HostKey, old: KnownKey) -> DeployerError:
    remove = shlex.join(["ssh-keygen", "-R", settings.known_as, "-f", str(old.file)])
    return Unreachable(
        message=f"{target.name} shows another host key than before: {key}; {old.where} has {old.key}. "
        "Either the host was reinstalled, or someone is intercepting the connection",
        state="nothing was touched",
        next=do("find out why before you continue; if the host was reinstalled")
        + run(remove)
        + _trust(target, options, settings, key),
        host=target.name,
    )


def _revoked(target: Target, key: HostKey, where: str) -> DeployerError:
    return Unreachable(
        message=f"{target.name} shows a host key that is revoked: {key} ({where})",
        state="nothing was touched",
        next=do("the host needs a new key, or this is not the host: ask the person who revoked it"),
        host=target.name,
    )
