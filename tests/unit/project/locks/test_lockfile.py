"""What an installer reads of the code names the environment; what it would not find, or would mistake, is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deployer.commands.release import deploy
from deployer.config import Config, load
from deployer.config.tables.web import WebConfig
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.host.build.environment import installer
from deployer.host.build.environment.installer import not_editable
from deployer.host.build.keys import venv_key
from deployer.host.build.pythons import Interpreter
from deployer.host.errors import HostError
from deployer.project.locks.lockfile import Lock, find_lock
from deployer.project.source import Source, collect
from deployer.release.spec import spec_of
from deployer.remote.site import Site
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from tests.support.repository import Repository

PYTHON = Interpreter("/usr/bin/python3", "CPython 3.12.1 x86_64")
PYPROJECT = '[project]\nname = "shop"\ndependencies = ["lib"]\n'
UV = """\
version = 1
requires-python = ">=3.11, <4"
[[package]]
name = "shop"
source = { virtual = "." }
dependencies = [{ name = "lib" }, { name = "uvicorn", extra = ["standard"] }]
[package.optional-dependencies]
prod = [{ name = "gunicorn" }]
[package.dev-dependencies]
dev = [{ name = "pytest" }]
web = [{ name = "celery" }]
[package.metadata]
requires-dist = [{ name = "lib", editable = "libs/lib" }, { name = "uvicorn" }]
[[package]]
name = "lib"
source = { editable = "libs/lib" }
dependencies = [{ name = "deep" }]
[[package]]
name = "deep"
source = { directory = "libs/deep" }
[[package]]
name = "wheel"
source = { path = "wheels/w-1-py3-none-any.whl" }
[[package]]
name = "uvicorn"
source = { registry = "https://pypi.org/simple" }
optional-dependencies = { standard = [{ name = "wheel" }] }
[[package]]
name = "other"
source = { editable = "libs/other" }
dependencies = [{ name = "flask" }]
[[package]]
name = "flask"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "gunicorn"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "celery"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "pytest"
source = { registry = "https://pypi.org/simple" }
"""
WORKSPACE = {
    "uv.lock": UV,
    "pyproject.toml": PYPROJECT,
    "libs/lib/pyproject.toml": "",
    "libs/lib/src/lib.py": "x",
    "libs/deep/deep.py": "x",
    "libs/other/other.py": "x",
    "wheels/w-1-py3-none-any.whl": "x",
}


def ship(repo: Repository, files: dict[str, str]) -> Source:
    """The working tree with these files."""
    for path, content in files.items():
        repo.write(path, content)
    return collect(repo.root, dirty=True)


def locked(repo: Repository, files: dict[str, str]) -> Lock:
    return find_lock(ship(repo, files))


def key(source: Source) -> str:
    """What a host will call the environment, from the files that it verified."""
    spec = spec_of(Config(app="shop", web=WebConfig(wsgi="shop.wsgi:application")), source, find_lock(source))
    return venv_key(spec, source.entries, PYTHON)


def keys_after(repo: Repository, files: dict[str, str]) -> dict[str, bool]:
    """For each file whether a change in it makes another environment."""
    first = key(ship(repo, files))
    found = {}
    for path, content in files.items():
        found[path] = key(ship(repo, {path: f"{content}\n# changed\n"})) != first
        repo.write(path, content)
    return found


def refused(repo: Repository, files: dict[str, str]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        locked(repo, files)
    return caught.value


def test_the_first_kind_of_lock_wins(repo: Repository) -> None:
    """requirements.txt gives way to pylock.toml, and that to uv.lock."""
    assert locked(repo, {"requirements.txt": "django==5"}).kind == "requirements"
    assert locked(repo, {"pylock.toml": "lock-version = '1.0'"}).kind == "pylock"
    lock = locked(repo, {"uv.lock": "version = 1", "pyproject.toml": PYPROJECT})
    assert (lock.kind, lock.path) == ("uv", "uv.lock")


def test_a_lock_that_does_not_ship_does_not_count(repo: Repository) -> None:
    """A lock file which is only on the disk is as good as none, and the message says what to type."""
    repo.write("requirements.txt", "django")
    with pytest.raises(ConfigError, match=r"none of uv\.lock") as caught:
        find_lock(collect(repo.root))
    assert "git add" in str(caught.value.next)
    assert find_lock(collect(repo.root), required=False).kind == "none"


def test_dependencies_that_nothing_pins(repo: Repository) -> None:
    """An app with its own command may do without a lock: that its dependencies are not installed is said."""
    repo.write("pyproject.toml", PYPROJECT)
    repo.commit()
    (warning,) = find_lock(collect(repo.root), required=False).warnings
    assert "none of them is installed" in warning
    assert locked(repo, {"requirements.txt": "lib==1"}).warnings == ()


def test_a_uv_workspace(repo: Repository) -> None:
    """The members and path dependencies that are installed are part of the environment; others are not."""
    changes = keys_after(repo, {**WORKSPACE, "shop/views.py": "x"})
    assert {path for path, changed in changes.items() if not changed} == {"libs/other/other.py", "shop/views.py"}
    lock = locked(repo, WORKSPACE)
    assert lock.directories == ("libs/deep", "libs/lib")
    assert lock.files == ("pyproject.toml", "uv.lock", "wheels/w-1-py3-none-any.whl")
    assert (lock.requires, lock.floating) == (">=3.11,<4", ())


@pytest.mark.parametrize(
    ("program", "where"),
    [
        ("gunicorn", "the extra 'prod'"),
        ("celery", "the dependency group 'web'"),
        ("pytest", "the dependency group 'dev'"),
        ("flask", "another member of the workspace"),
    ],
)
def test_a_program_that_would_not_be_installed(repo: Repository, program: str, where: str) -> None:
    """A server in an extra or a group is in the lock: the message says where, and what to type."""
    with pytest.raises(ConfigError, match=where) as caught:
        locked(repo, WORKSPACE).refuse_absent(["uvicorn", "python", program])
    assert f"uv add {program}" in str(caught.value.next)


def test_default_groups_are_installed(repo: Repository) -> None:
    """A group that pyproject.toml makes a default one is installed, but for dev."""
    settings = PYPROJECT + '[tool.uv]\ndefault-groups = ["web", "dev"]\n'
    lock = locked(repo, {**WORKSPACE, "pyproject.toml": settings})
    lock.refuse_absent(["celery"])
    with pytest.raises(ConfigError, match="dependency group 'dev'"):
        lock.refuse_absent(["pytest"])


def test_a_build_backend_in_the_workspace(repo: Repository) -> None:
    """What builds a dependency is read by the installer, although a lock does not say so."""
    build = '[build-system]\nrequires = ["hatchling>=1", "Other"]\n'
    files = {**WORKSPACE, "libs/lib/pyproject.toml": build}
    assert locked(repo, files).directories == ("libs/deep", "libs/lib", "libs/other")


def test_a_workspace_without_a_project(repo: Repository) -> None:
    """Where the root is no project, all members are installed."""
    lock = 'version = 1\n[manifest]\nmembers = ["a", "b"]\n' + "".join(
        f'[[package]]\nname = "{name}"\nsource = {{ editable = "{name}" }}\n' for name in "ab"
    )
    files = {"uv.lock": lock, "pyproject.toml": "", "a/a.py": "", "b/b.py": ""}
    assert locked(repo, files).directories == ("a", "b")


def test_a_lock_older_than_its_project(repo: Repository) -> None:
    """A dependency that was added and not locked is refused: it would be missing on the host."""
    project = PYPROJECT.replace('["lib"]', '["lib", "Django_Extensions>=3"]')
    error = refused(repo, {**WORKSPACE, "pyproject.toml": project})
    assert "it lacks django-extensions" in error.message and "uv lock" in str(error.next)


def test_uv_needs_its_pyproject(repo: Repository) -> None:
    """uv.lock without pyproject.toml is refused."""
    assert "without its pyproject.toml" in refused(repo, {"uv.lock": "version = 1"}).message


def test_a_pylock_with_local_sources(repo: Repository) -> None:
    """Directories and archives of the code are part of the environment; an extra's package is said to be absent."""
    text = (
        "lock-version = '1.0'\nrequires-python = '>=3.10'\n"
        "[[packages]]\nname = 'lib'\ndirectory = { path = 'lib', editable = true }\n"
        "[[packages]]\nname = 'w'\nwheels = [{ name = 'w', path = './w.whl' }, { url = 'https://x/y.whl' }]\n"
        "[[packages]]\nname = 'gunicorn'\nmarker = \"'prod' in extras\"\n"
    )
    files = {"pylock.toml": text, "lib/lib.py": "x", "w.whl": "x", "app.py": "x"}
    assert keys_after(repo, files) == {"pylock.toml": True, "lib/lib.py": True, "w.whl": True, "app.py": False}
    lock = locked(repo, files)
    assert lock.requires == ">=3.10"
    with pytest.raises(ConfigError, match="extra 'prod'"):
        lock.refuse_absent(["gunicorn"])


