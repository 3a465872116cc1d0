"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

from invoke.collection import Collection

from deployer.cli.phases import phase_task
from deployer.cli.usage.program import explain_usage
from deployer.tasks.inspect import doctor, logs, releases, status
from deployer.tasks.operate import lock, run, unlock
from deployer.tasks.prepare import init, setup
from deployer.tasks.release import abort, attach, deploy, plan, reload, rollback, upload
from deployer.wire.protocol import PHASES

__all__ = ["namespace"]


def _namespace() -> Collection:
    everything = Collection(
        *(deploy, reload, rollback, plan, attach, abort),
        *(status, releases, logs, doctor),
        *(run, lock, unlock),
        *(setup, init),
    )
    everything.add_collection(Collection("phase", upload, *(phase_task(name) for name in PHASES[1:])))
    return everything


namespace = _namespace()
explain_usage()
