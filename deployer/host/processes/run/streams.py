"""Connects a command with the laptop: by pipes, or by a terminal."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import field

from deployer.host.processes.run.listening import Input, Laptop
from deployer.host.processes.run.output import Bytes, Emit, Lines, Sink, pump
from deployer.host.processes.run.request import RunRequest
from deployer.host.processes.run.terminal import Terminal
from deployer.host.state.masking import StreamMask
from deployer.host.system import runner, systemd
from deployer.host.units import transient
from deployer.host.units.transient import PAUSE, TRIES
from deployer.wire.lazydata import dataclass


@dataclass
class Streams:
    """The streams of the command that ``unit`` runs. ``secrets`` are masked in what it prints; ``masked`` is how many
    were in standard output."""

    emit: Emit
    user: str
    unit: str
    secrets: Sequence[str]
    laptop: Laptop
    masked: int = field(default=0, init=False)

    def run(self, argv: Sequence[str], given: bytes, request: RunRequest) -> int:
        """Run ``argv``, which is systemd-run, to the end of the unit; its exit status. The launcher reads ``given``
        before all input."""
        mask = StreamMask(self.secrets)
        try:
            if request.terminal is not None:
                return self._in_terminal(argv, given, Terminal.open(self.user, request.terminal.size), mask)
            printed = Bytes(self.emit, mask) if request.raw else Lines(self.emit, "out", mask)
            return self._in_pipes(argv, given, printed, takes_input=request.takes_input)
        finally:
            self.masked = mask.count

    def _in_terminal(self, argv: Sequence[str], given: bytes, terminal: Terminal, mask: StreamMask) -> int:
        process = _started(argv, runner.anonymous(given), terminal.theirs)
        typed = Input(terminal.ours, self._taken, ends=False)
        with self.laptop.heard(typed, terminal.resize):
            return self._pump(process, {terminal.ours: Bytes(self.emit, mask)})

    def _in_pipes(self, argv: Sequence[str], given: bytes, printed: Sink, *, takes_input: bool) -> int:
        """A command without input is started again when systemd dropped the request. It has not begun if systemd knows
        of no end, and if the launcher has read nothing: its descriptor and ours have one offset (dup(2)). Input is not
        kept, so a command that takes some is started once."""
        errors = Lines(self.emit, "err", StreamMask(self.secrets))

        def once(theirs: int) -> int:
            process = _started(argv, theirs)
            assert process.stdout is not None and process.stderr is not None
            return self._pump(process, {process.stdout.fileno(): printed, process.stderr.fileno(): errors})

        if takes_input:
            theirs, ours = os.pipe()
            with self.laptop.heard(Input(ours, self._taken, ends=True, first=given)):
                return once(theirs)
        unread = runner.anonymous(given)
        try:
            with self.laptop.heard():
                for _ in range(TRIES):
                    told = once(os.dup(unread))
                    if told == 0 or os.lseek(unread, 0, os.SEEK_CUR) > 0 or systemd.end_of(self.unit).is_known:
                        break
                    time.sleep(PAUSE)
                return told
        finally:
            os.close(unread)

    def _taken(self, count: int) -> None:
        self.emit("taken", bytes=count)

    def _pump(self, process: subprocess.Popen[bytes], sinks: Mapping[int, Sink]) -> int:
        try:
            return pump(process, sinks, lambda: transient.is_under_way(systemd.show(self.unit)))
        except BaseException:
            process.kill()
            raise


def _started(argv: Sequence[str], stdin: int, printed: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """systemd-run, whose streams become the unit's. The descriptors are its own from now on."""
    try:
        return subprocess.Popen(
            list(argv), stdin=stdin, stdout=printed, stderr=printed, env=runner.ENVIRONMENT, cwd="/"
        )
    finally:
        for descriptor in {stdin, printed} - {subprocess.PIPE}:
            os.close(descriptor)
