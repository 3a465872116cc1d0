"""Fujin, set up as its Django profile and its bootstrap would, but for the web server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.bench.bed import Bed, Run, Way
from tests.bench.peers.environment import environment
from tests.bench.projects import WORKERS
from tests.support.project import Project

APP = "peerfujin"
PACKAGES = ("fujin-cli==0.27.1", "hatchling>=1.27")
SHIPS = ("shop", "catalog", "manage.py", "VERSION.txt")
UV = "/usr/local/lib/deployer/tools/bin/uv"

PREPARE = r"""\
set -eu
test ! -e /opt/fujin || exit 0
useradd --create-home --shell /bin/bash fujin
printf 'fujin ALL=(ALL) NOPASSWD: ALL\nDefaults:fujin env_keep += SSL_CERT_FILE\n' > /etc/sudoers.d/fujin
mkdir -p /home/fujin/.ssh /home/fujin/.local/bin /opt/fujin/{app}/.install
cp /root/.ssh/authorized_keys /home/fujin/.ssh/
cp {uv} /home/fujin/.local/bin/uv
cd /opt/fujin/{app}/.install
{uv} venv --quiet --python /usr/bin/python3 .venv
export UV_CACHE_DIR=/var/cache/deployer-{cache}
{uv} pip install --quiet --python .venv/bin/python --compile-bytecode -r /dev/stdin
chown -R fujin:fujin /home/fujin /opt/fujin
"""
"""What ``fujin server bootstrap`` makes, and the app's dependencies, as after an earlier deploy."""
TOML = """\
app = "{app}"
python_version = "3.11"
build_command = "{bin}/hatchling build -t wheel >/dev/null 2>&1"
distfile = "dist/{app}-{{version}}-py3-none-any.whl"
requirements = "requirements.txt"
installation_mode = "python-package"
[[hosts]]
address = "{host}"
port = {port}
user = "fujin"
key_filename = "{key}"
env = '''
DJANGO_SETTINGS_MODULE=peer_settings
STATE_DIRECTORY=/opt/fujin/{app}
'''
"""
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{app}"
version = "1.{number}"
requires-python = ">=3.9"
[project.scripts]
{app} = "manage:main"
[tool.hatch.build.targets.wheel]
only-include = {ships}
"""
SERVICE = """\
[Unit]
Description={{app_name}}, deployed by Fujin
[Service]
Type=notify
User={{app_user}}
WorkingDirectory={{app_dir}}
EnvironmentFile={{install_dir}}/.env
RuntimeDirectory={{app_name}}
UMask=0002
ExecStartPre={{install_dir}}/.venv/bin/{{app_name}} migrate
ExecStartPre={{install_dir}}/.venv/bin/{{app_name}} collectstatic --no-input
ExecReload={{install_dir}}/.venv/bin/{{app_name}} migrate
ExecReload={{install_dir}}/.venv/bin/{{app_name}} collectstatic --no-input
ExecReload=/bin/kill -s HUP $MAINPID
ExecStart={{install_dir}}/.venv/bin/gunicorn --workers {workers} --bind unix:/run/{{app_name}}/web.sock shop.wsgi:application
[Install]
WantedBy=multi-user.target
"""  # noqa: E501
SETTINGS = f"from shop.settings import *  # noqa: F403\n\nSTATIC_ROOT = '/opt/fujin/{APP}/staticfiles'\n"


class Straight(NamedTuple):
    """Where a host is reached when nobody counts."""

    host: str
    port: int


@dataclass(slots=True, kw_only=True)
class Fujin:
    """A callable that makes a one-line change and deploys it with ``fujin deploy``. ``ships`` is what the wheel has."""

    bed: Bed
    bin: Path
    project: Project
    ships: Sequence[str]
    number: int = 0

    @classmethod
    def installed(cls, bed: Bed, project: Project, app: str, ships: Sequence[str] = SHIPS) -> Fujin | None:
        """Ready to deploy a second release; None if Fujin cannot be had. ``app`` is ours: the host has its packages."""
        found = environment("fujin", *PACKAGES)
        if found is None:
            return None
        requirements = (project.path / "requirements.txt").read_bytes()
        bed.host.run(PREPARE.format(app=APP, uv=UV, cache=app), input=requirements, timeout=1800)
        fujin = cls(bed=bed, bin=found, project=project, ships=[*ships, "peer_settings.py"])
        with bed.way(0) as way:
            fujin(way)
        return fujin

    def __call__(self, way: Way) -> Run:
        self.bed.change(self.project)
        self.number += 1
        directory = self._directory(self.project.path, way)
        # Fujin watches its standard input: one that is at its end would keep it spinning.
        return way.run(["sh", "-c", f"exec {self.bin}/fujin deploy --no-input <> nothing"], directory, 1800)

    def _directory(self, source: Path, way: Way) -> Path:
        """The project in the shape that Fujin ships: a wheel with a command of the app's name."""
        directory = self.bed.directory / "fujin"
        shutil.copytree(source, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
        reached = way.tap or Straight(self.bed.host.address, self.bed.host.ssh_port)
        toml = TOML.format(app=APP, bin=self.bin, host=reached.host, port=reached.port, key=self.bed.host.identity)
        texts = {
            "fujin.toml": toml,
            "pyproject.toml": PYPROJECT.format(app=APP, number=self.number, ships=json.dumps(self.ships)),
            "peer_settings.py": SETTINGS,
            ".fujin/systemd/web.service": SERVICE.format(workers=WORKERS),
        }
        for name, text in texts.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        fifo = directory / "nothing"
        if not fifo.exists():
            os.mkfifo(fifo)
        return directory
