"""A load generator: HTTP clients in a process of their own, and a report of every request."""

from deployer.sandbox.load.generator import Load
from deployer.sandbox.load.report import Example, Latencies, Report, Sample, Served

__all__ = ["Example", "Latencies", "Load", "Report", "Sample", "Served"]
