"""Throwaway real systemd hosts with sshd on this machine, for the demo, the tutorial and the tests.

with sandbox.up() as host:
    host.run("systemctl is-system-running")
"""

from deployer.sandbox.errors import SandboxCommandError, SandboxError
from deployer.sandbox.host import SandboxHost
from deployer.sandbox.hosts import sweep, up
from deployer.sandbox.prepared import Preparation
from deployer.sandbox.records.registry import down
from deployer.sandbox.records.survey import get, listing

__all__ = ["Preparation", "SandboxCommandError", "SandboxError", "SandboxHost", "down", "get", "listing", "sweep", "up"]
