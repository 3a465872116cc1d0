"""What is advised for the settings of a Django app, given the site in front of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.commands.release.djangoadvice import advise, foresee
from deployer.config import load
from deployer.wire.release.django import MARK, SCRIPT, SECONDS, parse
from deployer.wire.site import ProxySite
from tests.unit.project.django.test_reader import PRELUDE, Files

SITE = ProxySite(domains=("shop.example.com", "www.shop.example.com"), tls="auto")
PLAIN = ProxySite()
GOOD: dict[str, Any] = {
    "ALLOWED_HOSTS": [".example.com"], "CSRF_TRUSTED_ORIGINS": [],
    "DEBUG": False, "SECURE_SSL_REDIRECT": False, "SECURE_PROXY_SSL_HEADER": None,
}  # fmt: skip


def told(*checks: list[str], **settings: Any) -> dict[str, Any]:
    return {"settings": {**GOOD, **settings}, "checks": list(checks)}


@pytest.mark.parametrize(
    ("said", "site", "server", "advice"),
    [
        (told(), SITE, "gunicorn", ""),
        ({}, SITE, "gunicorn", ""),
        (told(ALLOWED_HOSTS=["*"]), SITE, "gunicorn", ""),
        (told(ALLOWED_HOSTS=["www.shop.example.com"]), SITE, "gunicorn", "ALLOWED_HOSTS lacks shop.example.com"),
        (told(ALLOWED_HOSTS=[".shop.example.com"]), SITE, "gunicorn", ""),
        (told(ALLOWED_HOSTS=["a.test"], DEBUG=True), SITE, "gunicorn", "lacks shop.example.com, www.shop.example.com"),
        (told(), SITE, "command", "without SECURE_PROXY_SSL_HEADER"),
        (told(CSRF_TRUSTED_ORIGINS=["https://*.example.com"]), SITE, "command", "for plain HTTP: links with http://;"),
        (
            told(CSRF_TRUSTED_ORIGINS=["https://x.test"], SECURE_SSL_REDIRECT=True),
            SITE,
            "command",
            "403 at forms, redirects without end",
        ),
        (
            told(CSRF_TRUSTED_ORIGINS=["shop.example.com"]),
            SITE,
            "gunicorn",
            'write CSRF_TRUSTED_ORIGINS = ["https://shop',
        ),
        (told(CSRF_TRUSTED_ORIGINS=[".example.com"]), SITE, "gunicorn", '["https://*.example.com"]'),
        (told(CSRF_TRUSTED_ORIGINS="shop"), SITE, "gunicorn", ""),
        (told(SECURE_PROXY_SSL_HEADER=True), SITE, "gunicorn", "SECURE_PROXY_SSL_HEADER names True"),
        (told(), SITE, "hypercorn", "without SECURE_PROXY_SSL_HEADER"),
        (told(SECURE_PROXY_SSL_HEADER=["HTTP_X_FORWARDED_PROTO", "https"]), SITE, "command", ""),
        (told(SECURE_PROXY_SSL_HEADER=["HTTP_X_SCHEME", "https"]), SITE, "gunicorn", "names HTTP_X_SCHEME"),
        (told(SECURE_SSL_REDIRECT=True), SITE, "gunicorn", ""),
        (told(SECURE_SSL_REDIRECT=True), PLAIN, "gunicorn", "SECURE_SSL_REDIRECT leads to HTTPS"),
        (told(["security.W018", "DEBUG is\n on."]), SITE, "gunicorn", "Django: DEBUG is on. (security.W018)"),
        (told(["security.W004", "no HSTS"], ["security.W008", "no redirect"]), SITE, "gunicorn", ""),
        (told(["security.W012", "cookies"]), SITE, "gunicorn", "cookies"),
        (told(["security.W012", "cookies"]), PLAIN, "gunicorn", ""),
    ],
)
def test_what_would_break_behind_the_site_is_said(said: Any, site: ProxySite, server: str, advice: str) -> None:
    """And nothing that the site sees to itself, or that has no meaning for it."""
    found = advise(said, site, server)
    assert [advice in one for one in found] == ([True] if advice else [])


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "{", '{"settings": 1, "checks": []}', '{"settings": {}}', "[" * 10_000]
)
def test_an_app_may_print_anything(line: str) -> None:
    """What is no answer is none; the answer is found among other lines."""
    assert parse(["x", MARK + line]) == {}
    assert parse(["hello", MARK + json.dumps(told()), MARK + "{"]) == told()


def test_the_script_is_python_that_tells_no_secret() -> None:
    """It runs under whatever Python the app has."""
    compile(SCRIPT, "script", "exec")
    assert "SECRET" not in SCRIPT and "PASSWORD" not in SCRIPT


def test_an_app_that_does_not_start_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Its settings are its own code: here they wait for ever."""
    (tmp_path / "manage.py").write_text('os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")')
    (tmp_path / "django").mkdir()
    (tmp_path / "django/__init__.py").write_text("import time\ntime.sleep(600)\n")
    script = SCRIPT.replace(f"alarm({SECONDS})", "alarm(1)")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, parse(done.stdout.splitlines())) == (-signal.SIGALRM, {})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shop/wsgi.py", 'os.environ["DJANGO_SETTINGS_MODULE"] = "shop.live"'),
        ("src/shop/asgi.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.live')"),
        ("manage.py", 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.live")'),
    ],
)
def test_the_settings_that_serve_are_asked(tmp_path: Path, path: str, text: str) -> None:
    """What wsgi.py or asgi.py names comes before manage.py's; one for development would answer for another site."""
    (tmp_path / "manage.py").write_text('os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.dev")')
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    (tmp_path / "django").mkdir()
    (tmp_path / "django/__init__.py").write_text('import os\nraise SystemExit(os.environ["DJANGO_SETTINGS_MODULE"])\n')
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == "shop.live\n"


