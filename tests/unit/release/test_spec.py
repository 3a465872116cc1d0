"""What a deploy.toml asks of a host, and what the laptop and the host say to each other."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
import zlib
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import deployer
from deployer import events
from deployer.config import Config, LocalEnvironment, ProcessConfig, check, load
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.host.deployment.request import Request
from deployer.host.setup.program import install
from deployer.project.locks.lockfile import Lock
from deployer.release.setup import setup_request
from deployer.release.spec import environment_of, release_request, respec, spec_of
from deployer.remote import program as program_module
from deployer.remote.program import host_program
from deployer.wire.message import read_message
from deployer.wire.protocol import PHASES, PROCESS_LENGTH, dumps
from deployer.wire.release.processes import CALENDAR, Process, Timer
from deployer.wire.release.spec import Spec
from deployer.wire.setup.request import Setup
from tests.unit.host.state.test_releases import SPEC

TOML = """\
app = "shop"
[web]
wsgi = "shop.wsgi:application"
workers = 3
memory = "300M"
health = { path = "/healthz", host = "shop.example.com", status = ["200", "300-399"] }
unit = { MemoryMax = "1G", ProtectHome = false, SystemCallFilter = ["@system-service", "@resources"] }
[release]
migrate = "python manage.py migrate"
keep = 7
[env]
A = "plain"
B = "plain"
"""


def config(tmp_path: Path, text: str = TOML) -> Config:
    path = tmp_path / "deploy.toml"
    path.write_text(text)
    return load(path)


def test_settings_reach_the_host_as_it_reads_them(tmp_path: Path) -> None:
    """Units of measure, booleans and ranges are translated; the host's strict reader takes all of it."""
    spec = respec(config(tmp_path), SPEC)
    assert spec.web.memory == 300 * 1024 * 1024
    assert spec.health.status == ((200, 200), (300, 399))
    assert dict(spec.web.unit) == {
        "MemoryMax": ("1G",),
        "ProtectHome": ("no",),
        "SystemCallFilter": ("@system-service", "@resources"),
    }
    assert type(spec).parse(json.loads(json.dumps(spec.as_json()))) == spec


def test_a_reload_keeps_what_is_found_in_the_code(tmp_path: Path) -> None:
    """A deploy.toml that leaves the callable to be found says nothing about it: the current one stays."""
    silent = config(tmp_path, 'app = "shop"\n[web]\nworkers = 9\n')
    spec = respec(silent, SPEC)
    assert (spec.web.server, spec.web.args, spec.web.workers) == (SPEC.web.server, SPEC.web.args, 9)
    assert spec.source == SPEC.source


EVERYTHING = """\
app = "shop"
directory = "backend"
python = "3.12"
[web]
asgi = "other.asgi:application"
workers = 5
args = ["--log-level", "debug"]
memory = "77M"
overlap = false
health = { path = "/other", host = "other.example.com", status = ["204"], timeout = 17, settle = 3 }
unit = { MemoryMax = "2G" }
[release]
shared = { "media/" = "media" }
build = ["make other"]
migrate = "python manage.py migrate other"
build_timeout = 501
migrate_timeout = 502
keep = 11
watch = 61
drain = 62
[processes.other]
command = "other"
[timers.another]
command = "other"
calendar = "daily"
"""
IN_THE_CODE = {"source", "lock", "python", "build", "directory", "shared"}


def test_a_reload_takes_over_every_setting_that_is_not_in_the_code(tmp_path: Path) -> None:
    """What a deploy of today's deploy.toml would make of the host, but for the code and its dependencies."""
    before, after = config(tmp_path), config(tmp_path, EVERYTHING)
    source = SimpleNamespace(digest="d" * 64, commit="c" * 40, ref="main", dirty=False)
    old, new = (spec_of(one, source, Lock(kind="none")) for one in (before, after))  # type: ignore[arg-type]
    reloaded = respec(after, old)
    names = [field.name for field in fields(Spec)]
    same = {name for name in names if getattr(old, name) == getattr(new, name)}
    assert same <= {"source", "lock", "scale"}, "these are not tested"
    for name in names:
        assert getattr(reloaded, name) == getattr(old if name in IN_THE_CODE else new, name), name


