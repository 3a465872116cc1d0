"""What would break on a host is solved with a variable where one decides, else it is said with the line to change."""

from __future__ import annotations

import pytest

from deployer.project.django.choice import Choice
from deployer.project.django.evaluation.values import STATE
from deployer.project.django.site import Site, inspect_settings
from tests.unit.project.django.test_reader import PRELUDE, Files

GOOD = """\
DEBUG = False
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["shop.example.com"]
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql"}}
"""
SQLITE = 'DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {}}}}}'


def site(text: str, *, host: str = "", directory: str = "") -> Site:
    """What is found of settings that are good but for ``text``."""
    files = Files({"shop/__init__.py": "", "shop/settings.py": PRELUDE + GOOD + text})
    return inspect_settings(files, Choice(module="shop.settings", why="said"), directory, host)


def doubts(text: str, **more: str) -> list[str]:
    return [doubt.what for doubt in site(text, **more).doubts]


def test_good_settings_raise_no_doubt() -> None:
    """All that a host needs is found."""
    found = site("")
    assert found.doubts == () and found.env == {} and found.required == ()
    assert (found.secret, found.host, found.hosts_variable) == ("SECRET_KEY", "shop.example.com", "")
    assert (found.migrates, found.collects, found.static_url, found.static_root) == (
        True,
        True,
        "/static/",
        "staticfiles",
    )


@pytest.mark.parametrize(
    ("text", "variable", "value"),
    [
        ('DEBUG = os.environ.get("DEBUG", "True") == "True"', "DEBUG", "false"),
        ('DEBUG = bool(int(os.environ.get("D", "1")))', "D", "0"),
        ('DEBUG = bool(os.environ.get("DEBUG", True))', "DEBUG", ""),
        ('import environ\nenv = environ.Env(DEBUG=(bool, True))\nDEBUG = env("DEBUG")', "DEBUG", "false"),
        ('from decouple import config\nDEBUG = config("DEBUG", True, cast=bool)', "DEBUG", "false"),
        (SQLITE.format('os.environ.get("DB", BASE_DIR / "x.db")'), "DB", f"{STATE}/x.db"),
        (
            'import environ\nDATABASES = {"default": environ.Env().db(default="sqlite:///db.sqlite3")}',
            "DATABASE_URL",
            f"sqlite:///{STATE}/db.sqlite3",
        ),
        ('MEDIA_ROOT = os.environ.get("MEDIA", BASE_DIR / "media")', "MEDIA", f"{STATE}/media"),
        ('STATIC_ROOT = os.environ.get("STATIC", "/var/www/static")', "STATIC", "staticfiles"),
    ],
)
def test_a_variable_that_decides_is_set(text: str, variable: str, value: str) -> None:
    """To the first value that was seen to make the settings right: each is read again with it."""
    found = site(text)
    assert found.env == {variable: value} and found.doubts == ()


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("DEBUG = True", "DEBUG is on", "DEBUG = os.environ.get"),
        ("if unheard_of():\n    DEBUG = True", "DEBUG is on", "DEBUG ="),
        ('SECRET_KEY = "django-insecure-x"', "SECRET_KEY is in the code", "SECRET_KEY = os.environ"),
        ("ALLOWED_HOSTS = []", "does not have the name of the site", "ALLOWED_HOSTS = ["),
        ('ALLOWED_HOSTS = ["localhost"]', "does not have the name of the site", "ALLOWED_HOSTS = ["),
        (SQLITE.format('BASE_DIR / "my data.db"'), "SQLite database lies in the code", 'BASE_DIR), "my data.db")'),
        (SQLITE.format('"my data.db"'), "SQLite database lies in the code", '"my data.db")'),
        ("MEDIA_ROOT = BASE_DIR", "MEDIA_ROOT lies in the code", "MEDIA_ROOT = os.path.join"),
        ("del STATIC_ROOT\nSTATIC_ROOT = '/var/www/x'", "where a build may not write", "STATIC_ROOT = BASE_DIR"),
    ],
)
def test_what_the_code_alone_decides_is_said(text: str, what: str, line: str) -> None:
    """With a line to put in its place."""
    (doubt,) = site(text).doubts
    assert what in doubt.what and line in doubt.line


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        (SQLITE.format('BASE_DIR / "db.sqlite3"'), {"db.sqlite3": "db.sqlite3"}),
        (SQLITE.format('"data.db"'), {"data.db": "data.db"}),
        ('MEDIA_ROOT = BASE_DIR / "site" / "media"', {"site/media/": "media"}),
    ],
)
def test_a_path_that_is_fixed_in_the_code_is_kept_outside_it(text: str, shared: dict[str, str]) -> None:
    """No line has to change; a directory's path ends with a slash."""
    found = site(text)
    assert found.shared == shared and found.doubts == ()


