"""Settings that are classes are read as their libraries do: the variable of each attribute, else its default."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployer.project.django.choice import choose_settings
from deployer.project.django.evaluation.reader import Settings
from deployer.project.django.evaluation.values import plain
from tests.unit.project.django.test_choice import SET
from tests.unit.project.django.test_reader import Files, read

BASE = """\
from configurations import Configuration, values
class Base(Configuration):
    DEBUG = values.BooleanValue(True)
    HOSTS = values.ListValue(["a"])
    SECRET_KEY = values.SecretValue()
    DATABASES = values.DatabaseURLValue("sqlite:///x.db")
    NAMED = values.Value("n", environ_name="OTHER", environ_prefix="SHOP")
    BARE = values.IntegerValue(1, environ_prefix=None)
    FIXED = values.Value("f", environ=False)
    PLAIN = BASE_DIR / "a"
    INSTALLED_APPS = ["a"]
class Prod(Base):
    INSTALLED_APPS = Base.INSTALLED_APPS + ["b"]
    @property
    def MEDIA_ROOT(self):
        return work_it_out()
"""


def configured(**environment: str) -> Settings:
    return read(BASE, DJANGO_CONFIGURATION="Prod", **environment)


@pytest.mark.parametrize(
    ("name", "default", "variable", "text", "worth"),
    [
        ("DEBUG", True, "DJANGO_DEBUG", "no", False),
        ("HOSTS", ["a"], "DJANGO_HOSTS", "b, c", ["b", "c"]),
        ("NAMED", "n", "SHOP_OTHER", "m", "m"),
        ("BARE", 1, "BARE", "2", "2"),
        ("FIXED", "f", "DJANGO_FIXED", "g", "f"),
        ("INSTALLED_APPS", ["a", "b"], "DJANGO_INSTALLED_APPS", "c", ["a", "b"]),
    ],
)
def test_a_class_of_django_configurations(name: str, default: Any, variable: str, text: str, worth: Any) -> None:
    """Its own attributes come before those of its base; the variable's name follows from the attribute's."""
    assert plain(configured().get(name)) == default
    assert plain(configured(**{variable: text}).get(name)) == worth


def test_what_a_configuration_needs_and_hides() -> None:
    """A secret has no default, a database is a table, a property is not known; nor is anything without the class."""
    settings = configured()
    assert settings.required == ("DJANGO_SECRET_KEY",)
    assert settings.get("SECRET_KEY").variables == ("DJANGO_SECRET_KEY",)
    assert plain(settings.get("DATABASES"))["default"]["NAME"] == "x.db"
    assert settings.get("DATABASES").variables == ("DATABASE_URL",)
    assert not settings.get("MEDIA_ROOT").known and "MEDIA_ROOT" in settings.names
    assert not read(BASE).get("DEBUG").known


def test_which_configuration_serves() -> None:
    """The one that a program names, unless it is for development and there is one for production."""
    named = SET.format("shop.settings") + 'os.environ.setdefault("DJANGO_CONFIGURATION", "{}")\n'

    def chosen(name: str, settings: str = BASE) -> tuple[str, str]:
        found = choose_settings(Files({"manage.py": named.format(name), "shop/settings.py": settings}))
        assert found is not None
        return found.configuration, found.why

    assert chosen("Base") == ("Base", "named by manage.py; class Base, named by manage.py")
    assert chosen("Dev", BASE + "class Dev(Base): pass")[0] == "Prod"
    assert "manage.py names Dev, which is for development" in chosen("Dev", BASE + "class Dev(Base): pass")[1]
    assert chosen("Absent")[0] == "Prod"
    assert chosen("Absent", "class Prod: pass")[0] == ""


PYDANTIC = """\
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
class Config(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="shop_")
    debug: bool = True
    hosts: list[str] = ["a"]
    count: int | None = None
    secret_key: str
    database: str = Field(default="x.db", validation_alias="DB")
    tags: list[str] = Field(default_factory=list)
    token: str = Field(..., alias="TOKEN")
config = Config()
X = config.{}
"""


@pytest.mark.parametrize(
    ("name", "default", "variable", "text", "worth"),
    [
        ("debug", True, "SHOP_DEBUG", "false", False),
        ("hosts", ["a"], "SHOP_HOSTS", json.dumps(["b"]), ["b"]),
        ("count", None, "SHOP_COUNT", "3", 3),
        ("database", "x.db", "DB", "y.db", "y.db"),
    ],
)
def test_a_class_of_pydantic(name: str, default: Any, variable: str, text: str, worth: Any) -> None:
    """Each field has a variable, with the prefix or by its alias; a list is JSON."""
    assert plain(read(PYDANTIC.format(name)).get("X")) == default
    found = read(PYDANTIC.format(name), **{variable: text}).get("X")
    assert plain(found) == worth and found.variables == (variable,)


def test_what_pydantic_needs_and_refuses() -> None:
    """Fields without a default are missed; a list that is no JSON would end the program, so that nothing is known."""
    settings = read(PYDANTIC.format("secret_key"))
    assert settings.required == ("SHOP_SECRET_KEY", "TOKEN")
    assert settings.get("X").variables == ("SHOP_SECRET_KEY",)
    assert not read(PYDANTIC.format("tags")).get("X").known
    assert not read(PYDANTIC.format("hosts"), SHOP_HOSTS="b,c").get("X").known
