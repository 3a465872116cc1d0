"""Stored code and environments: what is recorded of their files, and what differs from that."""