def test_the_line_that_is_named_puts_it_right() -> None:
    """Of each doubt: the settings with it raise none."""
    bad = "DEBUG = True\nSECRET_KEY = 'django-insecure-x'\nALLOWED_HOSTS = []\nMEDIA_ROOT = BASE_DIR\n"
    bad += SQLITE.format("BASE_DIR")
    found = site(bad, host="x.example.com").doubts
    lines = [doubt.line for doubt in found if not doubt.line.startswith('"NAME"')]
    name = next(doubt.line for doubt in found if doubt.line.startswith('"NAME"')).removeprefix('"NAME": ')
    assert len(found) == 5
    assert site("\n".join([bad, *lines, SQLITE.format(name)]), host="x.example.com").doubts == ()


def test_the_name_of_the_site() -> None:
    """One that was said goes where the settings read it; without one, the variable that needs it is known."""
    text = 'ALLOWED_HOSTS = os.environ.get("HOSTS", "localhost").split(",")'
    assert site(text).hosts_variable == "HOSTS"
    found = site(text, host="x.example.com")
    assert (found.env, found.hosts_variable, found.doubts) == ({"HOSTS": "x.example.com"}, "", ())
    assert "does not have x.example.com" in doubts("", host="x.example.com")[0]
    platform = 'if "DYNO" in os.environ:\n    ALLOWED_HOSTS = ["*"]\nelse:\n    ALLOWED_HOSTS = ["localhost"]'
    assert (site(platform).hosts_variable, site(platform, host="x.example.com").env) == ("", {})
    assert "does not have the name" in doubts(platform)[0]
    assert doubts('ALLOWED_HOSTS = [".example.com"]', host="x.example.com") == []
    assert doubts('ALLOWED_HOSTS = ["*"]') == []


def test_paths_are_relative_to_the_project_and_not_to_where_the_app_runs() -> None:
    """STATIC_ROOT of an app in a directory lies there, or above it."""
    assert site("", directory="backend").static_root == "backend/staticfiles"
    assert site('STATIC_ROOT = BASE_DIR.parent / "public"', directory="backend").static_root == "public"
    assert site('STATIC_ROOT = "static"', directory="backend").static_root == "backend/static"


def test_what_has_no_database_and_no_static_files() -> None:
    """Neither is migrated nor collected."""
    found = site('DATABASES = {}\nINSTALLED_APPS = ["shop"]')
    assert not found.migrates and not found.collects


def test_a_database_that_cannot_be_known_is_migrated() -> None:
    """What a project most likely has is written; its owner sees the line."""
    assert site("DATABASES = unheard_of()").migrates
    assert site("if unheard_of():\n    DATABASES = {}").migrates


def test_media_that_the_app_may_write() -> None:
    """Below STATE_DIRECTORY, as relative to it."""
    found = site('MEDIA_URL = "media/"\nMEDIA_ROOT = os.path.join(os.environ.get("STATE_DIRECTORY", BASE_DIR), "up")')
    assert (found.media_url, found.media_state, found.doubts) == ("/media/", "up", ())


def test_whitenoise_is_seen() -> None:
    """Among the middleware."""
    assert site('MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]').whitenoise


def test_what_could_not_be_read_is_named() -> None:
    """Settings that are worked out when they run; not those that a variable decides, nor Django's own defaults."""
    apps = "ROOT_URLCONF = 'shop.urls'\n"
    assert site(apps).unread == ()
    assert site(f"{apps}ALLOWED_HOSTS = getattr(configuration, 'HOSTS')\nDEBUG = work()").unread == (
        "DEBUG",
        "ALLOWED_HOSTS",
    )
    assert site(f"{apps}DEBUG = env.bool('DEBUG')\nfrom base.settings import *").unread == ("DEBUG", "MEDIA_ROOT")
    assert site(f"{apps}if os.path.exists('local.py'):\n    from .local import *").unread == ()
    assert site(f"{apps}ALLOWED_HOSTS = os.environ['HOSTS'].split(',')").unread == ()


def test_a_variable_that_has_to_be_json() -> None:
    """As pydantic reads lists: the form in which a host was seen to be allowed is what is written."""
    text = (
        "from pydantic_settings import BaseSettings\nclass C(BaseSettings):\n    hosts: list[str] = []\n"
        "ALLOWED_HOSTS = C().hosts\n"
    )
    assert (site(text).hosts_variable, site(text).hosts_form) == ("HOSTS", '["shop.example.com"]')
    assert site(text, host="x.test").env == {"HOSTS": '["x.test"]'}


def test_a_variable_with_a_default_is_not_missing() -> None:
    """Where several decide that the settings raise, it is the others that have to be set."""
    text = (
        "import environ\nenv = environ.Env()\nDEBUG = env.bool('DEBUG', False)\nKEY = env('KEY', None)\n"
        "if not DEBUG and KEY in [None]:\n    raise ValueError\n"
    )
    assert site(text).required == ("KEY",)


def test_all_of_the_code_is_no_static_directory() -> None:
    """A STATIC_ROOT that is the project itself would show visitors its settings."""
    assert site("STATIC_ROOT = BASE_DIR").static_root is None
