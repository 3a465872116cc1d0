"""Settings are followed as Python would on a host: what is known then, what decides it, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.project.django.evaluation.reader import Settings, read_settings
from deployer.project.django.evaluation.values import CODE, STATE, UNKNOWN, Value, plain

PRELUDE = "import os\nimport sys\nfrom pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\n"


class Files(dict[str, str]):
    """Files by path, in memory."""

    def read_text(self, path: str) -> str | None:
        return self.get(path)


def read(text: str, more: dict[str, str] | None = None, **environment: str) -> Settings:
    """The settings ``shop.settings`` under these variables and no others."""
    files = Files({"shop/__init__.py": "", "shop/settings.py": PRELUDE + text, **(more or {})})
    known = {name: Value(content=one, variables=(name,)) for name, one in environment.items()}
    return read_settings(files, "shop.settings", known)


def value(text: str, **environment: str) -> Any:
    """What ``X`` is worth."""
    return plain(read(text, **environment).get("X"))


@pytest.mark.parametrize(
    ("expression", "worth"),
    [
        ('BASE_DIR / "a" / "b"', f"{CODE}/a/b"),
        ('os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "a")', f"{CODE}/a"),
        ('BASE_DIR.joinpath("a")', f"{CODE}/a"),
        ("Path(__file__).resolve().parents[1]", CODE),
        ('f"{BASE_DIR}/a"', f"{CODE}/a"),
        ('"%s/a" % BASE_DIR', f"{CODE}/a"),
        ('str(BASE_DIR / "a")', f"{CODE}/a"),
        ("Path(__file__).name", "settings.py"),
        ("os.getcwd()", CODE),
        ('["a"] + ["b"]', ["a", "b"]),
        ('[*["a"], "b"]', ["a", "b"]),
        ('("a",) + ("b",)', ["a", "b"]),
        ('{**{"a": 1}, "b": 2}', {"a": 1, "b": 2}),
        ('{"a": 1} | {"b": 2}', {"a": 1, "b": 2}),
        ('[one.strip() for one in "a, b,".split(",") if one.strip()]', ["a", "b"]),
        ('",".join(["a", "b"])', "a,b"),
        ('{"a": {"b": 1}}["a"]["b"]', 1),
        ('"a" if "test" in sys.argv else "b"', "b"),
        ("not True", False),
        ('None or "a"', "a"),
        ('"" and "a"', ""),
        ("60 * 60 * 24", 86400),
        ("(y := 3)", 3),
        ("unheard_of()", UNKNOWN),
        ("lambda: 1", UNKNOWN),
    ],
)
def test_an_expression(expression: str, worth: Any) -> None:
    """Paths are those of the project, wherever it lies; what cannot be known is unknown."""
    assert value(f"X = {expression}") == worth


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ('X = os.environ.get("A", "no") == "yes"', False),
        ('X = os.getenv("A")', None),
        ('X = bool(int(os.environ.get("A", 1)))', True),
        ('X = "A" in os.environ', False),
        ('from os import environ\nX = environ.get("A", "d")', "d"),
        ('import environ\nenv = environ.Env(A=(bool, True))\nX = env("A")', True),
        ('import environ\nenv = environ.Env()\nX = env.bool("A", default=False)', False),
        ('import environ\nenv = environ.Env()\nX = env("A", bool, True)', True),
        ('import environ\nenv = environ.Env()\nX = env.bool("A", default="false")', False),
        ('from environs import Env\nenv = Env()\nX = env.list("A", ["a"])', ["a"]),
        ('from decouple import config, Csv\nX = config("A", default="a, b", cast=Csv())', ["a", "b"]),
        ('from decouple import config\nX = config("A", default="off", cast=bool)', False),
        ('from decouple import AutoConfig\nconfig = AutoConfig(BASE_DIR)\nX = config("A", "d")', "d"),
        ('import environ\nroot = environ.Path(__file__) - 2\nX = root("static")', f"{CODE}/static"),
    ],
)
def test_a_variable_that_is_not_set(text: str, worth: Any) -> None:
    """Its default counts, in every library's way; and it is known that the variable decides."""
    found = read(text).get("X")
    assert plain(found) == worth
    assert found.variables == (() if "Path(__file__) -" in text else ("A",))


