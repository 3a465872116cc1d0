"""The sample apps must serve, and fail in the way they were told to."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.project import Project, make_project

WAIT = 30  # seconds


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> dict[str, object]:
        value: dict[str, object] = json.loads(self.body)
        return value


@dataclass(frozen=True)
class Server:
    """A server process on a Unix socket that listens before the process starts, as under systemd."""

    process: subprocess.Popen[str]
    path: Path

    def ask(self, target: str, method: str = "GET", body: bytes | None = None, host: str = "shop") -> Answer:
        connection = http.client.HTTPConnection(host, timeout=WAIT)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT)
            sock.connect(str(self.path))
            connection.sock = sock
            connection.request(method, target, body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def end(self) -> tuple[int, str]:
        """Exit status and stderr of a process that ends by itself."""
        _, err = self.process.communicate(timeout=WAIT)
        return self.process.returncode, err


@contextlib.contextmanager
def serving(project: Project, path: Path, *command: str, **env: str) -> Iterator[Server]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        fd = str(listener.fileno())
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.replace("{fd}", fd) for part in command)],
            cwd=project.path,
            env=os.environ | {"STATE_DIRECTORY": str(path.parent), "PYTHONDONTWRITEBYTECODE": "1"} | env,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        yield Server(process, path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


GUNICORN = ("gunicorn", "--no-control-socket", "--bind", "fd://{fd}", "--workers", "1", "shop.wsgi")
UVICORN = ("uvicorn", "--fd", "{fd}", "--lifespan", "auto", "shop.asgi:application")
SERVERS = pytest.mark.parametrize("command", [GUNICORN, UVICORN], ids=["gunicorn", "uvicorn"])


@SERVERS
def test_the_shop_serves_its_views(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Every view answers what it says, with the version on every response, errors included."""
    project = make_project(tmp_path / "shop", version="7")
    env = {"DEPLOYER_RELEASE": "v42", "TEST_A": "a b\n$(c)", "SECRET_KEY": "hidden", "ALLOWED_HOSTS": "shop"}
    state = {"STATE_DIRECTORY": str(tmp_path)}
    migrate = [sys.executable, "manage.py", "migrate", "--noinput"]
    subprocess.run(migrate, cwd=project.path, env=os.environ | state, check=True, stdout=subprocess.DEVNULL)
    with serving(project, tmp_path / "web.sock", *command, **env) as server:
        home = server.ask("/")
        assert (home.json()["version"], home.json()["release"]) == ("7", "v42")
        assert server.ask("/healthz").body == b"ok"
        assert server.ask("/work?ms=1").json()["version"] == "7"
        assert server.ask("/slow?s=0.01").status == 200
        assert server.ask("/echo", "POST", b"abc").json() == {
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "length": 3,
        }
        assert server.ask("/env?key=TEST_A").json()["value"] == "a b\n$(c)"
        assert server.ask("/env?key=SECRET_KEY").status == 403
        assert [server.ask("/count").json()["count"] for _ in range(2)] == [1, 2]
        whoami = server.ask("/whoami").json()
        assert (whoami["uid"], whoami["cwd"]) == (os.getuid(), str(project.path))
        refused = server.ask("/", host="elsewhere")
        missing = server.ask("/nothing")
        assert (refused.status, missing.status) == (400, 404)
        assert [a.headers["X-Version"] for a in (home, refused, missing)] == ["7", "7", "7"]
    assert (tmp_path / "db.sqlite3").exists()


def test_the_version_is_that_of_the_code_in_memory(tmp_path: Path) -> None:
    """A process goes on saying the version it imported, whatever the file says by now."""
    project = make_project(tmp_path / "shop", version="1")
    with serving(project, tmp_path / "web.sock", *GUNICORN) as server:
        assert server.ask("/").json()["version"] == "1"
        project.change(version="2")
        assert server.ask("/").json()["version"] == "1"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("import-error", "ModuleNotFoundError"),
        ("syntax-error", "SyntaxError"),
        ("settings-import-error", "ModuleNotFoundError"),
        ("settings-syntax-error", "SyntaxError"),
    ],
)
def test_a_release_that_does_not_start(tmp_path: Path, fault: str, words: str) -> None:
    """gunicorn gives up, and stderr says why; management commands fail only for the settings' faults."""
    project = make_project(tmp_path / "shop", fault=fault)
    check = [sys.executable, "manage.py", "check"]
    code = subprocess.run(check, cwd=project.path, stderr=subprocess.DEVNULL).returncode
    assert (code != 0) == fault.startswith("settings-")
    with serving(project, tmp_path / "web.sock", *GUNICORN) as server:
        status, err = server.end()
    assert (status, words in err) == (3, True), err


def test_crash_loop(tmp_path: Path) -> None:
    """One worker after the other dies, and gunicorn's master does not: only a request could tell."""
    project = make_project(tmp_path / "shop", fault="crash-loop")
    with serving(project, tmp_path / "web.sock", *GUNICORN) as server:
        assert server.process.stderr is not None
        deaths = (line for line in server.process.stderr if "exited with code 1" in line)
        assert [next(deaths) != "" for _ in range(3)] == [True] * 3
        assert server.process.poll() is None


