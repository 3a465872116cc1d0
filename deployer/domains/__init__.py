"""Whether the names of a site lead to its hosts, as seen from this machine: the DNS, and who answers."""

from deployer.domains.lookup import Lookup, Wanted

__all__ = ["Lookup", "Wanted"]