APP = 'INSTALLED_APPS = ["shop"]\nROOT_URLCONF = "shop.urls"\nALLOWED_HOSTS = ["shop.test", "www.shop.test"]\n'
DOMAINS = 'domains = ["shop.test", "www.shop.test"]'


def foreseen(
    tmp_path: Path, text: str, *, proxy: str = DOMAINS, server: str = "gunicorn", env: str = "", **secrets: str
) -> list[str]:
    """What plan would say of settings that are good but for ``text``."""
    files = Files({"shop/__init__.py": "", "shop/settings.py": PRELUDE + APP + text})
    path = tmp_path / "deploy.toml"
    env = f'[env]\nDJANGO_SETTINGS_MODULE = "shop.settings"\n{env}'
    path.write_text(f'app = "shop"\nenv_file = ".env.live"\n[proxy]\n{proxy}\n{env}\n')
    return foresee(files, load(path), server, secrets)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ('ALLOWED_HOSTS = ["shop.test"]', 'lacks www.shop.test: every request for it is answered with 400; '
         'write ALLOWED_HOSTS = ["shop.test", "www.shop.test"]'),
        ("ALLOWED_HOSTS = []", "for them is answered with 400"),
        ('ALLOWED_HOSTS = os.getenv("HOSTS", "").split(",")', 'write HOSTS = "shop.test,www.shop.test" under [env]'),
        ("from pydantic_settings import BaseSettings\nclass C(BaseSettings):\n    hosts: list[str] = []\n"
         "ALLOWED_HOSTS = C().hosts", 'write HOSTS = "[\\"shop.test\\", \\"www.shop.test\\"]" under [env]'),
        ('ALLOWED_HOSTS = [socket.gethostname()]', ""),
        ('ALLOWED_HOSTS = ["a.test"] if unknown() else ["*"]', ""),
        ('CSRF_TRUSTED_ORIGINS = ["shop.test"]', "without a scheme"),
        ('SECURE_PROXY_SSL_HEADER = ("HTTP_X_SCHEME", "https")', "names HTTP_X_SCHEME"),
        ("DEBUG = True", "DEBUG is on"),
        ('DEBUG = os.environ.get("DEBUG", "1") == "1"', "DEBUG is on"),
    ],
)  # fmt: skip
def test_what_can_be_read_is_foreseen(tmp_path: Path, text: str, wanted: str) -> None:
    """One sentence with the line to write; nothing of what only the host would know."""
    found = foreseen(tmp_path, text)
    assert [wanted in one for one in found] == ([True] if wanted else []), found


def test_what_a_server_needs_is_foreseen_where_all_settings_were_seen(tmp_path: Path) -> None:
    """A setting that is nowhere is Django's default, unless a module outside the project may have it."""
    assert "without SECURE_PROXY_SSL_HEADER" in foreseen(tmp_path, "", server="command")[0]
    assert foreseen(tmp_path, "from elsewhere.settings import *", server="command") == []
    assert "SECURE_SSL_REDIRECT leads" in foreseen(tmp_path, "SECURE_SSL_REDIRECT = True", proxy='kind = "nginx"')[0]
    assert foreseen(tmp_path, "ALLOWED_HOSTS = []", proxy='kind = "none"') == []


def test_no_text_of_the_secrets_is_told(tmp_path: Path) -> None:
    """The file names what to add and where; settings that secrets decide are not quoted."""
    hosts = 'ALLOWED_HOSTS = os.environ["HOSTS"].split(",")'
    told = foreseen(tmp_path, hosts, HOSTS="internal.example")
    assert told == [
        "shop.settings: ALLOWED_HOSTS lacks shop.test, www.shop.test: every request for them is answered with 400; "
        "write shop.test, www.shop.test into HOSTS in .env.live"
    ]
    quoted = 'ALLOWED_HOSTS = [os.environ["A"]]\nCSRF_TRUSTED_ORIGINS = [os.environ["B"]]'
    assert foreseen(tmp_path, quoted, A="internal.example", B="internal.example") == []
    assert foreseen(tmp_path, hosts, env='HOSTS = "shop.test,www.shop.test"') == []
