"""Projects as they are found: what `deployer init` writes for each layout is deployed as it stands, on a real host."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost
from tests.support.project import make_project
from tests.support.site import Site

pytestmark = pytest.mark.acceptance
DEPLOYER = str(Path(sys.executable).with_name("deployer"))
QUICK = """
[environments.quick.web]
workers = 1
health = { settle = 0, timeout = 20 }
[environments.quick.release]
watch = 1
drain = 5
"""
"""What makes a test quick, and is not about the layout."""
HOST = "shop.example.com"


def initialised(host: SandboxHost, path: Path, layout: str) -> Site:
    """A copy of a layout, in which `deployer init` was typed where no terminal is, and all was committed."""
    site = Site(host, make_project(path / "shop", app=f"layouts/{layout}"))
    site.wipe()
    done = subprocess.run(
        [DEPLOYER, "init"], cwd=site.project.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def quick(site: Site, env: str = "") -> None:
    """Commit what init wrote, with an environment for quick tests; ``env`` is what a person was told to add."""
    path = site.project.path / "deploy.toml"
    path.write_text(path.read_text() + QUICK + env)
    site.project.commit("Deploy with deployer")


def is_there(site: Site, path: str) -> bool:
    """Whether a file is on the host."""
    return site.host.run(f"test -e {shlex.quote(path)}", check=False).returncode == 0


def page(site: Site, path: str = "/") -> str:
    """What the release that serves answers to the site's name."""
    socket = "/srv/shop/current/run/web.sock"
    return str(site.host.run(f"curl -sS --fail --unix-socket {socket} http://{HOST}{shlex.quote(path)}").stdout)


@pytest.mark.parametrize("layout", ["configurations", "pydantic"])
def test_settings_that_are_classes(bookworm: SandboxHost, tmp_path: Path, layout: str) -> None:
    """Of django-configurations the class for production serves; pydantic gets its list as JSON. The database that init
    found a place for has tables, and all that is left to do is to say what the site is called."""
    site = initialised(bookworm, tmp_path, layout)
    config = site.project.path / "deploy.toml"
    text = config.read_text().replace("# DJANGO_ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS").replace("# SHOP_", "SHOP_")
    config.write_text(re.sub(r"^health = .*\n# health", "health", text, flags=re.MULTILINE))
    quick(site)
    site.expect(0, "deploy", "-e", "quick")
    assert page(site) == f"hello from {layout}, 0 users, DEBUG is False"
    assert is_there(site, "/var/lib/shop/db.sqlite3")


@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("cookiecutter", "/"), ("monorepo", "/"), ("srcdjango", "/"), ("uvgroups", "/"), ("pylock", "/"),
        ("flask", "/healthz"), ("fastapi", "/openapi.json"), ("procfile", "/"), ("workspace", "/"), ("starlette", "/"),
        ("hashes", "/health"), ("litestar", "/"),
    ],
)  # fmt: skip
def test_a_layout_is_deployed_as_init_found_it(bookworm: SandboxHost, tmp_path: Path, layout: str, path: str) -> None:
    """Not a line is added: the app of each layout answers, with its own dependencies, migrated, from where it is."""
    site = initialised(bookworm, tmp_path, layout)
    quick(site)
    site.expect(0, "deploy", "-e", "quick")
    assert f"hello from {layout}" in page(site, path)
    if layout == "procfile":  # its release command and its processes ran where its web process does
        assert is_there(site, "/var/lib/shop/migrated")
        assert "shop-beat@" in str(site.host.run("systemctl list-units --plain 'shop-*'").stdout)
    if layout == "monorepo":  # where the settings read the name of the file, it is one that the app may write
        assert is_there(site, "/var/lib/shop/db.sqlite3")


def test_what_only_its_owner_knows_is_one_line(bookworm: SandboxHost, tmp_path: Path) -> None:
    """A project that reads all from the environment needs the site's name, where init left a place for it: then there
    are tables, uploads have a place, and DEBUG, on by default, is off."""
    site = initialised(bookworm, tmp_path, "environ")
    config = site.project.path / "deploy.toml"
    config.write_text(config.read_text().replace("# ALLOWED_HOSTS", "ALLOWED_HOSTS").replace("# health", "health"))
    config.write_text(re.sub(r"^health = \{ path = \"/\" \}.*\n", "", config.read_text(), flags=re.MULTILINE))
    quick(site)
    site.expect(0, "deploy", "-e", "quick")
    assert page(site) == "hello from environ, 0 users"
    asked = "import django.conf; c = django.conf.settings; print(c.DEBUG, c.MEDIA_ROOT, len(c.SECRET_KEY) > 50)"
    command = [*site.argv("run", "-e", "quick"), "--", "python", "manage.py", "shell", "-c", asked]
    done = subprocess.run(command, cwd=site.project.path, capture_output=True, text=True, check=True)
    assert "False /var/lib/shop/media True" in done.stdout


