"""The demo's project: a small Django app in a git repository of its own, made from the files in ``app``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from deployer.commands.init import FABFILE, FABRIC
from deployer.sandbox import SandboxHost
from deployer.wire.lazydata import dataclass

__all__ = ["DemoProject", "make_project"]

APP = Path(__file__).resolve().with_name("app")
CONFIG = """\
app = "shop"
hosts = ["deploy@{host}"]

[web]
wsgi = "shop.wsgi:application"
workers = 4
health = {{ path = "/healthz", settle = 1 }}

[release]
build = ["python manage.py collectstatic --noinput"]
migrate = "python manage.py migrate --noinput"
watch = 3

[proxy]
kind = "nginx"
listen = "{address}:80"

[env]
DJANGO_SETTINGS_MODULE = "shop.settings"
"""
_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Demo",
    "GIT_AUTHOR_EMAIL": "demo@example.com",
    "GIT_COMMITTER_NAME": "Demo",
    "GIT_COMMITTER_EMAIL": "demo@example.com",
}


@dataclass(frozen=True, kw_only=True)
class DemoProject:
    """A git working tree, and the URL at which this machine reaches what is deployed from it."""

    path: Path
    url: str

    def change(self, version: str) -> None:
        """Commit another version of the code."""
        (self.path / "shop/version.py").write_text(f'VERSION = "{version}"\n', encoding="utf-8")
        self.commit(f"version {version}")

    def break_it(self, version: str) -> None:
        """Commit a version that imports what its requirements do not name: it cannot start."""
        wsgi = self.path / "shop/wsgi.py"
        wsgi.write_text(f"import payments\n\n{wsgi.read_text(encoding='utf-8')}", encoding="utf-8")
        self.change(version)

    def commit(self, message: str) -> None:
        """Commit all files. The user's own git configuration plays no part."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def git(self, *words: str) -> None:
        """Run git here; raises CalledProcessError."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false", *words]
        subprocess.run(command, cwd=self.path, env={**outside, **_GIT}, check=True, stdin=subprocess.DEVNULL)


def make_project(path: Path, host: SandboxHost) -> DemoProject:
    """The project's first version, committed, in the new directory ``path``, to be deployed to ``host``."""
    shutil.copytree(APP, path, ignore=shutil.ignore_patterns("__pycache__"))
    listen = host.run(["cat", "/etc/deployer-sandbox-address"]).stdout.strip()
    texts = {
        "deploy.toml": CONFIG.format(host=host.name, address=listen),
        "fabfile.py": FABFILE,
        "fabric.yaml": FABRIC,
        ".gitignore": "__pycache__/\nstaticfiles/\n",
    }
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8")
    port = "" if host.http_port == 80 else f":{host.http_port}"
    project = DemoProject(path=path, url=f"http://{host.address}{port}/")
    project.git("init", "--quiet", "--initial-branch=main")
    project.commit("version 1")
    return project
