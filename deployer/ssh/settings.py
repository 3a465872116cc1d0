"""What OpenSSH itself would do for a host: ``ssh -G``, asked and read."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deployer.errors import ConfigError
from deployer.errors.local import refuse_without_home
from deployer.ssh.login.limit import Sshd
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.advice import Next, do, run
from deployer.wire.lazydata import dataclass

DEFAULT_TIMEOUT = 15.0
ALIVE_INTERVAL = 15.0
ALIVE_COUNT = 3
"""OpenSSH waits for ever unless ServerAliveInterval is set; a deploy must not."""
DEFAULT_IDENTITIES = frozenset(
    f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa")
)


@dataclass(frozen=True, kw_only=True)
class KeyFile:
    """A private key file. ``chosen`` tells one that the user named from one of OpenSSH's usual places."""

    path: Path
    chosen: bool

    @property
    def is_there(self) -> bool:
        """Whether there is such a file; one that cannot be looked for counts as none."""
        return os.path.isfile(self.path)  # noqa: PTH113  (Path.is_file() raises PermissionError)

    @property
    def is_hidden(self) -> bool:
        """Whether its directory cannot be looked into."""
        try:
            self.path.stat()
        except PermissionError:
            return True
        except OSError:
            return False
        return False


@dataclass(frozen=True, kw_only=True)
class SshSettings:
    """OpenSSH's resolution for one host, all tokens expanded."""

    hostname: str
    user: str
    port: int
    identities: tuple[KeyFile, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    """The agent's socket; None when no agent is to be asked."""
    user_known_hosts: tuple[Path, ...] = ()
    global_known_hosts: tuple[Path, ...] = ()
    revoked_host_keys: Path | None = None
    host_key_alias: str | None = None
    host_key_algorithms: tuple[str, ...] = ()
    hash_known_hosts: bool = False
    accept_new: bool = False
    batch: bool = False
    """BatchMode: ask no questions."""
    proxy_jump: tuple[str, ...] = ()
    proxy_command: str | None = None
    connect_timeout: float = DEFAULT_TIMEOUT
    address_family: socket.AddressFamily = socket.AF_UNSPEC
    alive_interval: float = ALIVE_INTERVAL
    """Seconds of silence after which the far end is asked whether it is there."""
    alive_count: int = ALIVE_COUNT
    """So many intervals of silence, and the far end counts as gone."""

    @property
    def known_as(self) -> str:
        """The name known_hosts has this host under."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.hostname if self.port == 22 else f"[{self.hostname}]:{self.port}"

    @property
    def sshd(self) -> Sshd:
        """Which one is logged in to. What a ProxyCommand goes through is unknown; nearly always it is one jump host for
        all hosts, so all count as one."""
        unknown = self.proxy_command and not self.proxy_jump
        return ((), "", 0) if unknown else (self.proxy_jump, self.hostname, self.port)


def query(target: Target, options: SshOptions, jump: str | None = None) -> list[str]:
    """The command that asks OpenSSH for its settings. ``jump`` overrides ProxyJump, as ``ssh -J``."""
    argv = ["ssh", "-G", "-T"]
    if options.config_file is not None:
        argv += ["-F", str(options.config_file)]
    for identity in options.identities:
        argv += ["-i", str(identity)]
    for flag, value in (("-p", target.port), ("-l", target.user), ("-J", jump)):
        if value is not None:
            argv += [flag, str(value)]
    return [*argv, "--", target.host]


def resolve(target: Target, options: SshOptions, jump: str | None = None) -> SshSettings:
    """What OpenSSH would do to reach ``target``. Raises ConfigError when it can't say."""
    argv = query(target, options, jump)
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except FileNotFoundError:
        raise _unresolved(target, "OpenSSH's ssh is not installed", run("apt-get install openssh-client")) from None
    except subprocess.TimeoutExpired:
        raise _unresolved(
            target, "ssh -G did not answer within 60 s", do("look for a Match exec in ssh_config")
        ) from None
    if done.returncode != 0:
        refuse_without_home(target.name)
        why = done.stderr.decode(errors="replace").strip() or f"ssh -G ended with {done.returncode}"
        raise _unresolved(target, why, do("put your ssh_config right"))
    try:
        return parse(done.stdout.decode(errors="surrogateescape"), target, options, os.environ)
    except (RuntimeError, KeyError):
        refuse_without_home(target.name)
        raise


def _unresolved(target: Target, why: str, then: Next) -> ConfigError:
    message = f"ssh_config gives no way to {target.name}: {why}"
    return ConfigError(message=message, state="nothing was touched", next=then, host=target.name)


def parse(output: str, target: Target, options: SshOptions, environ: Mapping[str, str]) -> SshSettings:
    """``ssh -G``'s output as Settings. Pure but for the home directory and user that ``~`` and ``%`` name."""
    said = _read(output)
    one = {key: values[0] for key, values in said.items()}
    user = one["user"]
    port = int(one["port"])
    tokens = _tokens(target, one["hostname"], user, port)
    given = one.get("proxycommand")
    timeout = one.get("connecttimeout", "none")
    alive = int(one.get("serveraliveinterval", "0"))
    return SshSettings(
        hostname=one["hostname"].strip("[]"),
        user=user,
        port=port,
        identities=_identities(said.get("identityfile", ()), tokens, environ),
        identities_only=one.get("identitiesonly") == "yes",
        identity_agent=_agent(one.get("identityagent", "SSH_AUTH_SOCK"), tokens, environ),
        user_known_hosts=_files(one.get("userknownhostsfile"), tokens, environ),
        global_known_hosts=_files(one.get("globalknownhostsfile"), tokens, environ),
        revoked_host_keys=next(iter(_files(one.get("revokedhostkeys"), tokens, environ)), None),
        host_key_alias=_unless_none(one.get("hostkeyalias")),
        host_key_algorithms=tuple(filter(None, one.get("hostkeyalgorithms", "").split(","))),
        hash_known_hosts=one.get("hashknownhosts") == "yes",
        accept_new=_accepts_new(one.get("stricthostkeychecking", "ask"), options),
        batch=one.get("batchmode") == "yes",
        proxy_jump=tuple(filter(None, (_unless_none(one.get("proxyjump")) or "").split(","))),
        proxy_command=_unless_none(given) and _expand(given or "", tokens),
        connect_timeout=options.connect_timeout or (float(timeout) if timeout.isdigit() else 0) or DEFAULT_TIMEOUT,
        address_family=_FAMILIES.get(one.get("addressfamily", "any"), socket.AF_UNSPEC),
        alive_interval=float(alive or ALIVE_INTERVAL),
        alive_count=max(int(one.get("serveralivecountmax", ALIVE_COUNT)), 1) if alive else ALIVE_COUNT,
    )


def with_proxy_command(settings: SshSettings, target: Target, command: str) -> SshSettings:
    """The same settings, but connecting by ``command``; its ``%h``, ``%p``, ``%r`` are expanded."""
    tokens = _tokens(target, settings.hostname, settings.user, settings.port)
    return replace(settings, proxy_jump=(), proxy_command=_expand(command, tokens))


_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def _read(output: str) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in output.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key.lower(), []).append(value)
    return said