ROLES = """\
app = "shop"
[web]
wsgi = "shop.wsgi:application"
[processes.worker]
command = "celery -A shop worker -n 'a b'"
count = 2
stop = 90
unit = { MemoryMax = "1G", PrivateTmp = true }
[processes.beat]
command = "celery -A shop beat"
overlap = false
once = true
check = "python manage.py check"
[timers.sweep]
command = "python manage.py clearsessions"
calendar = "*-*-* 03:00"
persistent = false
timeout = 600
[timers.news]
command = "/usr/bin/true"
calendar = "daily"
unit = { Nice = 5 }
[proxy]
kind = "nginx"
[hosts.web1]
[hosts.web2]
processes = ["web"]
[hosts.batch]
processes = ["worker"]
"""
WORKER = Process(
    name="worker",
    command=("celery", "-A", "shop", "worker", "-n", "a b"),
    count=2,
    stop=90.0,
    overlap=True,
    check="",
    unit=(("MemoryMax", ("1G",)), ("PrivateTmp", ("yes",))),
)
BEAT = Process(
    name="beat",
    command=("celery", "-A", "shop", "beat"),
    count=1,
    stop=30.0,
    overlap=False,
    check="python manage.py check",
    unit=(),
)
NEWS = Timer(
    name="news", command=("/usr/bin/true",), calendar="daily", persistent=True, timeout=0.0, unit=(("Nice", ("5",)),)
)
SWEEP = Timer(
    name="sweep",
    command=("python", "manage.py", "clearsessions"),
    calendar="*-*-* 03:00",
    persistent=False,
    timeout=600.0,
    unit=(),
)


def deployed(config: Config) -> Spec:
    """The spec of a deploy to a host, as the host reads it."""
    spec = spec_of(config, SPEC.source, Lock(kind="none"))
    assert Spec.parse(json.loads(json.dumps(spec.as_json()))) == spec
    return spec


@pytest.mark.parametrize(
    ("host", "web", "processes", "timers"),
    [
        ("web1", True, (BEAT, WORKER), (NEWS, SWEEP)),
        ("web2", True, (), ()),
        ("root@batch", False, (WORKER,), ()),
        ("stranger", True, (WORKER,), ()),
    ],
)
def test_a_host_is_asked_for_what_runs_there(
    tmp_path: Path, host: str, web: bool, processes: tuple[Process, ...], timers: tuple[Timer, ...]
) -> None:
    """By a deploy and by a reload: in the words of the wire, by name, and no web process where there is to be none."""
    own = config(tmp_path, ROLES).of_host(host)
    for spec in (deployed(own), respec(own, SPEC), respec(own, replace(SPEC, web=None, processes=(BEAT,)))):
        assert (spec.web is not None, spec.processes, spec.timers) == (web, processes, timers)


def test_a_reload_takes_away_what_the_file_no_longer_has(tmp_path: Path) -> None:
    """Processes and timers are settings, not code; the code stays what it was."""
    current = replace(SPEC, processes=(BEAT, WORKER), timers=(NEWS,))
    spec = respec(config(tmp_path), current)
    assert (spec.processes, spec.timers, spec.source) == ((), (), SPEC.source)


def test_a_reload_does_not_find_a_web_process_in_the_code(tmp_path: Path) -> None:
    """Where none has run so far, and the file leaves it to be found, it says what does find it."""
    silent = '[processes.w]\ncommand = "x"\n[hosts.batch]\n'
    own = config(tmp_path, f'app = "shop"\n{silent}').of_host("batch")
    with pytest.raises(ConfigError) as caught:
        respec(own, replace(SPEC, web=None, processes=(WORKER,)))
    assert caught.value.message == (
        "batch has run no web process so far, and a reload does not look for one in the code"
    )
    assert str(caught.value.next) == (
        "fab deploy   (finds it)\nor name it in deploy.toml: [web] wsgi = … (or asgi, or command)"
    )
    named = config(tmp_path, f'app = "shop"\n{silent}[web]\nasgi = "a:b"\n').of_host("batch")
    spec = respec(named, replace(SPEC, web=None, processes=(WORKER,)))
    assert spec.web is not None and (spec.web.server, spec.web.target) == ("uvicorn", "a:b")