@SERVERS
def test_health_500(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The health check alone says no; the rest of the app is well."""
    project = make_project(tmp_path / "shop", fault="health-500")
    with serving(project, tmp_path / "web.sock", *command) as server:
        assert (server.ask("/healthz").status, server.ask("/").status) == (500, 200)


@SERVERS
def test_health_close(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The health check closes the connection without a byte, and the worker lives on."""
    project = make_project(tmp_path / "shop", fault="health-close")
    with serving(project, tmp_path / "web.sock", *command) as server:
        before = server.ask("/").json()["pid"]
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            server.ask("/healthz")
        assert server.ask("/").json()["pid"] == before


def test_health_hang(tmp_path: Path) -> None:
    """The health check takes the request and never answers."""
    project = make_project(tmp_path / "shop", fault="health-hang")
    with serving(project, tmp_path / "web.sock", *GUNICORN) as server:
        assert server.ask("/").status == 200
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.path))
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
            sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                sock.recv(1)


@SERVERS
def test_crash_when(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The whole service, master and workers, dies hard once the file exists, and not before."""
    trigger = tmp_path / "now"
    project = make_project(tmp_path / "shop", fault=f"crash-when:{trigger}")
    with serving(project, tmp_path / "web.sock", *command) as server:
        assert server.ask("/").status == 200
        trigger.touch()
        status, _ = server.end()
    assert status == (-signal.SIGKILL if command is GUNICORN else 1)


def test_crash_after(tmp_path: Path) -> None:
    """The whole service dies hard by itself after the time that was given."""
    project = make_project(tmp_path / "shop", fault="crash-after:0.2")
    with serving(project, tmp_path / "web.sock", *GUNICORN) as server:
        assert server.end()[0] == -signal.SIGKILL


def test_worker_crash_after(tmp_path: Path) -> None:
    """Only the worker dies: the master lives and starts another."""
    project = make_project(tmp_path / "shop", fault="worker-crash-after:1")
    with serving(project, tmp_path / "web.sock", *GUNICORN) as server:
        pids: set[object] = set()
        deadline = time.monotonic() + WAIT
        while len(pids) < 2 and time.monotonic() < deadline:
            with contextlib.suppress(http.client.HTTPException, OSError):
                pids.add(server.ask("/").json()["pid"])
        assert len(pids) == 2
        assert server.process.poll() is None


def test_slow_import_and_memory(tmp_path: Path) -> None:
    """An app that takes its time answers no sooner, and one that takes memory really holds it."""
    slow = make_project(tmp_path / "slow", fault="slow-import:0.5")
    started = time.monotonic()
    with serving(slow, tmp_path / "slow.sock", *GUNICORN) as server:
        assert server.ask("/").status == 200
        assert time.monotonic() - started >= 0.5
    big = make_project(tmp_path / "big", fault="memory:200")
    with serving(big, tmp_path / "big.sock", *GUNICORN) as server:
        pid = server.ask("/").json()["pid"]
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident >= 200 << 20


def test_static_files_are_collected(tmp_path: Path) -> None:
    """The build's collectstatic needs no secret and no state, and fills STATIC_ROOT."""
    project = make_project(tmp_path / "shop", fault="crash-loop")
    command = [sys.executable, "manage.py", "collectstatic", "--noinput"]
    subprocess.run(command, cwd=project.path, env={"PATH": os.environ["PATH"]}, check=True, stdout=subprocess.DEVNULL)
    assert (project.path / "staticfiles/catalog/site.css").is_file()


def test_migrations_match_the_models(tmp_path: Path) -> None:
    """No migration is missing from the sample app."""
    project = make_project(tmp_path / "shop")
    subprocess.run([sys.executable, "manage.py", "makemigrations", "--check"], cwd=project.path, check=True)


def test_the_plain_asgi_app_serves(tmp_path: Path) -> None:
    """The app without a framework gives the same answers and header."""
    project = make_project(tmp_path / "plain", app="plain_asgi", version="3")
    command = ("uvicorn", "--fd", "{fd}", "plain:app")
    with serving(project, tmp_path / "web.sock", *command) as server:
        assert server.ask("/").json()["version"] == "3"
        assert server.ask("/healthz").body == b"ok"
        assert server.ask("/work?ms=1").headers["X-Version"] == "3"
        assert server.ask("/echo", "POST", b"abc").json()["length"] == 3
        assert server.ask("/nothing").status == 404


def test_a_project_is_a_repository_of_its_own(tmp_path: Path) -> None:
    """Each change is a commit, a written file is none, and a fault can be taken away again."""
    project = make_project(tmp_path / "shop", config='app = "shop"\n', extra_files={"a/b.txt": "x"})
    first = project.sha
    second = project.change(version="2", fault="syntax-error", files={"a/c.txt": "y"})
    assert first != second == project.sha
    assert set(project.git("ls-tree", "-r", "--name-only", "HEAD").split()) >= {
        *("deploy.toml", "a/b.txt", "a/c.txt", "FAULT.txt", "shop/broken.py", "manage.py"),
    }
    assert project.git("log", "-1", "--format=%an <%ae>") == "Ada Lovelace <ada@example.com>"
    project.write("a/d.txt", "z")
    assert (project.sha, project.git("status", "--porcelain")) == (second, "?? a/d.txt")
    project.change(fault="")
    assert "FAULT.txt" not in project.git("ls-tree", "-r", "--name-only", "HEAD").split()
    with pytest.raises(ValueError, match="no such fault"):
        project.change(fault="helth-500")
