"""The lock of a project that is not all at its top: in a directory, named by deploy.toml, of which parts are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.config import DependenciesConfig, load
from deployer.errors import ConfigError
from deployer.host.build.environment.venv import commands as venv_commands
from deployer.host.build.keys import venv_key
from deployer.host.build.pythons import Interpreter
from deployer.project.locks.lockfile import Lock, find_lock, lock_of
from deployer.project.source import Source, collect
from deployer.release.spec import spec_of
from tests.support.repository import Repository

MEMBER = '[project]\nname = "api"\ndependencies = ["lib"]\n'
WORKSPACE = """\
version = 1
[manifest]
members = ["api", "root"]
[[package]]
name = "root"
source = { virtual = "." }
dependencies = [{ name = "flask" }]
[[package]]
name = "api"
source = { virtual = "services/api" }
dependencies = [{ name = "lib" }]
[[package]]
name = "lib"
source = { editable = "libs/lib" }
[[package]]
name = "flask"
source = { registry = "https://pypi.org/simple" }
"""
GROUPS = """\
version = 1
[[package]]
name = "shop"
source = { virtual = "." }
dependencies = [{ name = "django" }]
[package.optional-dependencies]
postgres = [{ name = "psycopg" }]
[package.dev-dependencies]
prod = [{ name = "gunicorn" }]
dev = [{ name = "pytest" }]
""" + "".join(
    f'[[package]]\nname = "{name}"\nsource = {{ registry = "https://pypi.org/simple" }}\n'
    for name in ("django", "psycopg", "gunicorn", "pytest")
)
OWN = '[project]\nname = "shop"\ndependencies = []\n[dependency-groups]\nempty = []\n'


def ship(repo: Repository, files: dict[str, str]) -> Source:
    for path, content in files.items():
        repo.write(path, content)
    return collect(repo.root, dirty=True)


def find(repo: Repository, files: dict[str, str], *, directory: str = "", **chosen: object) -> Lock:
    return find_lock(
        ship(repo, files),
        directory=directory,
        chosen=DependenciesConfig(**chosen),  # type: ignore[arg-type]
    )


def test_the_lock_nearest_to_the_directory_is_taken(repo: Repository) -> None:
    """One in the app's directory comes before one above it; paths in it are relative to where pip is typed."""
    above = find(repo, {"requirements.txt": "django==5", "backend/manage.py": ""}, directory="backend")
    assert (above.path, above.directory, above.files) == ("requirements.txt", "", ("requirements.txt",))
    own = find(
        repo,
        {
            "backend/requirements.txt": "./lib\n-r more/base.txt",
            "backend/more/base.txt": "a==1",
            "backend/lib/x.py": "",
        },
        directory="backend",
    )
    assert (own.path, own.directory) == ("backend/requirements.txt", "backend")
    assert own.files == ("backend/more/base.txt", "backend/requirements.txt")
    assert own.directories == ("backend/lib",)


def test_a_file_that_deploy_toml_names(repo: Repository) -> None:
    """It is read instead, with all that it includes, and pip's own directory is the project's."""
    lock = find(
        repo,
        {
            "requirements/production.txt": "-r base.txt\ngunicorn==23",
            "requirements/base.txt": "django>=5",
            "uv.lock": "",
        },
        file="requirements/production.txt",
    )
    assert (lock.kind, lock.path, lock.directory) == ("requirements", "requirements/production.txt", "")
    assert lock.files == ("requirements/base.txt", "requirements/production.txt")
    assert lock.floating == ("requirements/base.txt:1: django>=5",)
    assert (
        find(repo, {"locks/pylock.prod.toml": "lock-version = '1.0'"}, file="locks/pylock.prod.toml").kind == "pylock"
    )


@pytest.mark.cause("no-such-lock")
@pytest.mark.parametrize(
    ("file", "why"), [("requirements/prod.txt", "does not ship"), ("setup.cfg", "no installer reads by that name")]
)
def test_a_file_that_cannot_be_used_is_refused(repo: Repository, file: str, why: str) -> None:
    """One that does not ship, or that is no lock, by its name."""
    with pytest.raises(ConfigError, match=f"{file}, which {why}") as caught:
        find(repo, {"setup.cfg": "", "requirements.txt": "a==1"}, file=file)
    assert caught.value.state == "nothing was touched"


