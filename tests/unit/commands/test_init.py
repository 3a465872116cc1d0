"""``deployer init`` and what it finds in a project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployer.commands.init import FABFILE, FABRIC, chosen, interview, plan_init, refuse_mistake, write
from deployer.config import load
from deployer.errors import ConfigError
from deployer.project.detect import DiskFiles, inspect
from deployer.project.detect.application import complete

MANAGE = """\
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
raise SystemExit("imported")
"""
SETTINGS = """\
import os
raise SystemExit("imported")
BASE_DIR = os.getcwd()
ALLOWED_HOSTS = ["localhost", "shop.example.com"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
DATABASES = {"default": {}}
"""
DJANGO = {
    "manage.py": MANAGE,
    "shop/__init__.py": "",
    "shop/settings.py": SETTINGS,
    "shop/urls.py": 'urlpatterns = [path("", home), path("healthz", health)]',
    "shop/wsgi.py": "application = 1",
    "shop/asgi.py": "application = 1",
    "requirements.txt": "django\ngunicorn==23",
}


def test_several_applications_in_packages_are_a_choice(project) -> None:
    """Without a manage.py nothing says which one is meant: both are named, and how to say it."""
    root = project({"a/wsgi.py": "application = 1", "b/wsgi.py": "application = 1"})
    with pytest.raises(ConfigError, match=r"a\.wsgi:application.*b\.wsgi:application") as caught:
        refuse_mistake(inspect(DiskFiles(root)))
    assert '--wsgi="a.wsgi:application"' in str(caught.value.next)
    refuse_mistake(chosen(inspect(DiskFiles(root)), wsgi="b.wsgi:application", asgi=""))


@pytest.fixture
def project(tmp_path: Path):
    """A function that writes files into a fresh directory named ``my_shop``, and gives the directory."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "my_shop"
        root.mkdir(exist_ok=True)
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content, encoding="utf-8")
        return root

    return make


def test_a_django_project_is_understood(project) -> None:
    """Everything that init asks for is found in the files, without importing one of them."""
    found = inspect(DiskFiles(project(DJANGO)))
    site = found.django
    assert site is not None
    assert (found.name, found.manage, site.settings) == ("shop", True, "shop.settings")
    assert (found.wsgi, found.asgi) == ("shop.wsgi:application", "shop.asgi:application")
    assert (found.lock.path, site.host, found.health) == ("requirements.txt", "shop.example.com", "/healthz")
    assert (site.static_url, site.static_root, site.migrates) == ("/static/", "staticfiles", True)
    assert found.git is False


def test_split_settings_are_read_together(project) -> None:
    """What ``from .base import *`` brings in counts, and the module's own lines win."""
    files = {**DJANGO, "manage.py": MANAGE.replace("shop.settings", "shop.settings.production")}
    files.pop("shop/settings.py")
    files |= {
        "shop/settings/__init__.py": "",
        "shop/settings/base.py": SETTINGS,
        "shop/settings/production.py": 'from .base import *\nALLOWED_HOSTS = ["live.example.com"]\n',
    }
    found = inspect(DiskFiles(project(files)))
    site = found.django
    assert site is not None
    assert (site.settings, site.host, site.static_root) == (
        "shop.settings.production", "live.example.com", "staticfiles",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "text", "kind", "callable"),
    [
        ("app.py", "from flask import Flask\napp = Flask(__name__)", "wsgi", "app:app"),
        ("main.py", "import fastapi\nserver = fastapi.FastAPI()", "asgi", "main:server"),
    ],
)
def test_other_frameworks_are_found(project, module: str, text: str, kind: str, callable: str) -> None:
    """A Flask or FastAPI application at the top of a usual module is found."""
    assert getattr(inspect(DiskFiles(project({module: text}))), kind) == callable


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"pyproject.toml": '[project]\nname = "My_Great.Shop"'}, "my-great-shop"),
        ({"pyproject.toml": "not toml = ="}, "my-shop"),
        ({"manage.py": MANAGE.replace("shop.settings", "config.settings")}, "my-shop"),
        ({"pyproject.toml": '[project]\nname = "' + "long-" * 10 + '"'}, "long-long-long-long-long"),
        ({"pyproject.toml": '[project]\nname = "42"'}, "my-shop"),
    ],
)
def test_names_are_made_to_fit(project, files: dict[str, str], name: str) -> None:
    """The app's name is one that the configuration accepts, from the best place that has one."""
    assert inspect(DiskFiles(project(files))).name == name


