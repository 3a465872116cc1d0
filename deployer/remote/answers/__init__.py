"""What a host answers, by the question. The types are the ones that are shown, so nothing is copied between two sets.

What a type does not have is ignored: a newer host may tell more. A few fields are the laptop's own: no host is believed
in them, for the code that asks sets them after decoding.
"""

from deployer.remote.answers.by_question import Calendar, Calendars, Nothing, Previewed, Run
from deployer.remote.answers.doctor import Diagnosis, Finding
from deployer.remote.answers.environment import Environment, HostVariable, Staged, VariableRow, Variables
from deployer.remote.answers.job import Aborted, AskAnswer, HeldRelease, Ids, Job, Lock, LockAnswer, Version
from deployer.remote.answers.maintenance import Maintenance, MaintenanceBegun, MaintenanceEnded
from deployer.remote.answers.operate import Prunable, Restarted, Started, Stopped
from deployer.remote.answers.releases import History, LedgerEntry, ReleaseRow, Releases
from deployer.remote.answers.status import Lingering, Status, StatusOf, TimerRow, UnitRow

__all__ = [
    "Aborted",
    "AskAnswer",
    "Calendar",
    "Calendars",
    "Diagnosis",
    "Environment",
    "Finding",
    "HeldRelease",
    "History",
    "HostVariable",
    "Ids",
    "Job",
    "LedgerEntry",
    "Lingering",
    "Lock",
    "LockAnswer",
    "Maintenance",
    "MaintenanceBegun",
    "MaintenanceEnded",
    "Nothing",
    "Previewed",
    "Prunable",
    "ReleaseRow",
    "Releases",
    "Restarted",
    "Run",
    "Staged",
    "Started",
    "Status",
    "StatusOf",
    "Stopped",
    "TimerRow",
    "UnitRow",
    "VariableRow",
    "Variables",
    "Version",
]  # fmt: skip