@pytest.mark.cause("other-lock")
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("poetry.lock", "poetry export --only main --output requirements.txt"),
        ("Pipfile.lock", "pipenv requirements --hash > requirements.txt"),
        ("pdm.lock", "pdm export --prod --format requirements --output requirements.txt"),
        ("environment.yml", "pip list --format=freeze > requirements.txt"),
    ],
)
def test_another_tools_lock_is_refused_with_its_export(repo: Repository, name: str, command: str) -> None:
    """The command exports the production set; with the export there, the lock is no obstacle."""
    with pytest.raises(ConfigError, match=f"backend/{name} is ") as caught:
        find(repo, {f"backend/{name}": "x"}, directory="backend")
    assert caught.value.next.commands == (command,) and "in backend" in str(caught.value.next)
    with pytest.raises(ConfigError, match="has to be exported"):
        find(repo, {}, file=f"backend/{name}")
    assert find(repo, {"backend/requirements.txt": "a==1"}, directory="backend").kind == "requirements"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("poetry.lock", '[[package]]\nname = "Django"\nversion = "{}"\n'),
        ("pdm.lock", '[[package]]\nname = "django"\nversion = "{}"\n'),
        ("Pipfile.lock", '{{"default": {{"django": {{"version": "=={}"}}}}}}'),
    ],
)
def test_an_export_that_is_older_than_its_lock_is_said(repo: Repository, name: str, text: str) -> None:
    """What is deployed is the export: that it differs from the lock is a warning, with the command."""
    files = {"requirements.txt": "django[argon2]==5.1 ; python_version > '3'\nown==1\n", name: text.format("5.2")}
    (warning,) = find(repo, files).warnings
    assert "differ in django" in warning and "export again" in warning
    assert find(repo, {name: text.format("5.1")}).warnings == ()
    assert find(repo, {name: "nonsense ["}).warnings == ()


def test_the_member_of_a_workspace_that_the_app_runs_in(repo: Repository) -> None:
    """Its dependencies are installed, and those of the root are not."""
    files = {
        "uv.lock": WORKSPACE, "pyproject.toml": '[project]\nname = "root"\n', "services/api/pyproject.toml": MEMBER,
        "services/api/src/main.py": "", "libs/lib/pyproject.toml": "",
    }  # fmt: skip
    lock = find(repo, files, directory="services/api/src")
    assert (lock.path, lock.directory) == ("uv.lock", "services/api")
    assert set(lock.files) == {"uv.lock", "pyproject.toml", "services/api/pyproject.toml"}
    assert lock.directories == ("libs/lib",)
    assert "flask" in lock.absent and "lib" not in lock.absent
    assert find(repo, {}).directory == ""


def test_groups_and_extras_are_chosen(repo: Repository) -> None:
    """What they bring is no longer missing, and the installer is told of them; `dev` only when it is named."""
    files = {"uv.lock": GROUPS, "pyproject.toml": OWN}
    assert set(find(repo, files).absent) == {"psycopg", "gunicorn", "pytest"}
    lock = find(repo, files, groups=("prod", "empty"), extras=("postgres",))
    assert set(lock.absent) == {"pytest"}
    argv = " ".join(commands(repo, lock)[1])
    assert "--group prod --group empty --extra postgres" in argv and "--no-dev" in argv
    assert "--no-dev" not in " ".join(commands(repo, find(repo, files, groups=("dev",)))[1])


@pytest.mark.parametrize(
    ("files", "named", "why"),
    [
        ({"uv.lock": GROUPS, "pyproject.toml": OWN}, "prdo", "it has dev, empty, prod"),
        ({"pylock.toml": "lock-version = '1.0'"}, "prod", "it has no groups"),
        ({"requirements.txt": "a==1"}, "prod", "it has no groups"),
    ],
)
def test_an_unknown_group_is_refused(repo: Repository, files: dict[str, str], named: str, why: str) -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=f"dependencies.groups of deploy.toml names '{named}'") as caught:
        find(repo, files, groups=(named,))
    assert why in caught.value.message