def test_broken_files_are_no_obstacle(project) -> None:
    """Syntax errors and binary files are skipped."""
    root = project({"manage.py": "def (", "app.py": "\0", "uv.lock": ""})
    (root / "main.py").write_bytes(b"\xff")
    assert inspect(DiskFiles(root)).wsgi is None


def test_the_written_file_is_accepted(project) -> None:
    """What init writes is a valid deploy.toml with what was found, and nothing else."""
    root = project(DJANGO)
    found = inspect(DiskFiles(root))
    lines = write(found, plan_init(found))
    config = load(root / "deploy.toml")
    assert (config.app, config.web.wsgi, config.web.health.path) == (
        "shop",
        "shop.wsgi:application",
        "/healthz",
    )
    assert (config.health_host, config.env) == (
        "shop.example.com",
        {"DJANGO_SETTINGS_MODULE": "shop.settings"},
    )
    assert config.release.build == ("python manage.py collectstatic --noinput",)
    assert config.release.migrate == "python manage.py migrate --noinput"
    assert (root / "fabfile.py").read_text() == FABFILE
    assert (root / "fabric.yaml").read_text() == FABRIC
    assert lines[2:5] == ["wrote deploy.toml", "wrote fabfile.py", "wrote fabric.yaml"]
    assert "    fab setup -H root@HOST" in lines and "    fab deploy -H deploy@HOST" in lines


def test_comments_can_be_taken_away(project) -> None:
    """The commented proxy table is valid when its marks are removed."""
    root = project(DJANGO)
    text = plan_init(inspect(DiskFiles(root)))[Path("deploy.toml")]
    at = text.index("# [proxy]")
    end = text.index("\n\n", at)
    (root / "deploy.toml").write_text(text[:at] + re.sub("^# ", "", text[at:end], flags=re.M) + text[end:])
    proxy = load(root / "deploy.toml").proxy
    assert (proxy.kind, proxy.domains, proxy.static) == (
        None, ("shop.example.com",), {"/static/": "staticfiles"},
    )  # fmt: skip


def test_an_empty_project_gets_a_valid_file(project) -> None:
    """Where nothing is found the file says what must be chosen, and still loads."""
    root = project({})
    found = inspect(DiskFiles(root))
    lines = write(found, plan_init(found))
    assert load(root / "deploy.toml").web.wsgi is None
    assert "Choose one" in (root / "deploy.toml").read_text()
    assert any("uv lock" in line for line in lines) and any("git init" in line for line in lines)


def test_odd_values_are_quoted(project) -> None:
    """Quotes and backslashes in what was found cannot break the file."""
    files = {**DJANGO, "shop/settings.py": SETTINGS.replace('"staticfiles"', "'st\"a\\\\tic'")}
    root = project(files)
    found = inspect(DiskFiles(root))
    write(found, plan_init(found))
    assert load(root / "deploy.toml").app == "shop"


def test_nothing_is_overwritten(project) -> None:
    """Files that exist stay as they are, and the lines say what to add to them."""
    own = {"deploy.toml": "# mine", "fabfile.py": "# mine", "fabric.yaml": "run: {}"}
    root = project({**DJANGO, **own})
    lines = write(inspect(DiskFiles(root)), plan_init(inspect(DiskFiles(root))))
    assert {name: (root / name).read_text() for name in own} == own
    text = "\n".join(lines)
    assert "kept deploy.toml: it exists" in text
    assert "kept fabfile.py; add this line" in text and FABFILE.strip() in text and "namespace.add_task" in text
    assert "kept fabric.yaml; add this setting" in text and "deployer.executor.FleetExecutor" in text


