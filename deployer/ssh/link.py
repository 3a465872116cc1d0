"""A logged-in connection to one host."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Sequence

from paramiko.ssh_exception import SSHException

from deployer.errors import Unreachable
from deployer.ssh.channel import Channel
from deployer.ssh.login.login import Login, login
from deployer.ssh.options import SshOptions, ssh_command
from deployer.ssh.target import Target
from deployer.wire.lazydata import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a program ended, and all it said (of stderr the last 64 KB)."""

    exit: int
    stdout: bytes
    stderr: bytes


class Link:
    """``host`` is the target as typed; ``user`` who is logged in there; ``by_hand`` the ssh command that gets there.

    ``took`` is how many seconds it took to connect.
    """

    took = 0.0

    def __init__(self, target: Target, login: Login, by_hand: str) -> None:
        self.host = target.name
        self.by_hand = by_hand
        self.user = login.settings.user
        self.settings = login.settings
        self._login = login

    @property
    def is_root(self) -> bool:
        return self.user == "root"

    @property
    def bytes_up(self) -> int:
        """Bytes sent to the host so far, SSH's own included."""
        return int(self._login.transport.packetizer.bytes_up)

    def open(self, argv: Sequence[str], *, terminal: bool = False) -> Channel:
        """Starts a program (two round trips), in a terminal if need be. Its arguments arrive as they are."""
        try:
            raw = self._login.transport.open_session()
            if terminal:
                raw.get_pty("dumb")
            raw.exec_command(shlex.join(argv))
        except (SSHException, EOFError, OSError) as error:
            alive = self._login.transport.is_active()
            message = f"{self.host} refused to start a program: {error}" if alive else self._lost
            raise Unreachable(message=message, host=self.host) from error
        return Channel(raw, self.host)

    def run(self, argv: Sequence[str], input: bytes = b"") -> Result:
        """Runs a program to its end, whatever its exit status. A lost connection raises Unreachable."""
        with self.open(argv) as channel:
            feeder = threading.Thread(target=_feed, args=(channel, input), daemon=True, name="ssh-stdin")
            feeder.start()
            stdout = channel.read_all()
            status = channel.exit_status()
        return Result(exit=status, stdout=stdout, stderr=channel.stderr)

    def close(self) -> None:
        self._login.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _lost(self) -> str:
        return f"the connection to {self.host} was lost"


def _feed(channel: Channel, data: bytes) -> None:
    """A program may end before it has read everything; a lost connection is noticed by the reader."""
    with contextlib.suppress(BrokenPipeError, Unreachable):
        channel.write(data)
    channel.close_stdin()


def connect(target: Target, options: SshOptions) -> Link:
    """Connects and logs in, with OpenSSH's settings and host key rules (six round trips when all goes well).

    Raises Unreachable when the host can't be reached, won't let the user in, or its key is unknown, changed
    or revoked; ConfigError when ssh_config makes no sense. Nothing was touched then.
    """
    started = time.monotonic()
    link = Link(target, login(target, options), ssh_command(target, options))
    link.took = time.monotonic() - started
    return link