@pytest.mark.parametrize("line", ["./lib", "-e ./lib", "-e lib", "--editable=lib[x]", "lib @ ./lib", "lib @ file:lib",
                                  "lib @ file://${PROJECT_ROOT}/lib ; python_version > '3'", "./lib[x]",
                                  "vendor/../lib"])  # fmt: skip
def test_a_directory_among_the_requirements(repo: Repository, line: str) -> None:
    """However a directory of the code is named, its files are part of the environment, and the app's are not."""
    files = {"requirements.txt": f"-r req/more.txt\n{line}\n", "req/more.txt": "", "lib/x.py": "x", "vendor/v.py": "x"}
    changes = keys_after(repo, {**files, "app.py": "x"})
    assert changes == {
        "requirements.txt": True, "req/more.txt": True, "lib/x.py": True, "vendor/v.py": False, "app.py": False,
    }  # fmt: skip
    assert locked(repo, files).floating == ()


def test_the_project_itself(repo: Repository) -> None:
    """``-e .`` makes all of the code part of the environment, which is said."""
    changes = keys_after(repo, {"requirements.txt": "-e .\n", "setup.py": "x", "app.py": "x"})
    assert all(changes.values())
    assert "rebuilds the environment" in locked(repo, {}).warnings[0]


def test_included_files_and_wheels(repo: Repository) -> None:
    """Files that requirements include, and directories of wheels that they look in, are part of the environment."""
    files = {
        "requirements.txt": "-r req/base.txt\n--constraint=req/pins.txt  # why\ndjango",
        "req/base.txt": "-rmore.txt\n-f wheels\n",
        "req/more.txt": "-r ../requirements.txt\nx",
        "req/pins.txt": "x==1",
        "req/wheels/x-1-py3-none-any.whl": "x",
        "vendor/y-1-py3-none-any.whl": "x",
    }
    changes = keys_after(repo, {**files, "app.py": "x"})
    assert {path for path, changed in changes.items() if not changed} == {"vendor/y-1-py3-none-any.whl", "app.py"}
    first = key(ship(repo, {"req/more.txt": "./vendor/y-1-py3-none-any.whl"}))
    assert key(ship(repo, {"vendor/y-1-py3-none-any.whl": "other"})) != first