def _accepts_new(checking: str, options: SshOptions) -> bool:
    if options.host_keys == "config":
        return checking in {"accept-new", "no", "off", "false"}
    return options.host_keys == "accept-new"


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def _tokens(target: Target, hostname: str, user: str, port: int) -> dict[str, str]:
    local = socket.gethostname()
    return {
        "%": "%", "d": str(Path.home()), "h": hostname, "i": str(os.getuid()), "k": hostname,
        "L": local.partition(".")[0], "l": local, "n": target.host, "p": str(port), "r": user,
        "u": getpass.getuser(),
    }  # fmt: skip


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), text)


def _path(text: str, tokens: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    named = re.sub(r"\$\{(\w+)\}", lambda found: environ.get(found[1], found[0]), _expand(text, tokens))
    return Path(named).expanduser()


def _identities(names: Sequence[str], tokens: Mapping[str, str], environ: Mapping[str, str]) -> tuple[KeyFile, ...]:
    """Each file once, in their order: one that ``-i`` and ssh_config both name is one key."""
    there = [name for name in reversed(names) if name.lower() != "none"]
    chosen = {_path(name, tokens, environ): name not in DEFAULT_IDENTITIES for name in there}
    return tuple(KeyFile(path=path, chosen=named) for path, named in reversed(chosen.items()))


def _agent(value: str, tokens: Mapping[str, str], environ: Mapping[str, str]) -> str | None:
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK" or value.startswith("$"):
        return environ.get(value.strip("${}")) or None
    return str(_path(value, tokens, environ))


def _files(value: str | None, tokens: Mapping[str, str], environ: Mapping[str, str]) -> tuple[Path, ...]:
    """A list of files, which ``ssh -G`` prints unquoted: a word that starts no path belongs to the last."""
    names: list[str] = []
    for word in (_unless_none(value) or "").split(" "):
        if names and not word.startswith(("/", "~", "%", "$")):
            names[-1] += f" {word}"
        elif word:
            names.append(word)
    return tuple(_path(name, tokens, environ) for name in names)
