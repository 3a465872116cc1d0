"""Projects of any number of files, and environments of any size: what a deploy must not cost the more for."""

from tests.support.scale.projects import BUILD, grow, grown
from tests.support.scale.wheels import Wheels, wheels

__all__ = ["BUILD", "Wheels", "grow", "grown", "wheels"]
