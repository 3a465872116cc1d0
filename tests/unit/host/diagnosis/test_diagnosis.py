"""A failure's cause is read from what the process printed: what Python really prints, not what we think it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployer.host.diagnosis import causes
from deployer.host.diagnosis.diagnosis import (
    Explanation,
    from_command,
    from_end,
    from_migration,
    from_output,
    from_response,
)

cause = pytest.mark.cause


def printed(code: Path, program: str) -> list[str]:
    """What ``program`` prints when it fails, run in the directory of the code."""
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, cwd=code, capture_output=True, text=True, env={"PYTHONPATH": str(code)})
    assert done.returncode != 0
    return (done.stdout + done.stderr).splitlines()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The project's code: a package of its own, and stand-ins for libraries."""
    library = tmp_path / "lib"
    for name, text in {
        "shop/__init__.py": "",
        "shop/settings.py": "import os\nKEY = os.environ['SECRET_KEY']\n",
        "lib/psycopg/__init__.py": "class OperationalError(Exception): pass\ndef connect(): raise OperationalError\n",
        "lib/decouple.py": "class UndefinedValueError(Exception): pass\n",
        "lib/core.py": "class ImproperlyConfigured(Exception): pass\n",
        "shop/migrations/__init__.py": "",
        "shop/migrations/m1.py": "import nothing_here\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert library.is_dir()
    return tmp_path


IMPROPER = "import core; raise core.ImproperlyConfigured"
LIB = "import sys; sys.path.append('lib')\n"
OUTPUT = [
    pytest.param("import nothing.at_all", "missing-package", "the module nothing ", marks=cause("missing-package")),
    pytest.param("import shop.utils", "missing-module", "no module shop.utils", marks=cause("missing-module")),
    pytest.param("import shop.settings", "missing-variable", "SECRET_KEY", marks=cause("missing-variable")),
    pytest.param("{}['SECRET_KEY']", "command-error", "", marks=cause("command-error")),
    pytest.param(f"{LIB}import decouple as d; raise d.UndefinedValueError('A_URL …')", "missing-variable", "A_URL"),
    pytest.param(f"{LIB}{IMPROPER}('The SECRET_KEY setting …')", "missing-variable", "SECRET_KEY"),
    pytest.param(f"{LIB}{IMPROPER}('The STATIC_ROOT setting …')", "command-error", ""),
    pytest.param(LIB + "import psycopg; psycopg.connect()", "no-database", "its database", marks=cause("no-database")),
    pytest.param("raise ConnectionRefusedError(111, 'x')", "no-database", "a service", marks=cause("no-database")),
    pytest.param("raise OSError(30, 'x', '/srv/shop/current/code/a')", "read-only-code", "/srv/shop/current/code/a",
                 marks=cause("read-only-code")),
    pytest.param("raise PermissionError(13, 'x', 'media/a')", "read-only-code", "media/a"),
    pytest.param("import sqlite3; sqlite3.connect('/nowhere/at/all')", "read-only-code", "SQLite"),
    pytest.param("raise PermissionError(13, 'x', '/etc/a')", "not-allowed", "/etc/a", marks=cause("not-allowed")),
    pytest.param("raise OSError(28, 'x')", "app-disk-full", "full", marks=cause("app-disk-full")),
    pytest.param("raise OSError(98, 'x')", "port-in-use", "in use", marks=cause("port-in-use")),
    pytest.param("raise MemoryError", "no-memory", "memory", marks=cause("no-memory")),
    pytest.param("try: import nothing\nexcept ImportError: raise RuntimeError", "missing-package", "nothing"),
    pytest.param("import os\ntry: os.environ['A_B']\nexcept KeyError: raise ValueError", "missing-variable", "A_B"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "name", "words"), OUTPUT)
def test_what_python_prints_is_read(code: Path, program: str, name: str, words: str) -> None:
    """Types, numbers, names and frames tell the cause; what only looks like one is none."""
    found = from_output(printed(code, program), "shop", code)
    assert found.cause.name == name
    assert words in found.why and found.next.commands


ODD = ["/etc", "..", "shop/../../x", "a" * 5000, "a\0b", "leads.out", "passwd"]


@pytest.mark.parametrize("module", ODD, ids=lambda text: repr(text[:20]))
def test_a_process_cannot_choose_where_root_looks(code: Path, tmp_path: Path, module: str) -> None:
    """A name that is none of Python's, or that a link leads out of the code for, is no module of the code; and none
    raises anything."""
    (code / "leads").symlink_to("/etc/nothing")
    (code / "src").symlink_to("/etc")
    lines = ["Traceback (most recent call last):", f"ModuleNotFoundError: No module named '{module}'"]
    wanted = causes.MISSING_MODULE if module.startswith("leads") else causes.MISSING_PACKAGE
    assert from_output(lines, "shop", code).cause is wanted


def test_a_number_that_is_none_of_an_errors_tells_nothing(code: Path) -> None:
    """However long it is."""
    lines = ["Traceback (most recent call last):", f"OSError: [Errno {'9' * 5000}] x"]
    assert from_output(lines, "shop", code).cause is causes.COMMAND_ERROR


def test_a_setting_that_only_looks_like_a_variable_is_none(code: Path) -> None:
    """A KeyError of some dictionary is the app's own."""
    assert from_output(printed(code, "dict(a=1)['SECRET_KEY']"), "shop", code).cause is causes.COMMAND_ERROR


def test_gunicorns_word_for_an_address_in_use_is_read(code: Path) -> None:
    """It logs no number."""
    lines = ["[1] [ERROR] Connection in use: ('127.0.0.1', 8000)", "[1] [INFO] Retrying in 1 second."]
    assert from_output(lines, "shop", code).cause is causes.PORT_IN_USE


@cause("app-error")
def test_what_nothing_explains_is_the_apps(code: Path) -> None:
    """The advice is to look at the log, and nothing is claimed."""
    found = from_output(["what happened?", "", "Traceback (most recent call last):"], "shop", code, causes.APP_ERROR)
    assert (found.cause, found.why) == (causes.APP_ERROR, "")
    assert found.next.commands == ("fab logs -n 200", "fab deploy")


MEMORY, KILLED = Explanation(causes.NO_MEMORY), Explanation(causes.KILLED)
KILLS = [
    pytest.param("oom-kill", "SIGKILL", MEMORY, marks=cause("no-memory")),
    pytest.param("signal", "SIGKILL", KILLED, marks=cause("killed")),
    ("signal", "SIGSEGV", None),
    ("exit-code", "", None),
]


@pytest.mark.parametrize(("result", "signal", "told"), KILLS)
def test_only_systemd_knows_that_a_kill_was_for_memory(result: str, signal: str, told: Explanation | None) -> None:
    """Anybody may send SIGKILL: without the kernel's word for it, memory is a possibility."""
    assert from_end(result, signal) == told


def test_a_shells_word_for_a_kill_is_told_as_one(code: Path) -> None:
    """137 is 128 + SIGKILL."""
    assert from_command(137, ["Killed"], "shop", code) == KILLED


@pytest.mark.parametrize(
    ("status", "name", "words"),
    [
        pytest.param(400, "health-host", "ALLOWED_HOSTS", marks=cause("health-host")),
        pytest.param(404, "health-path", "a page of the app instead of /healthz", marks=cause("health-path")),
        pytest.param(403, "health-login", "needs no login", marks=cause("health-login")),
        pytest.param(302, "health-login", "needs no login"),
        pytest.param(0, "health-slow", "now 30 s", marks=cause("health-slow")),
    ],
)
def test_an_answer_tells_what_to_set(status: int, name: str, words: str) -> None:
    """What is to be done about a status is a setting, not the code."""
    found = from_response(status, "/healthz", 30.0)
    assert found is not None and found.cause.name == name
    assert words in str(found.next) and "fix it" not in str(found.next)


@pytest.mark.parametrize("status", [500, 502, 503, 200])
def test_other_answers_are_explained_by_the_log(status: int) -> None:
    """An error of the app's has its reason there."""
    assert from_response(status, "/", 1.0) is None


MIGRATIONS = [
    pytest.param("import shop.settings", "migration-never-began", "SECRET_KEY", marks=cause("migration-never-began")),
    pytest.param("import nothing", "migration-never-began", "nothing"),
    pytest.param("print('Applying', flush=True); import nothing", "migration-broke-off", "nothing",
                 marks=cause("migration-broke-off")),
    pytest.param("import shop.migrations.m1", "migration-broke-off", "nothing_here"),
    pytest.param("raise SystemExit('CommandError: conflicting migrations')", "migration-broke-off", ""),
]  # fmt: skip


@pytest.mark.parametrize(("program", "name", "words"), MIGRATIONS)
def test_a_migration_that_never_began_did_nothing(code: Path, program: str, name: str, words: str) -> None:
    """Only a traceback that comes first and passes through no migration proves it; the cause is told all the same."""
    found = from_migration(printed(code, program), "shop", code)
    assert found.cause.name == name
    assert words in found.why
    assert ("check the database" in str(found.next)) is (name == "migration-broke-off")
    assert found.next.commands[-1] == "fab deploy"


def test_odd_output_breaks_nothing(code: Path) -> None:
    """Bytes, braces, control characters, an endless line: the default is told."""
    lines = [
        "Traceback (most recent call last):",
        "KeyError: {x}",
        "\x00\x1b[31m",
        "A: " + "x" * 100000,
        "{}",
        "Error: '",
    ]
    assert from_output(lines, "shop", code).cause is causes.COMMAND_ERROR
