"""``fab run``, ``fab shell``, ``fab manage``: one command in a release, with no more rights than the app has.

``request`` is what may be asked for, ``target`` the release and the words; ``unit`` runs them, ``terminal`` is the
pseudo-terminal, ``output`` what comes back, ``listening`` what the laptop sends meanwhile. A command takes no lock, and
ends when this program ends.
"""

from deployer.host.processes.run.request import RunRequest
from deployer.host.processes.run.unit import run

__all__ = ["RunRequest", "run"]
