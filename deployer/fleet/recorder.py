"""What is reported of one host of a command: passed on to the display, with its last failure kept."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from deployer import events
from deployer.errors import DeployerError, Exit, Mixed
from deployer.errors.bug import Bug
from deployer.events import Event, Reporter
from deployer.fleet.messages import HostFailed, HostLost
from deployer.remote.session import Over
from deployer.wire.lazydata import dataclass

__all__ = ["Dismissed", "Recorder"]


class Dismissed(Exception):
    """The coordinator has no use for this host any more, and its job had not begun."""


@dataclass(kw_only=True, eq=False)
class _Told(DeployerError):
    """An error that is not reported: the host has reported it, or there is none."""

    exit: Exit = Exit.BUG


class Recorder:
    """The reporter of one host. ``failed`` is its last failure, ``said`` what it said when it ended well; nothing is
    passed on while it is ``muted``."""

    def __init__(self, host: str, report: Reporter) -> None:
        self.failed: events.Failed | None = None
        self.said = ""
        self.muted = False
        self._host, self._report = host, report

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.Failed):
            self.failed = event
        if isinstance(event, events.Finished) and not event.exit:
            self.said = event.summary
        if not self.muted:
            self._report(event)

    def end(self, error: DeployerError) -> None:
        """Report the end of the work on this host as the host itself would, unless it did."""
        if isinstance(error, _Told):
            return
        with contextlib.suppress(Exception):  # whatever the display makes of it, the others must not wait for it
            self(events.failure(self._host, error))
            self(events.Finished(host=self._host, exit=int(error.exit), summary=error.message))

    def refusal(self, over: Over) -> DeployerError:
        """What the host has told when it refused, as an error."""
        told, exit = self.failed, over.outcome.exit
        message = told.message if told else f"refused (exit code {int(exit)})"
        error = _Told(message=message, host=self._host, exit=exit)
        return error if told is None else replace(error, state=told.state, next=told.next, logs=told.logs)

    def last_message(self, error: BaseException, *, sent: bool) -> HostFailed | HostLost:
        """What the coordinator is told of an error that ended the work here. ``sent``: a job may have begun."""
        host = self._host
        match error:
            case Dismissed():
                return HostFailed(host=host, error=_Told(message="the fleet gave up before", host=host))
            case Over():
                return HostFailed(host=host, error=self.refusal(error))
            case Mixed():
                return HostLost(host=host, error=error)
            case DeployerError():
                return HostFailed(host=host, error=error)
        # A bug must not leave the others waiting for this host.
        state = "what it serves, and whether something runs there, is not known" if sent else "nothing was touched"
        bug = Bug.of(error, host=host, state=state)
        return HostLost(host=host, error=bug) if sent else HostFailed(host=host, error=bug)
