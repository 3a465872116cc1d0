"""Why a host is not reached, or does not let us in: each cause by what was observed. See :mod:`deployer.cli.causes`.

``{by_hand}`` is the ``ssh`` command that reaches the same host in the same way.
"""

from __future__ import annotations

from deployer.wire.advice import do, run
from deployer.wire.cause import Cause

__all__ = ["CAUSES"]

_BY_HAND = run("{by_hand} true", "shows what ssh itself says")
_LOG = "only the host's own log says why: journalctl -u ssh -n 20, as root on it"

NO_ADDRESS = Cause(
    "no-address",
    "the name of the host is looked up and has no address",
    "{host} can't be reached: the name {name} has no address",
    do("check the name: -H, [hosts] in deploy.toml, HostName in ssh_config") + run("getent hosts {name}"),
)
NO_DNS = Cause(
    "no-dns",
    "the look-up of the name fails before any server has answered it",
    "{host} can't be reached: the name {name} could not be looked up: no DNS server answers",
    do("check this machine's network, VPN and DNS") + run("getent hosts {name}"),
)
NO_ROUTE = Cause(
    "no-route",
    "this machine has no route to any address of the host, as to an IPv6 address where there is no IPv6",
    "{host} can't be reached: {name} has only {kind} addresses ({addresses}), and this machine has no route to them",
    do("connect from a network that has {kind}, or through a jump host (ProxyJump in ssh_config)"),
)
NOTHING_LISTENS = Cause(
    "nothing-listens",
    "the connection is refused at once",
    "{host} can't be reached: nothing listens at {where}",
    do("check the port, and that sshd runs there"),
)
NO_ANSWER = Cause(
    "no-answer",
    "nothing comes back within ConnectTimeout (`-t`)",
    "{host} can't be reached: no answer from {where} within {limit}",
    do("check the address and the firewall; is the host up?"),
)
SILENT = Cause(
    "silent",
    "the connection is accepted, and then nothing is said",
    "{host} can't be reached: {where} took the connection and then said nothing for {limit}",
    do("the host may hang (no memory, no disk), or it is no sshd that listens there: look at its console") + _BY_HAND,
)
NOT_SSH = Cause(
    "not-ssh",
    "four times, the greeting is not SSH; or sshd says that it accepts no connections now (OpenSSH 9.8 and newer)",
    "{host} can't be reached: what answers at {where} does not speak SSH; it said: {said}",
    do(
        "if these are sshd's words, too many log in at the same time (MaxStartups), or it keeps this address out for a "
        "while after logins that failed (PerSourcePenalties): wait a few minutes; otherwise check the port"
    )
    + _BY_HAND,
)
TURNED_AWAY = Cause(
    "turned-away",
    "the connection is closed before a greeting, four times (MaxStartups, fail2ban, a TCP wrapper, another service)",
    "{host} can't be reached: {where} closed the connection without a word, {times} times",
    do("too many may be logging in at the same time (MaxStartups), or the host bans this address: wait, then again; "
       "or it is not SSH that listens there") + _BY_HAND,
)  # fmt: skip
BROKE_OFF = Cause(
    "broke-off",
    "the connection ends between the greeting and the login",
    "{host} can't be reached: {where}: no agreement on how to encrypt: {why}",
    do("the host may demand older or newer ciphers than {ours}, or the network broke off") + _BY_HAND,
)
NETWORK = Cause(
    "network",
    "any other error of the network",
    "{host} can't be reached: {where}: {why}",
    _BY_HAND,
)
PROXY_COMMAND = Cause(
    "proxy-command",
    "the ProxyCommand of ssh_config ends before the host greets us",
    "{host} can't be reached: the ProxyCommand ended with exit status {status}{said}: {command}",
    do("the command is in ssh_config: run it by hand, or correct it there") + _BY_HAND,
)
JUMP = Cause(
    "jump-host",
    "the jump host lets us in and does not get through to the host",
    "{host} can't be reached: the jump host could not connect to {where}: {why}",
    do("see from the jump host whether the name, the port and its AllowTcpForwarding are right") + _BY_HAND,
)
NO_KEY = Cause(
    "no-key",
    "there is no key here, neither in an agent nor in a file that ssh would use",
    "{host} did not let {user} log in (no key was found to offer{details})",
    run("ssh-keygen -t ed25519", "makes a key") + do("have its public half put on the host: {allow}") + _BY_HAND,
)
LOCKED_KEY = Cause(
    "locked-key",
    "a key is encrypted, and its passphrase is wrong or there is no one to ask for it",
    "{host} did not let {user} log in ({tried}{details})",
    run("ssh-add {key}", "loads it into the agent") + _BY_HAND,
)
KEY_REFUSED = Cause(
    "key-refused",
    "the host refuses every key we offered: sshd does not say why",
    "{host} did not let {user} log in ({tried}{details})",
    run("{allow}", "if the key is not on the host yet, or not where sshd looks for it (AuthorizedKeysFile)")
    + do("or the host keeps {user} out (AllowUsers, DenyUsers, an account that has expired{root}): " + _LOG)
    + do("or name another user (-H USER@HOST) or key (-i FILE)")
    + _BY_HAND,
)
TOO_MANY_KEYS = Cause(
    "too-many-keys",
    "the host ends the connection after the keys we offered (MaxAuthTries), and says so",
    "{host} ended the login of {user} after {count} keys ({said}); {tried}",
    do("name the right key: -i FILE, or IdentityFile and IdentitiesOnly yes in ssh_config") + _BY_HAND,
)
SECOND_FACTOR = Cause(
    "second-factor",
    "the host accepts a key and asks for something more (AuthenticationMethods)",
    "{host} accepts {key} of {user}, and asks for more: {methods}",
    do("type it in a terminal, where it is asked for; for a machine that deploys, let the host take the key alone: "
       "Match User {user} and AuthenticationMethods publickey in its sshd_config") + _BY_HAND,
)  # fmt: skip
PASSWORD_ONLY = Cause(
    "password-only",
    "the host takes no keys, only a password or answers to its questions",
    "{host} did not let {user} log in: it takes {methods} only ({tried}{details})",
    do("type it in a terminal, where it is asked for; or have PubkeyAuthentication yes in the host's sshd_config")
    + _BY_HAND,
)
CLOSED = Cause(
    "login-closed",
    "the host closes the connection while we log in, often with a sentence of its own (an account that has expired)",
    "{host} closed the connection while {user} logged in{said}",
    do("an account that has expired, or PAM, ends a login like this: " + _LOG)
    + run("fab setup -H root@HOST", "as root: puts the deploy user's account right")
    + _BY_HAND,
)

CAUSES = (
    NO_ADDRESS, NO_DNS, NO_ROUTE, NOTHING_LISTENS, NO_ANSWER, SILENT, NOT_SSH, TURNED_AWAY, BROKE_OFF, NETWORK,
    PROXY_COMMAND, JUMP, NO_KEY, LOCKED_KEY, KEY_REFUSED, TOO_MANY_KEYS, SECOND_FACTOR, PASSWORD_ONLY, CLOSED,
)  # fmt: skip
