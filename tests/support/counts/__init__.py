"""What a command costs in files, on this machine and on its host: counted by strace, exactly, and slowly.

``with counted(site) as counts: site.fab("deploy")``; afterwards ``counts.laptop`` and ``counts.host`` are numbers by
name (COUNTED). Time is not to be measured meanwhile: every system call is stopped twice.
"""

from tests.support.counts.calls import COUNTED
from tests.support.counts.counting import Counts, counted, counting, missing
from tests.support.counts.processes import cpu_seconds, processes_of

__all__ = ["COUNTED", "Counts", "counted", "counting", "cpu_seconds", "missing", "processes_of"]