def test_settings_of_uv(repo: Repository) -> None:
    """What uv is told in the project, and the wheels it is pointed at, are part of the environment of any lock."""
    files = {
        "requirements.txt": "x==1",
        "pyproject.toml": '[tool.uv]\nfind-links = ["./wheels"]\n',
        "wheels/x-1-py3-none-any.whl": "x",
    }
    assert all(keys_after(repo, files).values())
    assert not keys_after(repo, {**files, "pyproject.toml": "[tool.ruff]\n"})["pyproject.toml"]
    assert keys_after(repo, {"requirements.txt": "x==1", "uv.toml": ""})["uv.toml"]


def test_links_are_followed(repo: Repository) -> None:
    """A lock that is a link, and files that a local source links to, are part of the environment all the same."""
    files = {"req/prod.txt": "./lib", "lib/x.py": "x", "common/c.py": "x", "README.md": "x"}
    (repo.root / "requirements.txt").symlink_to("req/prod.txt")
    (repo.root / "lib").mkdir()
    (repo.root / "lib/common").symlink_to("../common")
    (repo.root / "lib/README.md").symlink_to("../README.md")
    assert all(keys_after(repo, files).values())


@pytest.mark.parametrize(
    ("line", "told", "next"),
    [
        ("-r missing.txt", "requirements.txt:2 names missing.txt, which does not ship", "git add missing.txt"),
        ("-r ../../x.txt", "requirements.txt:2: ../../x.txt is not a file of the project", "move it"),
        ("-r https://example.com/x.txt", "is not a file of the project", "move it"),
        ("-r /etc/passwd", "requirements.txt:2: /etc/passwd is a place of the machine", "pip list"),
        ("numpy @ file:///croot/numpy_1/work", "requirements.txt:2: /croot/numpy_1/work is a place", "pip list"),
        ("-e ../lib", "requirements.txt:2: ../lib is not a file of the project", "move it"),
        ("-e ./gone", "requirements.txt:2 names gone, which does not ship", "git add gone"),
        ("./gone-1-py3-none-any.whl", "names gone-1-py3-none-any.whl, which does not ship", "git add"),
    ],
)
def test_requirements_that_cannot_be_followed(repo: Repository, line: str, told: str, next: str) -> None:
    """What no host would find is refused with file and line, and advice that fits that kind of line."""
    error = refused(repo, {"requirements.txt": f"django==5\n{line}"})
    assert told in error.message
    assert next in str(error.next)


