"""The answer of ``fab timer.list``, on standard output: the timers of each host, as ``fab status`` shows them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from deployer.events import HostEnd
from deployer.remote.answers import Status
from deployer.ui.answers.processes import timer_table
from deployer.ui.answers.table import begin, say_unreachable, write_answer
from deployer.ui.plain.jsonlines import as_object
from deployer.ui.style import paint
from deployer.ui.style.fit import put
from deployer.ui.style.names import Names

__all__ = ["show_timers"]


def show_timers(
    statuses: Sequence[Status],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """The timers of what serves on each host; with ``json`` one object on one line."""
    if json:
        found = [{"host": one.host, "timers": as_object(one)["timers"]} for one in statuses]
        write_answer(found, unreachable, stream)
        return
    hosts = [*(status.host for status in statuses), *(end.host for end in unreachable)]
    names, console = Names(hosts), begin(app, hosts, stream)
    for status in statuses:
        if len(hosts) > 1:
            paint.say(console, "\n  ", (names(status.host), "bold cyan"))
        if status.timers:
            put(console, timer_table(status.timers, time.time() if now is None else now))
        else:
            what = "runs no timer here" if status.current else "nothing serves yet, so no timer runs"
            paint.say(console, f"  {status.current or ''} {what}".rstrip())
    say_unreachable(console, unreachable, names)
