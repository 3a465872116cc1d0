"""The executor under the real ``fab``, and the ``deployer`` command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.sshd import Sshd, make_key, public, running, write_config

pytestmark = pytest.mark.usefixtures("warm_fab")

BIN = Path(sys.executable).parent
FABRIC_YAML = "tasks:\n  executor_class: deployer.executor.FleetExecutor\n"
FABFILE = """
from fabric import task
from deployer.errors import Busy
from deployer.executor import fleet_task, hosts_of, remainder_of, ssh_options_of
from deployer.wire.advice import do

@fleet_task
def fleet(c):
    print("fleet", hosts_of(c), remainder_of(c))

@fleet_task
def options(c):
    got = ssh_options_of(c)
    print(got.config_file, got.identities, got.connect_timeout)

@fleet_task
def refuse(c):
    raise Busy(message="it failed", state="the old one serves", next=do("look"), logs=("last words",))

@fleet_task(on_error=lambda error: print("shown", error.message))
def shown(c):
    raise Busy(message="by another printer")

@fleet_task
def bug(c):
    raise ValueError("oops")

@fleet_task
def wait(c):
    print("ready", flush=True)
    import signal
    signal.pause()

@task
def each(c):
    print("each", c.original_host, c.run("echo ran", hide=True).stdout.strip())

@task
def local(c):
    print("local", type(c).__name__)

@task(pre=[fleet])
def after(c):
    print("after")

