"""What people and machines see. Nothing here decides anything, and ``rich`` is imported only where it is needed.

People read the stream (standard error), machines read standard output. ``live`` draws on terminals, ``plain`` writes
lines, ``answers`` prints what was asked for, each for N >= 1 hosts; ``progress`` is what live and plain know.
"""

from deployer.ui.reporters import awaiting, is_live, print_error, reporter
from deployer.ui.stream import write_bytes

__all__ = ["awaiting", "is_live", "print_error", "reporter", "write_bytes"]
