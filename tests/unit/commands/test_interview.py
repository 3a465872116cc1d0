"""What init asks, of whom, and what it makes of the answers."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deployer.commands.init import Defaults, interview, plan_init, refuse_mistake, write
from deployer.config import load
from deployer.errors import ConfigError
from deployer.project import git
from deployer.ui.asking import Terminal, show_lines
from tests.support.project import Project

APP = "from flask import Flask\napp = Flask(__name__)\n"
DJANGO = {
    "manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n',
    "shop/settings.py": 'import os\nSECRET_KEY = os.environ["KEY"]\nALLOWED_HOSTS = os.environ["HOSTS"].split(",")\n',
    "shop/wsgi.py": "",
}


class Person(Defaults):
    """Answers from a list; what was asked is kept."""

    present = True

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def ask(self, question: str, default: str, fits: Callable[[str], str]) -> str:
        self.asked.append(question)
        answer = self.answers.pop(0) or default
        assert not fits(answer)
        return answer

    def choose(self, question: str, choices: Sequence[str]) -> str:
        self.asked.append(question)
        return choices[int(self.answers.pop(0))]


def project(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_a_person_is_asked_for_the_name_and_the_key(tmp_path: Path) -> None:
    """The name goes where the settings read it; without a key of ours there is no file for it, and a line says how."""
    root = project(tmp_path, DJANGO)
    person = Person("x.example.com", "no")
    found = interview(root, person)
    assert len(person.asked) == 2 and "KEY" in person.asked[1]
    plan = plan_init(found.project, secrets=found.secrets)
    assert Path(".env.production") not in plan
    text = plan[Path("deploy.toml")]
    assert 'HOSTS = "x.example.com"' in text and 'host = "x.example.com"' in text and "# env_file = " in text
    assert "\n[proxy] " in text and '\ndomains = "x.example.com"' in text
    unnamed = interview(root, Person("", "")).project
    assert Path(".env.production") in plan_init(unnamed) and "\n# [proxy] " in plan_init(unnamed)[Path("deploy.toml")]


def test_a_choice_between_apps(tmp_path: Path) -> None:
    """A person chooses, --yes takes the first; nobody guesses where nobody is."""
    root = project(tmp_path, {f"{name}/{path}": text for name in ("a", "b") for path, text in DJANGO.items()})
    assert interview(root, Person("1", "", "")).project.directory == "b"
    assert interview(root, Defaults()).project.directory == "a"
    with pytest.raises(ConfigError, match="2 apps are below") as caught:
        refuse_mistake(interview(root, None).project)
    assert caught.value.next.commands == ("deployer init --directory a",)


def test_a_choice_between_applications(tmp_path: Path) -> None:
    """The same, of what one project has."""
    root = project(tmp_path, {"app.py": f"{APP}admin = Flask(__name__)\n"})
    assert interview(root, Person("1", "")).project.wsgi == "app:admin"
    with pytest.raises(ConfigError, match="several applications"):
        refuse_mistake(interview(root, None).project)


LOCKS = {"uv.lock": "version = 1\n", "requirements.txt": "gunicorn==23.0\n", "requirements/production.txt": "a==1\n"}


def test_a_choice_between_lock_files(tmp_path: Path) -> None:
    """A person chooses; --yes, and nobody, take what a deploy would find. Any other one is named in deploy.toml."""
    root = project(tmp_path, {"app.py": APP, **LOCKS})
    person = Person("1", "")
    lock = interview(root, person).project.lock
    assert (lock.path, lock.named) == ("requirements.txt", True) and "lock files" in person.asked[0]
    text = plan_init(interview(root, Person("2", "x.test")).project)[Path("deploy.toml")]
    assert 'dependencies = { file = "requirements/production.txt" }' in text
    for asking in (Defaults(), None, Person("0", "")):
        lock = interview(root, asking).project.lock
        assert (lock.path, lock.named, lock.beside) == (
            "uv.lock", False, ("requirements.txt", "requirements/production.txt"),
        )  # fmt: skip


def test_no_more_than_three_questions_are_asked(tmp_path: Path) -> None:
    """Where there are four the last one's default is taken: which app, which lock and what name nobody can guess."""
    files = {f"{name}/{path}": text for name in ("a", "b") for path, text in {**DJANGO, **LOCKS}.items()}
    person = Person("1", "1", "x.test")
    found = interview(project(tmp_path, files), person)
    assert len(person.asked) == 3 and found.secrets
    assert (found.project.directory, found.project.lock.path) == ("b", "b/requirements.txt")
    assert (found.project.host, found.project.confirmed) == ("x.test", True)


def test_a_database_that_setup_could_make(tmp_path: Path) -> None:
    """Where the settings read its URL, and as comments: a database elsewhere is as good."""
    root = project(tmp_path, DJANGO)
    with (root / "shop/settings.py").open("a") as file:
        file.write(
            "import environ\nenv = environ.Env()\nDATABASES = {'default': env.db()}\nX = env('REDIS_URL', default='')\n"
        )
    found = interview(root, None).project
    text = plan_init(found)[Path("deploy.toml")]
    assert "# [host.postgresql]" in text and "# [host.redis]" in text
    assert found.django is not None and found.django.required == ("HOSTS", "DATABASE_URL")
    (root / "deploy.toml").write_text(text.replace("# [host.", "[host."))
    assert load(root / "deploy.toml").host.services == ("postgresql", "redis")