@fleet_task(hosts=["x", "y"])
def own(c):
    print("own", hosts_of(c))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project: a fabfile and the fabric.yaml beside it."""
    (tmp_path / "fabfile.py").write_text(FABFILE)
    (tmp_path / "fabric.yaml").write_text(FABRIC_YAML)
    return tmp_path


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd") / "web") as one:
        yield one


def fab(project: Path, *args: str, binary: str = "fab") -> subprocess.CompletedProcess[str]:
    argv = [str(BIN / binary), *args]
    return subprocess.run(argv, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_a_fleet_task_is_called_once_with_all_hosts(project: Path) -> None:
    """-H a,b is one call, each host once and in order."""
    done = fab(project, "-H", "a, root@b:2,a", "fleet")
    assert (done.returncode, done.stdout) == (0, "fleet ('a', 'root@b:2') ()\n")


def test_without_hosts_a_fleet_task_sees_none(project: Path) -> None:
    """When -H is not given the list is empty, and hosts of the task itself count."""
    assert fab(project, "fleet").stdout == "fleet () ()\n"
    assert fab(project, "own").stdout == "own ('x', 'y')\n"
    assert fab(project, "-H", "z", "own").stdout == "own ('z',)\n"


def test_what_follows_two_dashes_is_the_fleet_task_s(project: Path) -> None:
    """The arguments after -- reach the task as they were typed, and are run nowhere."""
    done = fab(project, "-H", "a,b", "fleet", "--", "echo", "a  b", "$HOME")
    assert (done.returncode, done.stdout) == (0, "fleet ('a', 'b') ('echo', 'a  b', '$HOME')\n")
    done = fab(project, "-H", "a,b", "fleet", "local", "--", "echo")
    assert (done.returncode, done.stdout.split("\n")[1:]) == (0, ["local StrictConnection"] * 2 + [""])


def test_ssh_options_come_from_the_command_line(project: Path) -> None:
    """-S, -i and -t reach SshOptions."""
    (project / "cfg").write_text("")
    done = fab(project, "-S", "cfg", "-i", "/one", "-i", "/two", "-t", "9", "options")
    assert done.stdout == "cfg (PosixPath('/one'), PosixPath('/two')) 9.0\n"


def test_a_deployer_error_ends_with_its_code_and_a_readable_message(project: Path) -> None:
    """Exit code 5, what failed, the logs, the state and the next step on stderr, and no traceback."""
    done = fab(project, "refuse")
    assert done.returncode == 4
    assert done.stderr == "deployer: it failed\n  last words\nstate: the old one serves\nnext: look\n"


def test_another_printer_can_show_the_error(project: Path) -> None:
    """on_error replaces the plain printer; the exit code stays."""
    done = fab(project, "shown")
    assert (done.returncode, done.stdout, done.stderr) == (4, "shown by another printer\n", "")


def test_a_bug_shows_a_traceback_and_says_whose_it_is(project: Path) -> None:
    """Any other exception is ours: traceback, that line, exit code 1."""
    done = fab(project, "bug")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "ValueError: oops" in done.stderr
    assert "this is a bug of deployer" in done.stderr


def test_ctrl_c_is_explained(project: Path) -> None:
    """SIGINT ends a fleet task with 130 and one line, no traceback."""
    argv = [str(BIN / "fab"), "wait"]
    process = subprocess.Popen(argv, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.startswith("deployer: interrupted\nstate: ") and "Traceback" not in said


def test_without_the_executor_a_fleet_task_refuses_hosts(project: Path) -> None:
    """Stock fab calls it for each host: exit code 2, the file and the line to put there."""
    (project / "fabric.yaml").unlink()
    assert fab(project, "-H", "a,b", "refuse").returncode == 2
    done = fab(project, "-H", "a,b", "fleet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "fabric.yaml" in done.stderr and "tasks: {executor_class: deployer.executor.FleetExecutor}\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_end_well_without_the_executor_too(project: Path) -> None:
    """Exit codes and messages are the task's own work, not the executor's."""
    (project / "fabric.yaml").unlink()
    assert fab(project, "refuse").returncode == 4
    assert fab(project, "fleet").stdout == "fleet () ()\n"


def test_the_lines_it_asks_for_are_the_ones_that_work(project: Path) -> None:
    """What the refusal tells people to put into fabric.yaml makes the same command work."""
    (project / "fabric.yaml").unlink()
    said = fab(project, "-H", "a,b", "fleet").stderr
    (project / "fabric.yaml").write_text(said.partition("fabric.yaml: ")[2])
    assert fab(project, "-H", "a,b", "fleet").stdout == "fleet ('a', 'b') ()\n"


def test_users_own_tasks_run_once_per_host(project: Path, sshd: Sshd) -> None:
    """As in Fabric: a call per host with a connection, a plain context without -H, pre-tasks once."""
    config = write_config(project / "ssh", {"one": sshd, "two": sshd}, sshd.known())
    done = fab(project, "-S", str(config), "-H", "one,two", "each")
    assert (done.returncode, done.stdout) == (0, "each one ran\neach two ran\n"), done.stderr
    assert fab(project, "local").stdout == "local Context\n"
    assert fab(project, "-H", "a,b", "after").stdout == "fleet ('a', 'b') ()\nafter\nafter\n"


def test_a_command_after_two_dashes_runs_on_each_host(project: Path, sshd: Sshd) -> None:
    """``fab -H a,b -- command`` stays Fabric's."""
    config = write_config(project / "ssh", {"one": sshd, "two": sshd}, sshd.known())
    done = fab(project, "-S", str(config), "-H", "one,two", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\nran\n"), done.stderr


@pytest.mark.parametrize("known", ["", "wrong"])
def test_users_own_tasks_refuse_an_unknown_or_changed_key(project: Path, sshd: Sshd, known: str) -> None:
    """A user's task gets a connection as strict as ours: exit code 3, the way out, no traceback."""
    line = f"{sshd.name} {public(make_key(project / 'old'))}\n" if known else ""
    config = write_config(project / "ssh", {"one": sshd}, line)
    done = fab(project, "-S", str(config), "-H", "one", "each")
    assert (done.returncode, done.stdout) == (3, "")
    assert ("ssh-keygen -R" if known else "not known") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fabric_gateway_is_strict_as_well(project: Path, sshd: Sshd) -> None:
    """A gateway of fabric.yaml, a plain host name there, is checked like any other host."""
    (project / "fabfile.py").write_text(
        "from fabric import task, Connection\n"
        "from deployer.ssh.connection import StrictConnection\n"
        "@task\n"
        "def each(c):\n"
        "    via = StrictConnection('two', config=c.config, gateway=Connection('gate', config=c.config))\n"
        "    print(via.run('echo ran', hide=True).stdout.strip())\n"
    )
    with running(project / "gate") as gate:
        hosts = {"one": sshd, "two": sshd, "gate": gate}
        config = write_config(project / "ssh", hosts, sshd.known() + gate.known())
        done = fab(project, "-S", str(config), "-H", "one", "each")
        assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
        write_config(project / "ssh", hosts, sshd.known())
        done = fab(project, "-S", str(config), "-H", "one", "each")
        assert (done.returncode, done.stdout) == (3, "")
        assert "gate" in done.stderr


STUB = """
import sys, types
from invoke import Collection
from deployer.executor import fleet_task, hosts_of

@fleet_task
def hello(c, name="you"):
    "Greets."
    print("hello", name, hosts_of(c))

module = types.ModuleType("deployer.tasks")
module.namespace = Collection(hello)
sys.modules["deployer.tasks"] = module
sys.argv[0] = "deployer"
from deployer.__main__ import main
main()
"""


def deployer(directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The deployer command, with a namespace of one task."""
    argv = [sys.executable, "-c", STUB, *args]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_the_deployer_command_works_in_an_empty_directory(tmp_path: Path) -> None:
    """No fabfile is needed for a task, -H, --list, --help and --version."""
    done = deployer(tmp_path, "-H", "a,b", "hello", "--name", "me")
    assert (done.returncode, done.stdout) == (0, "hello me ('a', 'b')\n"), done.stderr
    assert "Greets." in deployer(tmp_path, "--list").stdout
    assert "deployer [--core-opts]" in deployer(tmp_path, "--help").stdout
    assert "--name" in deployer(tmp_path, "hello", "--help").stdout
    assert deployer(tmp_path, "--version").stdout.split()[0] == "deployer"


def test_the_deployer_command_ignores_the_project_s_own_tasks(project: Path) -> None:
    """A fabfile and a fabric.yaml in the directory are not looked at."""
    (project / "fabfile.py").write_text("raise SystemExit('loaded')")
    (project / "fabric.yaml").write_text("tasks:\n  executor_class: no.such.Class\n")
    done = deployer(project, "hello")
    assert (done.returncode, done.stdout) == (0, "hello you ()\n"), done.stderr


@pytest.mark.parametrize(
    ("args", "next"),
    [
        (["nope"], "deployer --list"),
        (["helo", "--name", "me"], "deployer hello --name me"),
        (["hello", "--nope"], "deployer hello --help"),
        (["--help", "nope"], "deployer --list"),
        (["-t", "soon", "hello"], "deployer --help"),
    ],
)
def test_a_wrong_command_line_exits_with_2(tmp_path: Path, args: list[str], next: str) -> None:
    """Usage errors have their own exit code, and say what to type next."""
    done = deployer(tmp_path, *args)
    assert done.returncode == 2
    assert f"next: {next}" in done.stderr and "Traceback" not in done.stderr


def test_the_deployer_command_leaves_ssh_config_to_openssh(tmp_path: Path) -> None:
    """An ssh_config that Paramiko can't read does not stop a command."""
    (tmp_path / "cfg").write_text("Match final user\n")
    done = deployer(tmp_path, "-S", "cfg", "hello")
    assert (done.returncode, done.stdout) == (0, "hello you ()\n"), done.stderr


def test_the_list_of_tasks_costs_fab_little(project: Path) -> None:
    """Before a task runs, only how tasks are declared is imported beside Fabric, and nobody asks for the options of a
    task on hosts."""
    probe = """
import inspect, sys, fabric.main
before, asked, real = set(sys.modules), [], inspect.signature
inspect.signature = lambda one, *args, **kwargs: asked.append(one.__name__) or real(one, *args, **kwargs)
import deployer.tasks, deployer.executor
print(sorted({".".join(name.split(".")[:2]) for name in set(sys.modules) - before} - {"gc"}))
print(sorted(set(asked)))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env={**os.environ})
    packages = ["deployer", *(f"deployer.{name}" for name in ("cli", "errors", "executor", "tasks", "wire"))]
    assert done.stdout == f"{packages}\n['_common', '_waves', 'init']\n", done.stderr


def test_fab_looks_for_garbage_rarely_and_not_at_the_end(project: Path) -> None:
    """Python would look through all that was imported, again and again."""
    (project / "fabfile.py").write_text("from deployer.tasks import namespace\n")
    (project / "sitecustomize.py").write_text(
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_threshold()[0] >= 10_000, gc.get_freeze_count() > 1000))\n"
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("fab"), "--list"],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project)},
    )
    assert done.stdout.splitlines()[-1] == "True True", done.stderr
