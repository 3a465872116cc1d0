"""Which settings serve: those of wsgi.py, unless they are for development and others are there."""

from __future__ import annotations

import pytest

from deployer.project.django.choice import choose_settings
from tests.unit.project.django.test_reader import Files

SET = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\n'


def chosen(wsgi: str | None = None, manage: str | None = "config.settings.local", *settings: str, **more: str) -> str:
    """The module; ``settings`` are the modules that there are."""
    files = Files({f"{name.replace('.', '/')}.py": "DEBUG = False" for name in settings})
    files |= {name.replace("__", "/") + ".py": text for name, text in more.items()}
    if wsgi is not None:
        files["config/wsgi.py"] = wsgi
    if manage is not None:
        files["manage.py"] = SET.format(manage)
    found = choose_settings(files)
    return f"{found.module}: {found.why}" if found else ""


LOCAL, PRODUCTION = "config.settings.local", "config.settings.production"


@pytest.mark.parametrize(
    "text",
    [
        SET.format(PRODUCTION),
        f'import os\nos.environ["DJANGO_SETTINGS_MODULE"] = "{PRODUCTION}"\n',
        f'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", os.environ.get("SETTINGS", "{PRODUCTION}"))\n',
        f'from decouple import config\nimport os\nos.environ["DJANGO_SETTINGS_MODULE"] = config("S", "{PRODUCTION}")\n',
        f'import os\ndef main():\n    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{PRODUCTION}")\nmain()\n',
    ],
)
def test_wsgi_decides(text: str) -> None:
    """In whatever form it names them; manage.py, which is for the laptop, does not."""
    assert chosen(text, LOCAL, LOCAL, PRODUCTION) == f"{PRODUCTION}: named by config/wsgi.py"


def test_settings_for_development_give_way() -> None:
    """By their name, or as a package that imports them; what is said names the program that named them."""
    told = f"{PRODUCTION}: config/wsgi.py names {LOCAL}, which is for development"
    assert chosen(SET.format(LOCAL), LOCAL, LOCAL, PRODUCTION) == told
    assert chosen(None, LOCAL, LOCAL, PRODUCTION).startswith(f"{PRODUCTION}: manage.py names")
    package = {"config__settings____init__": "from .dev import *"}
    assert chosen(SET.format("config.settings"), None, PRODUCTION, **package).startswith(
        f"{PRODUCTION}: config/wsgi.py"
    )


def test_where_there_are_no_others() -> None:
    """The only ones serve, and that is said."""
    assert chosen(SET.format(LOCAL), LOCAL, LOCAL).endswith("and no other settings were found")
    assert chosen(None, "shop.settings", "shop.settings") == "shop.settings: named by manage.py"
    assert chosen(None, None) == ""


def test_settings_of_their_own_win_over_a_production_module() -> None:
    """A module that wsgi.py names and that is not for development is what its author serves."""
    assert chosen(SET.format("config.settings.heroku"), LOCAL, "config.settings.heroku", PRODUCTION).startswith(
        "config.settings.heroku: named by"
    )


def test_production_settings_that_no_program_names_are_told() -> None:
    """They may be what serves; a module of such a name that has no settings is none, and neither is one beside others
    for production."""

    def unused(module: str, more: dict[str, str]) -> str:
        found = choose_settings(Files({"manage.py": SET.format(module), "shop/settings.py": "DEBUG = True", **more}))
        assert found is not None and found.module == module
        return found.unused

    assert unused("shop.settings", {"shop/production.py": "from .settings import *"}) == "shop.production"
    assert unused("shop.settings", {"shop/settings_live.py": "ALLOWED_HOSTS = []"}) == "shop.settings_live"
    assert unused("shop.settings", {"shop/server.py": "def serve(): ..."}) == ""
    assert unused("shop.prod", {"shop/prod.py": "DEBUG = 0", "shop/heroku.py": "from .prod import *"}) == ""


def test_settings_that_no_program_names() -> None:
    """Where all is left to the environment they are found beside the server, those for production first."""
    files = Files({"shop/wsgi.py": "from django.core.wsgi import get_wsgi_application"})
    assert choose_settings(files, ["shop"]) is None
    files["shop/settings/__init__.py"] = ""
    files["shop/settings/live.py"] = "DEBUG = False"
    found = choose_settings(files, ["other", "shop"])
    assert found is not None and found.module == "shop.settings.live" and "no program" in found.why
    files["shop/wsgi.py"] = "from flask import Flask"
    assert choose_settings(files, ["shop"]) is None