COMMIT = "a" * 40
HASH = "0" * 64


@pytest.mark.parametrize(
    ("line", "loose"),
    [
        ("celery", True),
        ("celery>=5", True),
        ("celery==5.*", True),
        ("celery[redis]~=5.1 ; python_version > '3'", True),
        ("git+https://github.com/x/y.git", True),
        ("git+https://github.com/x/y.git@main#egg=y", True),
        ("y @ git+ssh://git@github.com/x/y@v1.2", True),
        ("-e git+https://github.com/x/y.git#egg=y", True),
        (f"-e git+https://github.com/x/y.git@{COMMIT}#egg=y", False),
        (f"y @ git+ssh://git@github.com/x/y@{COMMIT}", False),
        ("celery==5.4", False),
        ("celery === 5.4 ; python_version > '3'", False),
        ("celery==5.4 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11", False),
        ("y @ https://example.com/y-1-py3-none-any.whl", True),
        ("https://example.com/y-1.tar.gz", True),
        ("https://example.com/y-1.tar.gz ; python_version > '3'", True),
        (f"y @ https://example.com/y-1.tar.gz#sha256={HASH}", False),
        (f"y @ https://example.com/y-1.tar.gz#egg=y&sha256={HASH}", False),
        (f"https://example.com/y-1.tar.gz \\\n    --hash=sha256:{HASH}", False),
        ("--extra-index-url https://example.com/simple", False),
        ("kombu", False),
        ("# a remark", False),
    ],
)
def test_what_is_not_pinned(repo: Repository, line: str, loose: bool) -> None:
    """A requirement without a version or a commit is told with its line; a constraint pins it."""
    lock = locked(repo, {"requirements.txt": f"-c pins.txt\ndjango==5\n{line}\n", "pins.txt": "Kombu==5\nvine\n"})
    assert [told.partition(": ")[0] for told in lock.floating] == (["requirements.txt:3"] if loose else [])
    if loose:
        with pytest.raises(ConfigError, match=r"requirements\.txt:3"):
            lock.refuse_loose()
    else:
        lock.refuse_loose()


def test_passwords_in_requirements_are_not_told(repo: Repository) -> None:
    """What is said about a requirement leaves out what its URL has of user names and tokens."""
    lock = locked(repo, {"requirements.txt": "git+https://ada:hunter2@github.com/x/y@main\n"})
    assert "hunter2" not in lock.loose and "github.com/x/y@main" in lock.loose


@pytest.mark.parametrize("text", ["package = 1", "[[package]]\nname = 1\nsource = 2", "[package"])
def test_what_is_no_lock(repo: Repository, text: str) -> None:
    """A lock of another shape is refused by its name."""
    assert "uv.lock" in refused(repo, {"uv.lock": text, "pyproject.toml": PYPROJECT}).message


