"""``deployer init``: the files a project needs, from what it says about itself. Overwrites nothing.

It checks first, asks at most three questions, and writes nothing outside a project directory.
"""

from deployer.commands.init.mistakes import chosen, refuse_mistake
from deployer.commands.init.questions import Asking, Defaults, Interview, interview
from deployer.commands.init.write import FABFILE, FABRIC, plan_init, would_write, write

__all__ = [
    "FABFILE",
    "FABRIC",
    "Asking",
    "Defaults",
    "Interview",
    "chosen",
    "interview",
    "plan_init",
    "refuse_mistake",
    "would_write",
    "write",
]