def test_groups_and_extras_of_a_pylock(repo: Repository) -> None:
    """Packages that a marker keeps for them are installed when they are chosen."""
    text = (
        'lock-version = "1.0"\nextras = ["pg"]\ndependency-groups = ["prod"]\n'
        '[[packages]]\nname = "psycopg"\nmarker = "\'pg\' in extras"\n'
        '[[packages]]\nname = "gunicorn"\nmarker = "\'prod\' in dependency_groups"\n'
    )
    assert set(find(repo, {"pylock.toml": text}).absent) == {"psycopg", "gunicorn"}
    assert not find(repo, {}, groups=("prod",), extras=("pg",)).absent
    default = find(repo, {"pylock.toml": f'default-groups = ["base"]\n{text}'}, groups=("prod",))
    assert default.groups == ("base", "prod")  # uv installs no default group where any is named


def commands(repo: Repository, lock: Lock) -> list[list[str]]:
    spec = spec_of(config(repo), ship(repo, {}), lock)
    return venv_commands(spec, "/venv", "/usr/bin/python3")


def config(repo: Repository, more: str = ""):  # type: ignore[no-untyped-def]
    (path := repo.root / "deploy.toml").write_text(f'app = "shop"\n{more}\n[web]\nwsgi = "shop.wsgi:application"\n')
    return load(path)


def test_what_is_chosen_names_the_environment(repo: Repository) -> None:
    """Another directory, group or extra makes another environment; without any of them it is the one it was."""
    source = ship(repo, {"uv.lock": GROUPS, "pyproject.toml": OWN})
    python = Interpreter("/usr/bin/python3", "CPython 3.12.1 x86_64")
    made = {
        venv_key(spec_of(config(repo), source, find_lock(source, chosen=chosen)), source.entries, python)
        for chosen in (
            DependenciesConfig(), DependenciesConfig(groups=("prod",)), DependenciesConfig(extras=("postgres",)),
        )
    }  # fmt: skip
    assert len(made) == 3


def test_the_installer_runs_where_paths_in_the_lock_start(repo: Repository) -> None:
    """The lock is named relative to that directory."""
    lock = find(
        repo, {"backend/requirements/prod.txt": "a==1"}, directory="backend", file="backend/requirements/prod.txt"
    )
    assert lock.directory == "backend"
    assert commands(repo, lock)[1][1:5] == ["pip", "install", "--requirement", "requirements/prod.txt"]


def test_a_directory_that_does_not_ship_is_refused(repo: Repository) -> None:
    """Before anything is connected, with what to correct."""
    source = ship(repo, {"requirements.txt": "a==1", "backend/manage.py": ""})
    assert lock_of(config(repo, 'directory = "backend"'), source, required=True).path == "requirements.txt"
    with pytest.raises(ConfigError, match="no file of such a directory ships"):
        lock_of(config(repo, 'directory = "backen"'), source, required=True)


def test_settings_of_uv_above_the_lock_count(repo: Repository) -> None:
    """uv finds its own settings in the nearest directory that has some: they name the environment."""
    lock = find(repo, {"backend/requirements.txt": "a==1", "uv.toml": 'index-url = "x"'}, directory="backend")
    assert lock.files == ("backend/requirements.txt", "uv.toml")


def test_a_path_may_lead_out_of_the_directory_but_not_of_the_project(repo: Repository, tmp_path: Path) -> None:
    """``../lib`` ships, too; what lies above the project does not."""
    lock = find(repo, {"backend/requirements.txt": "../lib", "lib/x.py": ""}, directory="backend")
    assert lock.directories == ("lib",)
    with pytest.raises(ConfigError, match="is not a file of the project"):
        find(repo, {"backend/requirements.txt": "../../lib"}, directory="backend")
