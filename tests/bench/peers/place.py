"""Where the peers deploy to: an app of their own on the host, made of what ours has there."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.bed import Bed
from tests.bench.projects import WORKERS

UNIT = """\
[Unit]
Description={name}, deployed by others
[Service]
Type=notify
User={app}
WorkingDirectory=/srv/{name}/current
RuntimeDirectory={name}
Environment=DJANGO_SETTINGS_MODULE=shop.settings PYTHONDONTWRITEBYTECODE=1
ExecStart=/srv/{name}/venv/bin/gunicorn --workers {workers} --worker-tmp-dir /dev/shm --bind unix:/run/{name}/web.sock shop.wsgi:application
KillMode=mixed
"""  # noqa: E501
PREPARE = """\
set -eu
test ! -e /srv/{name} || exit 0
mkdir -p /srv/{name}/releases
cp -a "$(readlink -f /srv/{app}/current/code)" /srv/{name}/releases/r0
ln -s "$(readlink -f /srv/{app}/current/venv)" /srv/{name}/venv
ln -s releases/r0 /srv/{name}/current
cat > /etc/systemd/system/{name}.service
systemctl daemon-reload
cd /srv/{name}/current && DJANGO_SETTINGS_MODULE=shop.settings ../../venv/bin/python manage.py migrate --noinput
systemctl start {name}
"""
"""The release that a peer's first deploy builds on: our tree, our virtual environment, a plain unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A peer's app on the host. ``app`` is ours, whose code and user it has."""

    app: str

    @property
    def name(self) -> str:
        return f"peer-{self.app}"

    def prepare(self, bed: Bed) -> None:
        """Have it serve. Idempotent."""
        unit = UNIT.format(name=self.name, app=self.app, workers=WORKERS)
        bed.host.run(PREPARE.format(name=self.name, app=self.app), input=unit.encode(), timeout=120)
