"""``fab doctor``: find problems on a host, and have the host repair them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from msgspec import structs

from deployer import events
from deployer.commands.release import djangoadvice
from deployer.errors import Exit
from deployer.remote.answers import Diagnosis, Finding
from deployer.remote.job import Follower
from deployer.remote.refusals import refuse_if_busy
from deployer.remote.session import Remote
from deployer.remote.site import Site, open_remote, who
from deployer.ssh.link import connect

__all__ = ["fix", "look"]

_EXAMINATION = 600.0
"""Seconds that a host has to look at itself: it reads every file of what serves, and of its standby."""


def look(site: Site) -> tuple[Exit, Diagnosis]:
    """What the host finds in itself; nothing is changed."""
    with open_remote(site) as (remote, _):
        found = _with_advice(site, remote, _look(site, remote))
    if any(one.fix for one in found.findings):
        found = structs.replace(found, next=site.advise("fab doctor --fix"))
    return _judged(Exit.OK, found)


def fix(site: Site) -> tuple[Exit, Diagnosis]:
    """Have the host recover, follow that, and look again: what is left is a person's to do."""
    with open_remote(site) as (remote, facts):
        refuse_if_busy(remote, facts)
        found = _look(site, remote)
        if not found.findings:
            return Exit.OK, found
        follower = Follower(remote, reconnect=lambda: connect(site.target, site.ssh), by=who())
        with _sigterm_as_ctrl_c():
            outcome = follower.send({"op": "doctor", "fix": True})
    with open_remote(replace(site, report=_quietly(site))) as (remote, _):
        return _judged(outcome.exit, _look(site, remote))


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """In the block, SIGTERM raises KeyboardInterrupt: it is explained, and the exit code is 130. Only the main thread
    can have it so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _judged(exit: Exit, found: Diagnosis) -> tuple[Exit, Diagnosis]:
    """MIXED when there are findings, else the exit code as it is."""
    return (Exit.MIXED if exit == Exit.OK and found.findings else exit), found


def _look(site: Site, remote: Remote) -> Diagnosis:
    found = remote.query({"op": "doctor", "fix": False}, Diagnosis, limit=_EXAMINATION)
    return structs.replace(
        found,
        app=site.config.app,
        host=site.host,
        current=found.current or None,
        findings=tuple(_advised(site, one) for one in found.findings),
        next="",
    )


def _with_advice(site: Site, remote: Remote, found: Diagnosis) -> Diagnosis:
    """With notes on what Django must be told to be served by the site, where it serves."""
    config = site.config
    if not found.current or found.busy or not config.runs_web or not config.proxy.chosen:
        return found
    server = "command" if config.web.command else config.web.server_name or ""
    notes = djangoadvice.advise(djangoadvice.ask(remote), config.proxy.site(), server)
    return structs.replace(found, notes=(*found.notes, *notes))


def _advised(site: Site, finding: Finding) -> Finding:
    """With a repair that can be typed here."""
    return structs.replace(finding, repair=site.advise(finding.repair))


def _quietly(site: Site) -> events.Reporter:
    """The same session again is no news."""

    def hear(event: events.Event) -> None:
        if not isinstance(event, (events.Connecting, events.Connected)):
            site.report(event)

    return hear
