"""What a project says about itself: found by reading its files, never by importing them."""

from deployer.project.detect.disk import DiskFiles
from deployer.project.detect.locks import LockChoice
from deployer.project.detect.project import Project, inspect

__all__ = ["DiskFiles", "LockChoice", "Project", "inspect"]
