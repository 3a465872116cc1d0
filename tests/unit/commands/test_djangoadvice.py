"""What is advised for the settings of a Django app, given the site in front of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.commands.djangoadvice import MARK, SCRIPT, SECONDS, advise, parse
from deployer.wire.site import ProxySite

SITE = ProxySite(domains=("shop.example.com", "www.shop.example.com"), tls="auto")
PLAIN = ProxySite()
GOOD: dict[str, Any] = {
    "ALLOWED_HOSTS": [".example.com"], "DEBUG": False, "SECURE_SSL_REDIRECT": False, "SECURE_PROXY_SSL_HEADER": None,
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
        (told(), SITE, "command", "without SECURE_PROXY_SSL_HEADER"),
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
