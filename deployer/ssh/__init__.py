"""SSH, as strict as OpenSSH: the only importer of Fabric and Paramiko connections."""

from deployer.ssh.channel import Channel
from deployer.ssh.link import Link, Result, connect
from deployer.ssh.target import Question, SshOptions, Target

__all__ = ["Channel", "Link", "Question", "Result", "SshOptions", "Target", "connect"]
