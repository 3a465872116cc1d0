"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

from invoke.collection import Collection

from deployer.cli.phases import phase_task
from deployer.cli.usage.program import explain_usage
from deployer.tasks import maintenance
from deployer.tasks.console import manage, run, shell
from deployer.tasks.environment import TASKS, show
from deployer.tasks.inspect import doctor, logs, releases, status
from deployer.tasks.operate import list_timers, lock, prune, restart, run_timer, scale, start, stop, unlock
from deployer.tasks.prepare import destroy, init, setup
from deployer.tasks.preview import preview, promote
from deployer.tasks.release import abort, attach, deploy, plan, reload, rollback, upload
from deployer.wire.protocol import PHASES

__all__ = ["namespace"]


def _namespace() -> Collection:
    everything = Collection(
        *(deploy, reload, rollback, plan, preview, promote, attach, abort),
        *(status, releases, logs, doctor),
        *(run, shell, manage, restart, scale, stop, start, lock, unlock, prune),
        *(setup, init, destroy),
    )
    everything.add_collection(Collection("phase", upload, *(phase_task(name) for name in PHASES[1:])))
    timers = Collection("timer")
    timers.add_task(run_timer, name="run")
    timers.add_task(list_timers, name="list")
    everything.add_collection(timers)
    everything.add_collection(Collection("maintenance", maintenance.on, maintenance.off))
    environment = Collection("env")
    environment.add_task(show, name="list", default=True)
    for name, one in TASKS.items():
        environment.add_task(one, name=name)
    everything.add_collection(environment)
    return everything


namespace = _namespace()
explain_usage()