def test_what_the_code_has_the_app_write_outlives_releases(bookworm: SandboxHost, tmp_path: Path) -> None:
    """SQLite and uploads whose places are fixed in the code: init has them kept outside it. Another release, and a
    rollback, have the same; the committed files are where they begin; the app cannot write its own code."""
    site = initialised(bookworm, tmp_path, "fixed")
    assert (
        'shared = { "db.sqlite3" = "db.sqlite3", "media/" = "media" }'
        in (site.project.path / "deploy.toml").read_text()
    )
    quick(site)
    told = site.expect(0, "deploy", "-e", "quick")
    first = site.host.run("basename $(readlink /srv/shop/current)").stdout.strip()
    assert "media/ is shared, and files in it ship (media/default.txt)" in told.text
    assert page(site, "/stored/default.txt") == "a committed picture\n"
    assert page(site, "/upload") == "saved notes/hello.txt, the code is closed"
    kept = site.host.run("stat -c %U /var/lib/shop/db.sqlite3 /var/lib/shop/media/notes/hello.txt").stdout
    assert str(kept).split() == ["shop", "shop"]
    (site.project.path / "media/default.txt").write_text("another picture\n")
    site.project.commit("change")
    site.expect(0, "deploy", "-e", "quick")
    assert page(site) == "hello from fixed, 1 users"
    assert page(site, "/stored/notes/hello.txt") == "written by a visitor"
    assert page(site, "/stored/default.txt") == "a committed picture\n"
    site.expect(0, "reload", "-e", "quick")
    site.expect(0, "rollback", "--to", first, "-e", "quick")
    assert page(site) == "hello from fixed, 1 users"
    assert page(site, "/stored/notes/hello.txt") == "written by a visitor"
    site.expect(0, "doctor", "-e", "quick")


def test_code_is_not_for_the_app_to_write(bookworm: SandboxHost, tmp_path: Path) -> None:
    """A directory with Python modules is not shared, and neither is a directory that was written as a file; the deploy
    is refused before anything is sent, and says what to write."""
    site = initialised(bookworm, tmp_path, "fixed")
    quick(site)
    path = site.project.path / "deploy.toml"
    text = path.read_text()
    for wrong, reason in (
        ('"shop/" = "shop"', "which has Python modules (shop/__init__.py"),
        ('"media" = "media"', 'write "media/" there'),
        ('"manage.py/" = "x"', 'write "manage.py" there'),
    ):
        path.write_text(re.sub(r"^shared = .*$", f"shared = {{ {wrong} }}", text, flags=re.MULTILINE))
        site.project.commit("share")
        assert reason in site.expect(2, "deploy", "-e", "quick").text.replace("\n", " ")
    assert not is_there(site, "/srv/shop/current")


def test_what_startproject_writes_serves_once_it_is_changed_as_told(bookworm: SandboxHost, tmp_path: Path) -> None:
    """The lines that init names are all that is missing for visitors."""
    site = initialised(bookworm, tmp_path, "startproject")
    quick(site)
    lines = re.findall(r"^#     (.+)$", (site.project.path / "deploy.toml").read_text(), flags=re.MULTILINE)
    assert len(lines) == 4
    path = site.project.path / "shop/settings.py"
    settings = path.read_text()
    for line in lines:
        name = re.match(r'"?\w+"?', line)
        assert name
        settings, changed = re.subn(rf"^( *){name[0]}( =|:) .+$", rf"\1{line}", settings, flags=re.MULTILINE)
        settings += "" if changed else f"{line}\n"
    path.write_text(f"import os\n{settings}")
    for name in ("deploy.toml", ".env.production"):
        (site.project.path / name).unlink(missing_ok=True)
    subprocess.run([DEPLOYER, "init", "--yes"], cwd=site.project.path, check=True, stdout=subprocess.DEVNULL)
    quick(site)
    site.expect(0, "deploy", "-e", "quick")
    assert "<title>" in page(site, "/admin/login/")


def test_a_lock_of_another_tool_is_refused_with_its_export(bookworm: SandboxHost, tmp_path: Path) -> None:
    """init says it, the deploy refuses it, both with the command; nothing was touched."""
    site = initialised(bookworm, tmp_path, "poetry")
    quick(site)
    told = site.expect(2, "deploy", "-e", "quick")
    assert "poetry export --only main --output requirements.txt" in told.text


def test_what_a_file_with_hashes_does_not_name_is_not_installed(bookworm: SandboxHost, tmp_path: Path) -> None:
    """Neither in other bytes, nor as a dependency that nobody has checked; where only some have one that is told."""
    site = initialised(bookworm, tmp_path, "hashes")
    quick(site)
    path = site.project.path / "requirements.txt"
    text = path.read_text()
    blocks = re.split(r"\n(?=[a-z])", text)
    path.write_text("\n".join(block for block in blocks if not block.startswith("click")))
    site.project.commit("without click")
    told = site.expect(5, "deploy", "-e", "quick")
    assert "click" in told.text and "hash" in told.text
    path.write_text(re.sub(r"(?<=sha256:)[0-9a-f]{8}", "0" * 8, text))
    site.project.commit("other hashes")
    assert "hash" in site.expect(5, "deploy", "-e", "quick").text.lower()
    path.write_text("\n".join(block.partition(" ")[0] if block.startswith("click") else block for block in blocks))
    site.project.commit("click without a hash")
    assert "these have none" in " ".join(site.expect(0, "deploy", "-e", "quick").text.split())
