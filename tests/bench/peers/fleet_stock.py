"""Stock Fabric on several hosts, as people write it: the same steps on one host after the other, and a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.fleet import FleetBed
from tests.support.fleet.app import APP, NAME
from tests.support.project import Project
from tests.support.site import FAB

PEER, PORT = f"peer-{APP}", 8002
SERVE = f"""\
import os
import socket

server = socket.socket(socket.AF_UNIX)
server.bind("/run/{PEER}/web.sock")
os.chmod("/run/{PEER}/web.sock", 0o666)
server.listen(128)
os.dup2(server.fileno(), 3)
os.set_inheritable(3, True)  # it may have been 3 all along
os.environ["DEPLOYER_RELEASE"] = os.path.basename(os.getcwd())
os.execv("/usr/bin/python3", ["python3", "server.py"])
"""
"""The app serves on file descriptor 3; here nobody but itself holds its socket, as is usual."""
PREPARE = f"""\
set -eu
test ! -e /srv/{PEER} || exit 0
mkdir -p /srv/{PEER}/releases
cp -a "$(readlink -f /srv/{APP}/current/code)" /srv/{PEER}/releases/r0
ln -s releases/r0 /srv/{PEER}/current
cat > /srv/{PEER}/serve.py
cat > /etc/systemd/system/{PEER}.service <<END
[Service]
User={APP}
WorkingDirectory=/srv/{PEER}/current
RuntimeDirectory={PEER}
ExecStart=/usr/bin/python3 /srv/{PEER}/serve.py
END
cat > /etc/nginx/sites-enabled/{PEER}.conf <<END
server {{ listen {NAME}:{PORT}; location / {{ proxy_pass http://unix:/run/{PEER}/web.sock; }} }}
END
systemctl daemon-reload
systemctl start {PEER}
systemctl reload nginx
"""
FABFILE = f'''\
from fabric import task


@task
def deploy(c, project, release):
    """Sends what the last commit changed, and restarts the app."""
    new = f"/srv/{PEER}/releases/{{release}}"
    c.local(f"git -C {{project}} diff --name-only HEAD~1 | tar -C {{project}} -czf {{release}}.tgz -T -")
    c.put(f"{{release}}.tgz", f"/tmp/{{release}}.tgz")
    c.run(f"cp -al $(readlink -f /srv/{PEER}/current) {{new}} && tar -xzf /tmp/{{release}}.tgz -C {{new}}")
    c.run(f"ln -sfn releases/{{release}} /srv/{PEER}/current")
    c.run("systemctl restart {PEER}")
    c.run("curl -fsS --retry 20 --retry-all-errors --retry-delay 0 --retry-max-time 10 "
          "--unix-socket /run/{PEER}/web.sock http://localhost/healthz")
'''


@dataclass(slots=True)
class StockFleet:
    """Where it is done from. ``count`` numbers the releases."""

    directory: Path
    project: Project
    count: int = 0

    @classmethod
    def prepared(cls, bed: FleetBed, directory: Path) -> StockFleet:
        """Have the peer's own copy of the app serve on every host, beside ours."""
        bed.each(lambda member: member.host.run(PREPARE, input=SERVE.encode()))
        directory.mkdir(exist_ok=True)
        (directory / "fabfile.py").write_text(FABFILE)
        return cls(directory, bed.project)

    def argv(self, config: Path, hosts: Sequence[str]) -> tuple[list[str], str]:
        """The command that deploys the last commit to hosts, and the release that they then answer with."""
        self.count += 1
        release = f"r{self.count}"
        named = ",".join(f"root@{host}" for host in hosts)
        return [FAB, "-S", str(config), "-H", named, "deploy", str(self.project.path), release], release
