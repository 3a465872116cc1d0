"""The same one-line deploy by other tools, on the same host and through the same link."""

from tests.bench.peers.series import peers

__all__ = ["peers"]
