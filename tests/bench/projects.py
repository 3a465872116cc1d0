"""The two projects that are deployed: the small sample app, and a generated one of 5,000 files."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.support.project import Project, make_project
from tests.support.site import FABFILE

SMALL, LARGE = "shop", "bulk"
LARGE_FILES = 5_000
WORKERS, SETTLE, WATCH = 2, 0.25, 0.5
"""Waits are what a user chooses: here they are short, and the same throughout. Seconds."""

CONFIG = """\
app = "{app}"
[web]
workers = {workers}
health = {{ path = "/healthz", settle = {settle}, timeout = 30 }}
[release]
build = ["python manage.py collectstatic --noinput"]
migrate = "python manage.py migrate --noinput"
watch = {watch}
drain = 10
{proxy}
[env]
DJANGO_SETTINGS_MODULE = "shop.settings"
"""
PROXY = """\
[proxy]
kind = "nginx"
listen = "{address}:80"
static = {{ "/static/" = "staticfiles" }}
"""


def config_text(app: str, proxy: str = "") -> str:
    """The deploy.toml of an app."""
    return CONFIG.format(app=app, workers=WORKERS, settle=SETTLE, watch=WATCH, proxy=proxy)


def small(path: Path, address: str) -> Project:
    """The sample Django app, behind nginx."""
    config = config_text(SMALL, PROXY.format(address=address))
    return make_project(path, extra_files=dict(FABFILE), config=config)


def large(path: Path) -> Project:
    """The same app among 5,000 files of about 20 MB: modules, templates, and pictures that do not compress."""
    config = config_text(LARGE)
    project = make_project(path, extra_files=dict(FABFILE), config=config)
    shutil.rmtree(path / "bulk", ignore_errors=True)
    have = len(project.git("ls-files").splitlines())
    for number in range(LARGE_FILES - have):
        name, content = _file(number, random.Random(number))
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    project.commit("grown")
    return project


def _file(number: int, chance: random.Random) -> tuple[str, bytes]:
    if number % 10 == 0:
        return f"bulk/media/{number % 37}/picture{number}.png", chance.randbytes(20_000)
    words = " ".join(f"word{chance.randrange(5_000)}" for _ in range(220))
    if number % 10 < 6:
        return (
            f"bulk/package{number % 97}/module{number}.py",
            f'"""{words}."""\n\nVALUE = {number}\n'.encode(),
        )
    return f"bulk/templates/{number % 53}/page{number}.html", f"<p>{words} {words}</p>\n".encode()


def change_one_line(project: Project, number: int) -> None:
    """Commit a change of one line, in a source file of ordinary size (the app's views)."""
    file = project.path / "catalog/views.py"
    kept = [line for line in file.read_text().splitlines() if not line.startswith("CHANGE = ")]
    file.write_text("\n".join([*kept, f"CHANGE = {number}", ""]))
    project.commit(f"change {number}")
