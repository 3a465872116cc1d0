"""Stock Fabric, as a careful person writes it: one connection, one command after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.bed import Bed, Run, Way
from tests.bench.peers.place import Place
from tests.support.project import Project
from tests.support.site import FAB

FABFILE = '''\
from fabric import task


@task
def deploy(c, project, name, release, whole=False):
    """Sends what the last commit changed (or the whole project), and restarts the app."""
    home = f"/srv/{name}"
    new = f"{home}/releases/{release}"
    if whole:
        c.local(f"git -C {project} archive --format=tar.gz -o $PWD/{release}.tgz HEAD")
    else:
        c.local(f"git -C {project} diff --name-only HEAD~1 | tar -C {project} -czf {release}.tgz -T -")
    c.put(f"{release}.tgz", f"/tmp/{release}.tgz")
    if whole:
        c.run(f"mkdir {new} && tar -xzf /tmp/{release}.tgz -C {new}")
    else:
        c.run(f"cp -al $(readlink -f {home}/current) {new} && tar -xzf /tmp/{release}.tgz -C {new}")
    manage = f"cd {new} && DJANGO_SETTINGS_MODULE=shop.settings ../../venv/bin/python manage.py"
    c.run(f"{manage} collectstatic --noinput")
    c.run(f"{manage} migrate --noinput")
    c.run(f"ln -sfn releases/{release} {home}/current")
    c.run(f"systemctl restart {name}")
    c.run(f"curl -fsS --unix-socket /run/{name}/web.sock http://localhost/healthz")
'''
"""The change alone is sent, and files are linked instead of copied: as cheap as these steps can be made."""


@dataclass(slots=True, kw_only=True)
class StockFabric:
    """A callable that makes a one-line change and deploys it. ``whole`` sends all files, as most recipes do."""

    bed: Bed
    project: Project
    place: Place
    whole: bool = False
    count: int = 0

    def __call__(self, way: Way) -> Run:
        directory = self._directory()
        self.bed.change(self.project)
        self.count += 1
        release = f"{'w' if self.whole else 'r'}{self.count}"
        task = [
            "deploy",
            str(self.project.path),
            self.place.name,
            release,
            *(["--whole"] if self.whole else []),
        ]
        run = way.run([FAB, "-S", str(way.config), "-H", f"root@{way.name}", *task], directory)
        (directory / f"{release}.tgz").unlink()
        return run

    def _directory(self) -> Path:
        directory = self.bed.directory / "stock-fabric"
        directory.mkdir(exist_ok=True)
        (directory / "fabfile.py").write_text(FABFILE)
        return directory