def test_another_fabric_file_is_not_hidden(project) -> None:
    """Where fabric.yml exists no fabric.yaml is written: Fabric would read it instead."""
    root = project({**DJANGO, "fabric.yml": "run: {}"})
    lines = write(inspect(DiskFiles(root)), plan_init(inspect(DiskFiles(root))))
    assert not (root / "fabric.yaml").exists()
    assert any(line.startswith("kept fabric.yml; add") for line in lines)


def test_a_second_run_changes_nothing(project) -> None:
    """Init may be typed again: all is kept, and nothing is to be added."""
    root = project(DJANGO)
    write(inspect(DiskFiles(root)), plan_init(inspect(DiskFiles(root))))
    lines = write(inspect(DiskFiles(root)), plan_init(inspect(DiskFiles(root))))
    assert lines[2:5] == [
        "kept deploy.toml: it exists", "kept fabfile.py: it exists", "kept fabric.yaml: it exists",
    ]  # fmt: skip


def test_hints(project) -> None:
    """A missing server is pointed out."""
    root = project({**DJANGO, "requirements.txt": "django"})
    assert any("does not name gunicorn" in line for line in write(inspect(DiskFiles(root)), {}))


def refusal(root: Path, **choice: str) -> ConfigError:
    """The error with which init refuses a directory; nothing is written."""
    with pytest.raises(ConfigError) as caught:
        refuse_mistake(interview(root, None, **choice).project)
    assert (caught.value.exit, caught.value.state) == (2, "nothing was written")
    return caught.value