@pytest.mark.parametrize(
    "text",
    [
        'X = os.environ["A"]',
        'import environ\nenv = environ.Env()\nX = env("A")',
        'from decouple import config\nX = config("A")',
        "def need(name):\n    try:\n        return os.environ[name]\n"
        "    except KeyError:\n        raise Exception(name)\nX = need('A')",
        'X = os.environ.get("A")\nif not X:\n    raise Exception("A")',
    ],
)
def test_a_variable_without_a_default_is_required(text: str) -> None:
    """However it is asked for: the settings go on, and what it decides is unknown."""
    settings = read(f"{text}\nY = 1")
    assert settings.required == ("A",)
    assert settings.get("X").variables == ("A",) and plain(settings.get("Y")) == 1
    assert read(text, A="set").required == ()
    assert plain(read(text, A="set").get("X")) == "set"


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("X: list[str] = ['a']", ["a"]),
        ("X = ['a']\nX += ['b']", ["a", "b"]),
        ("X = ['a']\nX.append('b')", ["a", "b"]),
        ("X = ['a']\nX.insert(0, 'b')", ["b", "a"]),
        ("X = ['a']\nX.extend(('b',))", ["a", "b"]),
        ("X = ['a', 'b']\nX.remove('a')", ["b"]),
        ("X = {'d': {'a': 1}}\nX['d']['b'] = 2", {"d": {"a": 1, "b": 2}}),
        ("X = {'d': {'a': 1}}\nX['d'].update(b=2)", {"d": {"a": 1, "b": 2}}),
        ("X = {}\nX.setdefault('a', 1)", {"a": 1}),
        ("X = []\nfor one in ('a', 'b'):\n    X += [one]", ["a", "b"]),
        ("A, X = 1, 2", 2),
        ("if True:\n    X = 1\nelse:\n    X = 2", 1),
        ("try:\n    from .missing import X\nexcept ImportError:\n    X = 2", 2),
        ("try:\n    X = os.environ['A']\nexcept KeyError:\n    X = 'd'", "d"),
        ("def f(a, b=2):\n    return [a, b]\nX = f(1)", [1, 2]),
        ("with open('x') as f:\n    X = 1", 1),
    ],
)
def test_a_statement(text: str, worth: Any) -> None:
    """Assignments of all forms, changes in place, branches, loops and functions."""
    assert value(text) == worth


def test_a_branch_that_nobody_can_tell_leaves_both() -> None:
    """What either assigns is possible, and what only one of them assigns is there."""
    found = read("if unheard_of():\n    X = 1\n    Y = 1\nelse:\n    X = 2").get("X")
    assert [plain(one) for one in found.alternatives] == [1, 2]
    assert value("Y = 0\nif unheard_of():\n    X = 1") == 1


def test_what_a_branch_assigns_hangs_on_its_variable() -> None:
    """``if os.environ.get("REDIS_URL")``: setting the variable changes what the other branch assigns."""
    text = 'if os.environ.get("A"):\n    X = 1\nelse:\n    X = 2'
    assert read(text).get("X").variables == ("A",)
    assert value(text, A="1") == 1


def test_settings_in_several_files() -> None:
    """``from .base import *``, names, modules and packages, each with its own place."""
    more = {
        "shop/base.py": "import environ\nenv = environ.Env()\nA = ['a']\n_hidden = 1\n",
        "shop/parts/__init__.py": "from .paths import *\n",
        "shop/parts/paths.py": "WHERE = __file__\n",
    }
    text = "from .base import *\nfrom .base import env as e\nfrom shop.parts import *\nfrom . import base\nA += ['b']\n"
    settings = read(f"{text}X = e.bool('V', True)\nY = base.A\n", more)
    assert plain(settings.get("A")) == ["a", "b"] and plain(settings.get("Y")) == ["a"]
    assert settings.get("X").variables == ("V",)
    assert plain(settings.get("WHERE")) == f"{CODE}/shop/parts/paths.py"
    assert "_hidden" not in settings.names