def test_nothing_is_installed_as_editable() -> None:
    """Each way to ask for it is taken out of what the installer reads; the rest stays as it is."""
    text = b"-e ./a\n--editable=b[x] ; y\n  -e git+https://x/y@m#egg=y\n--extra-index-url x\ndjango==5\n-e.\n"
    plain = b"./a\n./b[x] ; y\ngit+https://x/y@m#egg=y\n--extra-index-url x\ndjango==5\n.\n"
    assert not_editable("requirements", text) == plain
    assert not_editable("pylock", b"d = { path = 'x', editable = true }") == b"d = { path = 'x', editable = false }"
    assert not_editable("uv", text) == text


def test_an_installer_sees_what_names_the_environment(repo: Repository) -> None:
    """The files that the lock covers are laid out, as they were shipped, and no others."""
    repo.write("lib/run.sh", "x").chmod(0o755)
    (repo.root / "lib/link").symlink_to("run.sh")
    source = ship(repo, {"requirements.txt": "-e ./lib\n", "lib/x.py": "x"})
    spec = spec_of(Config(app="shop", web=WebConfig(wsgi="shop.wsgi:application")), source, find_lock(source))
    destination = repo.root.parent / "sources"
    installer.lay_out(spec.lock, source.entries, repo.root, destination)
    assert sorted(path.relative_to(destination).as_posix() for path in destination.rglob("*")) == [
        "lib", "lib/link", "lib/run.sh", "lib/x.py", "requirements.txt",
    ]  # fmt: skip
    assert (destination / "requirements.txt").read_text() == "./lib\n"
    assert os.access(destination / "lib/run.sh", os.X_OK) and (destination / "lib/link").is_symlink()


def test_what_points_out_of_an_environment_is_refused(tmp_path: Path) -> None:
    """However it came about, nothing editable is sealed; odd records and links are passed by."""
    packages = tmp_path / "lib/python3.12/site-packages"
    for name, text in (("plain", '{"url": "x", "dir_info": {"editable": false}}'), ("odd", "[1"), ("list", "[]"),
                       ("number", '{"dir_info": 1}')):  # fmt: skip
        (packages / f"{name}-1.dist-info").mkdir(parents=True)
        (packages / f"{name}-1.dist-info/direct_url.json").write_text(text)
    (packages / "link-1.dist-info").symlink_to("/etc")
    installer.refuse_editable(tmp_path)
    (packages / "lib-1.dist-info").mkdir()
    (packages / "lib-1.dist-info/direct_url.json").write_text('{"url": "x", "dir_info": {"editable": true}}')
    with pytest.raises(HostError, match="lib was installed as editable"):
        installer.refuse_editable(tmp_path)


def test_a_file_that_a_build_has_changed_is_not_installed_from(repo: Repository) -> None:
    """What the environment's name was made of is what is installed, or nothing."""
    source = ship(repo, {"requirements.txt": "x==1\n"})
    spec = spec_of(Config(app="shop", web=WebConfig(wsgi="shop.wsgi:application")), source, find_lock(source))
    repo.write("requirements.txt", "x==2\n")
    with pytest.raises(HostError, match=r"requirements\.txt differs from what was shipped"):
        installer.lay_out(spec.lock, source.entries, repo.root, repo.root.parent / "sources")


def test_a_lock_of_before_has_no_directories(repo: Repository) -> None:
    """The record of a release that an older version made is still read."""
    source = ship(repo, {"requirements.txt": "x==1\n"})
    spec = spec_of(Config(app="shop", web=WebConfig(wsgi="x:y")), source, find_lock(source))
    old = json.loads(json.dumps(spec.as_json()))
    del old["lock"]["directories"], old["lock"]["requires"]
    assert type(spec).parse(old) == spec


# What a deploy makes of it


def read(repo: Repository, text: str, *, strict: bool = False) -> list[str]:
    """What is warned of when a deploy reads the project under that deploy.toml."""
    repo.write("deploy.toml", text)
    config = load(repo.root / "deploy.toml")
    target = Target(name="deploy@web1", user="deploy", host="web1", port=None)
    site = Site(root=repo.root, config=config, target=target, ssh=SshOptions(), report=lambda _: None)
    told: list[Any] = []
    deploy.read_project(Fleet(sites=(site,), config=config, report=told.append), None, True, strict=strict)
    return [event.text for event in told]