def test_a_program_called_manage_that_is_not_of_django(tmp_path: Path) -> None:
    """Other projects have one, too: what serves is looked for as in any of them."""
    found = interview(project(tmp_path, {"manage.py": "from app import cli\ncli()\n", "app.py": APP}), None).project
    assert (found.manage, found.wsgi) == (False, "app:app")


def test_nothing_is_asked_where_deploy_toml_is(tmp_path: Path) -> None:
    """Typed again: what is there stays."""
    root = project(tmp_path, {**DJANGO, "deploy.toml": 'app = "shop"'})
    assert interview(root, Person()).secrets is False


def test_what_git_ignores_is_not_read(tmp_path: Path) -> None:
    """Settings that do not ship decide nothing on a host."""
    root = project(tmp_path, {**DJANGO, "shop/local.py": "DEBUG = True\n", ".gitignore": "local.py\n"})
    with (root / "shop/settings.py").open("a") as file:
        file.write("try:\n    from .local import *\nexcept ImportError:\n    DEBUG = False\n")
    Project(root).git("init", "--quiet")
    site = interview(root, None).project.django
    assert site is not None and not any("DEBUG" in doubt.what for doubt in site.doubts)


def test_a_lock_above_a_project(tmp_path: Path) -> None:
    """What is above deploy.toml does not ship: the directory above is where init belongs."""
    root = project(tmp_path, {"requirements.txt": "a==1", **{f"backend/{path}": text for path, text in DJANGO.items()}})
    Project(root).git("init", "--quiet")
    with pytest.raises(ConfigError, match="does not ship") as caught:
        refuse_mistake(interview(root / "backend", None).project)
    assert caught.value.next.commands == (f"cd {root} && deployer init --directory backend",)


def terminal(typed: str) -> tuple[Terminal, io.StringIO]:
    said = io.StringIO()
    return Terminal(io.StringIO(typed), said), said


def test_a_terminal_takes_enter_numbers_and_no_nonsense() -> None:
    """What does not fit is asked again, three times; the end of the input is Enter."""

    def fits(text: str) -> str:
        return "" if text == "yes" else "say yes"

    asked, said = terminal("no\nyes\n")
    assert asked.ask("Well?", "never", fits) == "yes" and said.getvalue().count("say yes") == 1
    assert terminal("a\nb\nc\n")[0].ask("Well?", "yes", fits) == "yes"
    assert terminal("")[0].ask("Well?", "yes", fits) == "yes"
    assert terminal("2\n")[0].choose("Which?", ["a", "b"]) == "b"
    assert terminal("b\n")[0].choose("Which?", ["a", "b"]) == "b"
    assert terminal("9\n\n")[0].choose("Which?", ["a", "b"]) == "a"


def test_long_lines_are_wrapped_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between words; commands are not, so that they can be copied; and nothing is where no terminal is."""

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    lines = ["word " * 12, "    " + "command " * 8, "a\nb"]
    screen = Screen()
    show_lines(lines, screen)
    rows = screen.getvalue().splitlines()
    assert [len(row) <= 40 for row in rows[:2]] == [True, True] and rows[1].startswith("  word")
    assert lines[1] in rows and rows[-2:] == ["a", "b"]
    plain = io.StringIO()
    show_lines(lines, plain)
    assert plain.getvalue().splitlines()[0] == lines[0]


def test_a_huge_project_is_listed_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of files init opens those that tell what it asks, and lists them once for each answer at most."""
    root = project(tmp_path, {**DJANGO, "requirements.txt": "gunicorn==23.0\n-e ./lib\n", "lib/pyproject.toml": ""})
    for number in range(1000):
        project(root, {f"shop/part{number % 10}/module{number}.py": "x = 1\n", f"assets/{number}.svg": "<svg/>"})
    (root / "current").symlink_to("lib")
    Project(root).git("init", "--quiet")
    Project(root).git("add", "--all")
    opened: list[str] = []
    listed: list[tuple[str, ...]] = []
    reading = [True]

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if reading and event == "open" and str(arguments[0]).startswith(str(root)):
            opened.append(str(arguments[0]))

    def run(root: Path, *arguments: str, **more: bytes) -> object:
        listed.append(arguments)
        return asked(root, *arguments, **more)

    asked = git.run
    monkeypatch.setattr(git, "run", run)
    sys.addaudithook(hear)
    try:
        found = interview(root, None)
        write(found.project, plan_init(found.project))
    finally:
        reading.clear()  # a hook stays for as long as Python runs
    assert len(opened) > 10 and len(set(opened)) < 40, sorted(set(opened))
    assert len([one for one in listed if "ls-files" in one]) == 2  # what git tracks, and what it does not