def test_a_site_is_set_up_only_where_web_runs(tmp_path: Path) -> None:
    """On the other hosts of a fleet no proxy is asked for; all else is the same."""
    fleet = config(tmp_path, ROLES)
    requests = {host: setup_request(fleet.of_host(host), (), ()) for host in fleet.hosts}
    assert {host: request["proxy"] for host, request in requests.items()} == {
        "web1": "nginx", "web2": "nginx", "batch": "",
    }  # fmt: skip
    assert requests["batch"]["site"] is None
    assert {**requests["web1"], "proxy": "", "site": None} == requests["batch"]
    Setup.parse(requests["batch"])


def test_what_a_person_writes_is_what_the_host_accepts() -> None:
    """The two halves have one pattern for calendars, and one length for names."""
    assert check.CALENDAR is CALENDAR
    assert f"at most {PROCESS_LENGTH} of them" in (ProcessConfig.__doc__ or "")


def test_the_env_file_wins_over_env(tmp_path: Path) -> None:
    """Secrets override what deploy.toml says, and are revealed only here."""
    values = environment_of(config(tmp_path), LocalEnvironment(file={"B": Secret("secret")}))
    assert values == {"A": "plain", "B": "secret"}


def test_a_free_command_is_split_as_a_shell_would(tmp_path: Path) -> None:
    """Quotes group; nothing else of a shell happens."""
    text = 'app = "shop"\n[web]\ncommand = "serve --name \'a b\' $(id)"\n'
    assert respec(config(tmp_path, text), SPEC).web.args == ("serve", "--name", "a b", "$(id)")


def test_a_request_is_what_the_host_accepts() -> None:
    """The one message that starts a release passes the host's own reader."""
    message = release_request(kind="reload", by="ada@x", spec=SPEC, environment={"A": "1"})
    assert message.pop("op") == "release"
    request = Request.parse(json.loads(dumps(message)))
    assert (request.kind, request.phases, request.environment) == ("reload", PHASES, {"A": "1"})


def test_the_host_program_is_the_same_every_time_and_holds_only_itself() -> None:
    """Its digest names its directory on the host; nothing of the laptop's half is in it."""
    program = host_program()
    program_module._made.cache_clear()
    assert host_program() == program
    assert zlib.decompress(program.packed()) == program.content
    names = zipfile.ZipFile(io.BytesIO(program.content)).namelist()
    root = Path(deployer.__file__).parents[1]
    sources = [path for package in ("host", "wire") for path in (root / "deployer" / package).rglob("*.py")]
    assert sorted(names) == sorted(["deployer/__init__.py", *(path.relative_to(root).as_posix() for path in sources)])


def test_a_package_inside_the_host_program_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is packed, installed and imported from there, as its own digest says."""
    for path, text in {
        "__init__.py": "",
        "inner/__init__.py": "",
        "inner/deep/__init__.py": "WORD = 'it ships'",
    }.items():
        (tmp_path / "made_up" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made_up" / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("deployer.remote.program.SHIPPED", ("made_up",))
    content = program_module._made.__wrapped__().content
    install(content, base := tmp_path / "base")
    (directory,) = (path for path in base.iterdir() if path.is_dir())
    assert directory.name == hashlib.sha256(content).hexdigest()
    program = f"import sys; sys.path.insert(0, {str(directory)!r}); from made_up.inner.deep import WORD; print(WORD)"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "it ships\n"


def test_messages_survive_the_channel() -> None:
    """One line each, whatever is in them."""
    message = {"event": "note", "text": "a\nb\u2028 ünï"}
    assert read_message(io.BytesIO(dumps(message))) == message


@pytest.mark.parametrize("line", [b"{", b"[]\n", b'"x"\n', b"nonsense\n"])
def test_what_is_not_a_message_is_refused(line: bytes) -> None:
    """A cut line, or something other than an object."""
    with pytest.raises(ValueError):
        read_message(io.BytesIO(line))


def test_a_host_event_becomes_its_value() -> None:
    """Known fields only: a newer host may say more."""
    event = events.parse({"event": "phase.done", "phase": "build", "seconds": 1.5, "new": 1}, "web1")
    assert event == events.PhaseDone(host="web1", phase="build", seconds=1.5)
    assert events.parse({"event": "from the future"}, "web1") is None
