"""How far a command is on its N >= 1 hosts: their release, their stages, and the end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from deployer import events as ev
from deployer.ui.progress.host import MOMENT, HostProgress
from deployer.ui.progress.stage import UNDONE, HostStage, rank, stage_of, tally
from deployer.ui.style.text import clean_lines

__all__ = ["CommandProgress", "Dedupe"]


class CommandProgress:
    """This machine (``""``) and the hosts, in the order in which they were named. Not thread-safe: its owner locks.

    ``end`` is the event of the fleet. For one host it is made from its ``Finished``, and lists no hosts: their outcomes
    explain where hosts differ.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.many = len(hosts) > 1
        self.by_host = {host: HostProgress(host) for host in ("", *hosts)}
        self.release = ""
        self.end: ev.FleetFinished | None = None
        self.begun: float | None = None

    def host(self, name: str) -> HostProgress:
        return self.by_host.setdefault(name, HostProgress(name))

    @property
    def hosts(self) -> list[HostProgress]:
        """Those of the hosts, as named."""
        return [host for name, host in self.by_host.items() if name]

    def apply(self, event: ev.Event, now: float) -> None:
        """Take the event in."""
        self.begun = now if self.begun is None else self.begun
        host = self.host(event.host)
        if isinstance(event, ev.PhaseFailed) and not self.gives_up(host):
            host.ready = ""
        if isinstance(event, ev.Failed):
            host.undone = host.undone or (event.exit in UNDONE and self.gives_up(host))
        if isinstance(event, ev.FleetFinished):
            self.end = replace(event, seconds=self._took(event.seconds, now))
        else:
            host.apply(event, now)
        if isinstance(event, ev.Finished) and not self.many and all(one.finished for one in self.hosts):
            took = self._took(event.seconds, now)
            self.end = ev.FleetFinished(exit=event.exit, hosts=(), seconds=took, summary=host.verdict())
        self.release = getattr(event, "release", "") or self.release

    def gives_up(self, host: HostProgress) -> bool:
        """Whether the host, if it failed now, did so only because another one did."""
        if not self.many:
            return False
        others = any(stage_of(other).kind == "failed" for other in self.hosts if other is not host)
        return bool(host.ready) and (others or host.running() is None)

    def is_answer(self, logs: ev.Logs) -> bool:
        """Whether log lines are what was asked for: the one host is in no phase."""
        return not self.many and not self.host(logs.host).in_phase()

    def worked(self) -> bool:
        """Whether there is anything to show of what the hosts did; of one host also of what this machine did for it."""
        return any(host.worth_keeping() for host in (self.hosts if self.many else self.by_host.values()))

    def elapsed(self, now: float) -> float:
        return 0.0 if self.begun is None else now - self.begun

    def counts(self) -> list[tuple[HostStage, int]]:
        """How many hosts are at which stage: the furthest first, failures last."""
        return tally(map(stage_of, self.hosts))

    def share(self) -> float | None:
        """How much of the uploads that run is sent, from 0 to 1."""
        uploads = [phase for host in self.hosts if (phase := host.running()) and phase.total]
        return sum(one.done for one in uploads) / max(sum(one.total for one in uploads), 1) if uploads else None

    def ranked(self, most: int) -> tuple[list[HostProgress], list[HostProgress]]:
        """The ``most`` hosts that matter most, and the others. All, in the order given, when they fit."""
        if len(self.hosts) <= most:
            return self.hosts, []
        ranked = sorted(self.hosts, key=rank)
        return ranked[: max(most, 0)], ranked[max(most, 0) :]

    def leave(self, now: float) -> None:
        """The command was interrupted: end what still runs."""
        for host in self.by_host.values():
            host.end_running("left", now)

    def _took(self, reported: float, now: float) -> float:
        """Seconds from the first event, or those of the end event if they are more."""
        elapsed = self.elapsed(now)
        return max(reported, elapsed if elapsed >= MOMENT else 0.0)


class Dedupe:
    """Lets the same note or warning of several hosts pass once."""

    def __init__(self) -> None:
        self._hosts: dict[tuple[type, str], list[str]] = {}

    def is_first(self, event: ev.Note | ev.Warn) -> bool:
        """Whether no other host has sent it; the same host may send it again."""
        hosts = self._hosts.setdefault((type(event), event.text), [])
        if event.host not in hosts:
            hosts.append(event.host)
        return event.host == hosts[0]

    def repeats(self) -> Iterator[tuple[bool, list[str], str]]:
        """Whether it is a warning, the other hosts that sent it, and its text in one line."""
        for (kind, text), hosts in self._hosts.items():
            if len(hosts) > 1:
                yield kind is ev.Warn, hosts[1:], "; ".join(clean_lines(text))