def test_a_directory_that_cannot_be_meant(project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory, home, the root directory and what another deploy.toml governs are refused by their names."""
    root = project({"notes.txt": ""})
    assert "no Python project" in refusal(root).message
    assert "is no project's directory" in refusal(Path("/")).message
    monkeypatch.setenv("HOME", str(root))
    assert "is no project's directory" in refusal(root).message
    with monkeypatch.context() as patch:  # nor is all that is below them read first, which takes a minute
        patch.setattr("deployer.commands.init.questions.inspect", None)
        assert "is no project's directory" in refusal(root).message
    project({"manage.py": MANAGE, "shop/settings.py": "", "shop/apps/x.py": ""})
    for inner in ("shop", "shop/apps"):
        assert str(refusal(root / inner).next) == f"cd {root} && deployer init"
    project({"deploy.toml": 'app = "shop"', "docs/conf.py": ""})
    assert str(root / "deploy.toml") in refusal(root / "docs").message
    refuse_mistake(inspect(DiskFiles(root)))


def test_projects_further_down(project) -> None:
    """Several are named, with the option that chooses; a single one is understood where it is."""
    root = project({f"{place}/manage.py": MANAGE for place in ("a/x", "b")})
    error = refusal(root)
    assert all(f"{place}/" in error.message for place in ("a/x", "b"))
    assert error.next.commands == ("deployer init --directory b",)
    assert inspect(DiskFiles(root), directory="a/x").directory == "a/x"


@pytest.mark.cause("several-apps")
def test_several_applications(project) -> None:
    """All are named, with the option that chooses; a deploy that would have to choose is refused as well."""
    app = "from flask import Flask\napp = Flask(__name__)\nadmin = Flask(__name__)"
    root = project({"app.py": app, "main.py": "import fastapi\napp = fastapi.FastAPI()"})
    error = refusal(root)
    assert 'wsgi = "app:app", wsgi = "app:admin", asgi = "main:app"' in error.message
    assert str(error.next).startswith('deployer init --wsgi="app:app"')
    chose = chosen(inspect(DiskFiles(root)), wsgi="", asgi="main:app")
    refuse_mistake(chose)
    assert 'asgi = "main:app"' in plan_init(chose)[Path("deploy.toml")]
    (root / "deploy.toml").write_text('app = "shop"')
    with pytest.raises(ConfigError, match="several applications"):
        complete(load(root / "deploy.toml"), DiskFiles(root))


def test_what_was_found_is_said(project) -> None:
    """The first line tells it, or that there is no application."""
    assert write(inspect(DiskFiles(project(DJANGO))), {})[0] == (
        "found: Django, settings shop.settings, shop.wsgi:application, requirements.txt, no git repository"
    )
    assert "no WSGI or ASGI application" in write(inspect(DiskFiles(project({}) / "nothing")), {})[0]


@pytest.mark.parametrize(
    ("web", "kind"),
    [("", "wsgi"), ('[web]\nserver = "uvicorn"', "asgi"), ('[web]\nserver = "gunicorn"', "wsgi")],
)
def test_the_callable_is_completed(project, web: str, kind: str) -> None:
    """Without a callable in the config it is found in the files, of the kind that the server serves."""
    root = project({**DJANGO, "deploy.toml": f'app = "shop"\n{web}'})
    done = complete(load(root / "deploy.toml"), DiskFiles(root)).web
    assert getattr(done, kind) == f"shop.{kind}:application"
    assert (done.wsgi is None) != (done.asgi is None)


def test_a_command_is_left_alone(project) -> None:
    """A config that says what serves is not changed."""
    root = project({**DJANGO, "deploy.toml": 'app = "shop"\n[web]\ncommand = "serve"'})
    config = load(root / "deploy.toml")
    assert complete(config, DiskFiles(root)) is config


@pytest.mark.cause("no-app")
def test_nothing_to_serve_is_refused(project) -> None:
    """Where neither config nor files tell, the message says what to write."""
    root = project({"deploy.toml": 'app = "shop"'})
    with pytest.raises(ConfigError, match="no WSGI or ASGI application") as caught:
        complete(load(root / "deploy.toml"), DiskFiles(root))
    assert "wsgi = " in str(caught.value.next)


WORKER = 'app = "shop"\n[processes.worker]\ncommand = "x"\n'


def test_nothing_to_serve_is_needed_where_no_web_runs(project) -> None:
    """A host of workers does without; where it is not said that a host is one, the message tells how."""
    root = project({"deploy.toml": f'{WORKER}[hosts.a]\nprocesses = ["worker"]'})
    own = load(root / "deploy.toml").of_host("a")
    assert complete(own, DiskFiles(root)) is own
    root = project({"deploy.toml": f"{WORKER}[hosts.a]"})
    with pytest.raises(ConfigError, match="no WSGI or ASGI application") as caught:
        complete(load(root / "deploy.toml").of_host("a"), DiskFiles(root))
    assert str(caught.value.next) == (
        'write it into deploy.toml: [web] wsgi = "shop.wsgi:application" (or asgi, or command); '
        'or that there is none: [hosts."a"] processes = ["worker"]'
    )


def test_what_startproject_writes_is_doubted(tmp_path: Path) -> None:
    """A database in the code, nobody in ALLOWED_HOSTS, DEBUG on: init names all three before a host does."""
    (tmp_path / "manage.py").write_text('os.environ.setdefault("DJANGO_SETTINGS_MODULE", "blog.settings")\n')
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog/settings.py").write_text(
        "from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\n"
        'DEBUG = True\nALLOWED_HOSTS = []\nDATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", '
        '"NAME": BASE_DIR / "db.sqlite3"}}\n'
    )
    project = inspect(DiskFiles(tmp_path))
    told = "\n".join(write(project, plan_init(project)))
    assert "STATE_DIRECTORY" not in told and "ALLOWED_HOSTS does not have" in told and "DEBUG is on" in told
