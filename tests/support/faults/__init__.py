"""Accidents at every step of a deploy: ordered on a real host, and what must be true afterwards."""