APP = 'app = "shop"\n[web]\nwsgi = "app:app"\n'
ASGI = APP.replace("wsgi", "asgi")


@pytest.mark.cause("not-pinned")
def test_a_deploy_says_once_what_is_not_pinned(repo: Repository) -> None:
    """It is a warning, unless the command line or deploy.toml asks for a refusal."""
    repo.write("requirements.txt", "gunicorn\n")
    (warning,) = read(repo, APP)
    assert warning.endswith("requirements.txt:1: gunicorn")
    for text, strict in ((APP, True), (f"{APP}[release]\nlocked = true\n", False)):
        with pytest.raises(ConfigError, match=r"requirements\.txt:1: gunicorn") as caught:
            read(repo, text, strict=strict)
        assert (caught.value.exit, caught.value.state) == (2, "nothing was touched")
    repo.write("requirements.txt", "gunicorn==23.0.0\n")
    assert read(repo, f"{APP}[release]\nlocked = true\n", strict=True) == []


@pytest.mark.cause("not-installed")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (APP, "gunicorn is in uv.lock only through the extra 'prod'"),
        (f'{ASGI}[processes.w]\ncommand = "celery -A x worker"\n', "celery is in uv.lock only"),
        (f'{ASGI}[timers.t]\ncommand = "flask x"\ncalendar = "daily"\n', "flask is in uv.lock only"),
        (f'python = "3.10"\n{ASGI}', "uv.lock is for Python >=3.11,<4"),
        (f'python = "3.12"\n{ASGI}', ""),
    ],
)
def test_a_deploy_is_refused_for_what_the_lock_will_not_give(repo: Repository, text: str, told: str) -> None:
    """A program that will not be installed, and another Python, are found before a host is asked."""
    ship(repo, WORKSPACE)
    if not told:
        assert read(repo, text) == []
        return
    with pytest.raises(ConfigError, match=told):
        read(repo, text)


@pytest.mark.parametrize(
    ("project", "requires"),
    [
        ('[project]\nname = "x"\nrequires-python = ">=3.14, <4"\n', ">=3.14,<4"),
        ('[project]\nname = "x"\n', ""),
        ("[project]\nrequires-python = 3\n", ""),
        ("project = 1\n", ""),
    ],
)
def test_beside_requirements_the_project_says_which_python_it_needs(
    repo: Repository, project: str, requires: str
) -> None:
    """A requirements file cannot say it, and no installer of one asks the project."""
    lock = locked(repo, {"requirements.txt": "django==5\n", "pyproject.toml": project})
    assert (lock.requires, lock.says_python) == (requires, "pyproject.toml")


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({".python-version": "3.12\n"}, "3.12"),
        ({".python-version": "# ours\n\n3.12.4  # as the host has it\n3.11\n"}, "3.12"),
        ({".python-version": "cpython@3.13\n"}, "3.13"),
        ({".python-version": "\n"}, ""),
        ({}, ""),
        ({".python-version": "3.12\n", "pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.10"\n'}, ""),
    ],
)
def test_the_python_that_is_asked_for_beside_requirements(repo: Repository, files: dict[str, str], python: str) -> None:
    """As uv reads the file: where nothing else says a Python, and deploy.toml has the last word."""
    source = ship(repo, {"requirements.txt": "django==5\n", **files})
    lock = find_lock(source)
    assert lock.warnings == ()
    assert spec_of(Config(app="shop", web=WebConfig(wsgi="shop.wsgi:application")), source, lock).python == python
    assert spec_of(Config(app="shop", python="3.10", web=WebConfig(wsgi="x:y")), source, lock).python == "3.10"


def test_a_python_that_is_not_understood_is_told(repo: Repository) -> None:
    """It is not silently another one."""
    lock = locked(repo, {"requirements.txt": "django==5\n", ".python-version": "pypy@3.10\n"})
    assert lock.python == ""
    assert "asks for 'pypy@3.10', which is not used" in lock.warnings[0]
