"""A data service of an app, as it was found or made."""

from __future__ import annotations

from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass

AGAIN = do("put right on the host what it says above; then") + run("fab setup -H root@HOST", "goes on where it stopped")
"""What to do when a service refuses something that no cause explains."""


@dataclass(frozen=True)
class Service:
    """``variable`` is what the app finds it by, and ``url`` its value. ``changed`` is what was made now, ``found`` what
    was there already, for people."""

    variable: str
    url: str
    changed: tuple[str, ...]
    found: str
