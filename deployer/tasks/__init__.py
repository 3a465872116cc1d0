"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

from invoke.collection import Collection

from deployer.cli.phases import phase_task
from deployer.cli.usage.program import explain_usage
from deployer.tasks.console import manage, run, shell
from deployer.tasks.inspect import doctor, logs, releases, status
from deployer.tasks.operate import list_timers, lock, prune, restart, run_timer, scale, start, stop, unlock
from deployer.tasks.prepare import destroy, init, setup
from deployer.tasks.release import abort, attach, deploy, plan, reload, rollback, upload
from deployer.wire.protocol import PHASES

__all__ = ["namespace"]


def _namespace() -> Collection:
    everything = Collection(
        *(deploy, reload, rollback, plan, attach, abort),
        *(status, releases, logs, doctor),
        *(run, shell, manage, restart, scale, stop, start, lock, unlock, prune),
        *(setup, init, destroy),
    )
    everything.add_collection(Collection("phase", upload, *(phase_task(name) for name in PHASES[1:])))
    timers = Collection("timer")
    timers.add_task(run_timer, name="run")
    timers.add_task(list_timers, name="list")
    everything.add_collection(timers)
    return everything


namespace = _namespace()
explain_usage()