def test_modules_that_import_each_other_come_to_an_end() -> None:
    """So do functions that call themselves, and loops in loops."""
    assert value("from .other import *\nX = 1") == 1
    files = {"shop/other.py": "from .settings import *\nY = 2\n"}
    assert plain(read("from .other import *\nX = Y", files).get("X")) == 2
    assert value("def f(n):\n    return f(n)\nX = f(1)") is UNKNOWN
    loops = "".join(f"{'    ' * depth}for a{depth} in range_:\n" for depth in range(6))
    assert value(f"range_ = {list(range(50))}\n{loops}{'    ' * 6}pass\n") is UNKNOWN


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:///db.sqlite3", "sqlite3", "db.sqlite3"),
        ("sqlite:////var/lib/x.db", "sqlite3", "/var/lib/x.db"),
        ("sqlite://", "sqlite3", ":memory:"),
        ("postgres://u:p@db.example.com:5432/shop", "postgresql", "shop"),
        ("postgis:///shop", "postgis", "shop"),
        ("mysql2://h/shop", "mysql", "shop"),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "import environ\nenv = environ.Env()\nX = env.db(default={!r})",
        "import dj_database_url\nX = dj_database_url.config(default={!r}, conn_max_age=600)",
        'from dj_database_url import parse\nX = parse(os.environ.get("DATABASE_URL", {!r}))',
        'from environs import Env\nenv = Env()\nX = env.dj_db_url("DATABASE_URL", default={!r})',
    ],
)
def test_a_database_by_its_url(text: str, url: str, engine: str, name: str) -> None:
    """As each library reads it; the variable decides."""
    found = read(text.format(url)).get("X")
    table = plain(found)
    assert (table["ENGINE"], table["NAME"]) == (f"django.db.backends.{engine}", name)
    assert found.variables == ("DATABASE_URL",)


def test_a_database_whose_url_has_to_be_set() -> None:
    """``env.db()`` without a default."""
    assert read("import environ\nenv = environ.Env()\nX = {'default': env.db()}").required == ("DATABASE_URL",)


def test_the_directories_that_a_host_sets() -> None:
    """STATE_DIRECTORY is one that the app may write."""
    text = 'X = os.path.join(os.environ.get("STATE_DIRECTORY", BASE_DIR), "db.sqlite3")'
    assert value(text, STATE_DIRECTORY=STATE) == f"{STATE}/db.sqlite3"
    assert value(text) == f"{CODE}/db.sqlite3"


@pytest.mark.parametrize(
    "text", ["def (", "\0", "X = " + "(" * 5000, "X = " + "-" * 20000 + "1", "X = [][0]", "X = 'a'[9]"]
)
def test_code_that_cannot_be_understood(text: str) -> None:
    """Nothing is raised, whatever the file holds."""
    assert value(text) is UNKNOWN


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ('def path(*args):\n    return os.path.join(BASE_DIR, *args)\nX = path("a", "b")', f"{CODE}/a/b"),
        (
            'def path(first, *more, **named):\n    return [first, *more, named["n"]]\nX = path("a", "b", n="c")',
            ["a", "b", "c"],
        ),
        ('PARTS = ["a", "b"]\nX = os.path.join(BASE_DIR, *PARTS)', f"{CODE}/a/b"),
        ("X = os.path.join(BASE_DIR, *work())", UNKNOWN),
        ('X = dict(**{"a": 1})["a"]', 1),
        ('X = os.environ.get("A", **more())', UNKNOWN),
    ],
)
def test_arguments_that_are_spread(text: str, worth: Any) -> None:
    """Each counts; a call of which some are not known is not known, rather than what it would be without them."""
    assert value(text) == worth
