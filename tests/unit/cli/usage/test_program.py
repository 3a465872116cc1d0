"""Command lines that cannot be meant: each ends with 2, says what was meant, and nothing is connected to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.cli.fleettask import Dry, FleetTask
from deployer.cli.usage.program import joined
from deployer.tasks import namespace

pytestmark = pytest.mark.usefixtures("warm_fab")

BIN = Path(sys.executable).parent
FABRIC_YAML = "tasks: {executor_class: deployer.executor.FleetExecutor}\n"
LEAST = {"-e": "--env", "-c": "--config", "-j": "--json", "-v": "--verbose", "-p": "--parallel"}
LETTERS = {**LEAST, "-r": "--ref", "-w": "--wait", "-b": "--batch", "-n": "--lines", "-f": "--follow"}
DANGEROUS = {"--yes", "--dirty", "--no-migrate", "--keep-going", "--accept-new", "--fix", "--canary", "--to", "--key"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose only host cannot be reached: a command that gets so far ends with 3."""
    (tmp_path / "fabfile.py").write_text("from deployer.tasks import namespace\n")
    (tmp_path / "fabric.yaml").write_text(FABRIC_YAML)
    (tmp_path / "deploy.toml").write_text('app = "shop"\nhosts = ["deploy@127.0.0.1:1"]\n')
    return tmp_path


def fab(project: Path, *words: str, binary: str = "fab", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / binary), *words],
        cwd=project,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )


@pytest.mark.parametrize("name", sorted(namespace.task_names))
def test_every_task_declares_how_it_answers_dry(name: str) -> None:
    """It changes nothing, or has a function that tells what it would do: none may be left undeclared, or be stock."""
    task = namespace[name]
    assert isinstance(task, FleetTask)
    assert task.dry is Dry.SAME or callable(task.dry)


def test_only_what_looks_runs_as_it_is_with_dry() -> None:
    """A new task that is put here has to be one that changes nothing."""
    same = {name for name in namespace.task_names if namespace[name].dry is Dry.SAME}
    assert same == {
        "plan", "attach", "status", "releases", "logs", "timer.list", "env.list", "env.get", "env.diff",
    }  # fmt: skip


def test_a_task_that_does_not_say_what_it_would_do_is_refused(project: Path) -> None:
    """So a fleet_task of a user's own never runs with --dry by mistake; without it, it does."""
    (project / "fabfile.py").write_text(
        "from deployer.executor import fleet_task\n@fleet_task\ndef own(c):\n    print('ran')\n"
    )
    done = fab(project, "--dry", "own")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing was touched" in done.stderr
    assert fab(project, "own").stdout == "ran\n"


def test_a_letter_means_the_same_in_every_task_and_gives_up_no_safeguard() -> None:
    """Each is one of the table; what trusts, ships or skips has no letter."""
    for context in namespace.to_contexts():
        for flag, argument in context.flags.items():
            if len(flag) == 2:
                assert f"--{argument.names[0]}" == LETTERS[flag], (context.name, flag)
            if flag in DANGEROUS:
                assert argument.names == (flag[2:],), (context.name, flag)
        if context.name != "init":
            assert set(LEAST) <= {*context.flags, *context.flags.aliases}


USAGE = [
    (["deplyo", "--dirty"], "there is no task 'deplyo'; did you mean deploy?", "fab deploy --dirty"),
    (["phase.buidl"], "did you mean phase.build?", "fab phase.build"),
    (["xyzzy"], "there is no task 'xyzzy'", "fab --list"),
    (["sandbox.up"], "'sandbox.up' is no task: it is a command of deployer", "deployer sandbox up"),
    (["demo"], "'demo' is no task: it is a command of deployer", "deployer demo"),
    (["deploy", "--canry", "1"], "fab deploy has no option --canry; did you mean --canary?", "fab deploy --help"),
    (["deploy", "--canry=1"], "fab deploy has no option --canry; did you mean --canary?", "fab deploy --help"),
    (["status", "--jsn"], "did you mean --json?", "fab status --help"),
    (["deploy", "-y"], "fab deploy has no option -y", "fab deploy --help"),
    (["rollback", "-y"], "fab rollback has no option -y; did you mean --yes?", "fab rollback --help"),
    (["deploy", "-d"], "must stand before deploy; did you mean --dirty?", "fab deploy --help"),
    (["rollback", "-t", "40"], "must stand before rollback; did you mean --to?", "fab rollback --help"),
    (["rollback", "-t", "v40"], "-t v40: a number is wanted; did you mean --to?", "fab rollback --help"),
    (["rollback", "v40"], "'v40' is neither an option of rollback nor a task", "fab rollback --to v40"),
    (["run", "python", "manage.py", "check"], "'python' is neither", "fab run -- python manage.py check"),
    (["run", "python", "-V", "-H", "web1"], "'python' is neither", "fab run -H web1 -- python -V"),
    (["logs", "worker"], "'worker' is neither", "fab logs --process worker"),
    (["deploy", "stauts"], "did you mean status?", "fab deploy --help"),
    (["deploy", "--ref"], "--ref needs a value", "fab deploy --help"),
    (["--dry", "deploy", "--canary", "-H", "web1"], "--canary needs a value", "fab deploy --help"),
    (["rollback", "--to", "-H", "web1"], "--to needs a value", "fab rollback --help"),
    (["deploy", "--env", ""], "--env was given an empty value", "give it one"),
    (["rollback", "--to="], "--to was given an empty value", "give it one"),
    (["--help", "deplyo"], "did you mean deploy?", "fab"),
    (["-H", "web1,", "web2", "status"], "'web2' is no task; when it is a host", "fab -H web1,web2"),
    (["-H", "status"], "no task was named; -H took 'status' as its hosts", "fab --list"),
    (["status", "-H"], "-H needs a value", "fab status --help"),
    (["-H", "", "deploy"], "-H was given, and names no host", "name each host"),
    (["-H", "web1,,web2", "deploy"], "names a host that is empty", "name each host"),
    (["deploy", "-H", "web1,"], "names a host that is empty", "name each host"),
    (["-H", "deploy@", "deploy"], "'deploy@' is not a host to connect to", "[user@]host[:port]"),
    (["-H", "web1:99999", "deploy"], "is not a host to connect to", "[user@]host[:port]"),
    (["deploy", "--batch", "0"], "--batch 0: a number of hosts, or a share", "--batch 2"),
    (["deploy", "--batch", "200%"], "--batch 200%: a number of hosts, or a share", "--batch 2"),
    (["--dry", "deploy", "--batch", "200%"], "--batch 200%: a number of hosts, or a share", "--batch 2"),
    (["reload", "--bake", "1m"], "--bake is how long a canary serves", "--canary 1"),
    (["reload", "--canary", "1", "--bake", "xyz"], "--bake xyz: a time is wanted", "--bake 90s"),
    (["rollback", "--to", "nonsense"], "not a release: 'nonsense'", "fab releases"),
    (["rollback", "--to", "v²"], "not a release", "fab releases"),
    (["logs", "--lines", "-5"], "--lines -5: a number of lines is wanted", "-n 200"),
    (["logs", "-n", "9999999999"], "a number of lines is wanted", "-n 200"),
    (["setup", "--key", "nope.pub"], "nope.pub cannot be read: No such file", ""),
    (["-H", "web1", "-H", "web2", "status"], "-H was given twice: web1 and web2", "say it once: -H web1,web2"),
    (["rollback", "--to", "v1", "--to", "v2"], "--to was given twice: v1 and v2", "say it once"),
    (["-f", "nope.yaml", "deploy"], "-f nope.yaml: there is no such file", ""),
    (["-S", "nope", "deploy"], "-S nope: there is no such file", ""),
    (["--list", "--list-format=x"], "--list-format x: one of flat, nested, json is wanted", ""),
    (["run", "python", "-V", "-H", "web1"], "'python' is neither an option", "fab run -H web1 -- python -V"),
    (["rollback", "v1", "-H", "web1"], "'v1' is neither an option", "fab rollback --to v1 -H web1"),
    (["status", "-H", "web1", "-H", "web1"], "-H was given twice", "say it once: -H web1"),
    (["status", "-H", "web1,", "web2"], "'web2' is no task; when it is a host", "fab -H web1,web2"),
    (["run"], "no command was given", "fab run -- python manage.py check"),
]


@pytest.mark.parametrize(("words", "told", "next"), USAGE, ids=[" ".join(words) for words, _, _ in USAGE])
def test_a_wrong_command_line_is_explained(project: Path, words: list[str], told: str, next: str) -> None:
    """Under fab itself: exit 2, what is wrong, what was meant, what to type; no traceback, and no host was tried."""
    done = fab(project, *words)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert next in done.stderr.partition("next: ")[2]
    assert "nothing was touched" in done.stderr
    assert "Traceback" not in done.stderr and "127.0.0.1" not in done.stderr


def test_an_ssh_config_that_paramiko_cannot_read_is_told(project: Path) -> None:
    """Fabric reads it before any task; the deployer command leaves it to OpenSSH, and is what is advised."""
    (project / "cfg").write_text("Match final user\n")
    done = fab(project, "-S", "cfg", "status")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "next: deployer -S cfg status " in done.stderr
    assert "Paramiko" not in fab(project, "-S", "cfg", "status", binary="deployer").stderr


BROKEN = [
    ("tasks: {executor_class: deployer.executor.FleetExecutor}\n bad: [\n", "fabric.yaml:2: "),
    ("[1, 2]\n", "fabric.yaml: "),
    ("tasks: {executor_class: deployer.executor.Fleet}\n", "names deployer.executor.Fleet, which is not there"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN)
def test_a_broken_fabric_yaml_is_told_by_its_name(project: Path, text: str, told: str) -> None:
    """Fabric would end with a traceback, in the midst of loading the fabfile."""
    (project / "fabric.yaml").write_text(text)
    done = fab(project, "deploy")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert str(project / "fabric.yaml") in done.stderr and told in done.stderr
    assert FABRIC_YAML.strip() in done.stderr.partition("next: ")[2]


def test_a_broken_runtime_file_is_told_and_one_that_is_not_there_refused(project: Path) -> None:
    """Whether -f or the environment names it: it might say that nothing may be touched."""
    (project / "more.yaml").write_text("run: {dry: true\n")
    for words, env in ((["-f", "more.yaml"], {}), ([], {"INVOKE_RUNTIME_CONFIG": "more.yaml"})):
        done = fab(project, *words, "deploy", **env)
        assert done.returncode == 2 and "more.yaml:2: " in done.stderr, done.stderr
    done = fab(project, "deploy", INVOKE_RUNTIME_CONFIG="nope.yaml")
    assert done.returncode == 2 and "nope.yaml: there is no such file" in done.stderr


def test_a_device_may_stand_for_an_empty_ssh_config(project: Path) -> None:
    """As OpenSSH has it: ``-F /dev/null``."""
    assert fab(project, "-S", "/dev/null", "status").returncode == 3


def test_options_of_fabric_may_stand_behind_a_task_where_they_are_clear(project: Path) -> None:
    """-H, -S, -i, -t and --dry do, as they always did; a rollback has --to, so its -t is refused."""
    (project / "cfg").write_text("")
    done = fab(project, "status", "-H", "deploy@127.0.0.1:1", "-S", "cfg", "-t", "5")
    assert done.returncode == 3, done.stderr


@pytest.mark.parametrize(("words", "exit"), [(["status", "-jv"], 3), (["deploy", "--batch", "0", "--json"], 2)])
def test_json_counts_wherever_it_is_an_option(project: Path, words: list[str], exit: int) -> None:
    """An error is an object on standard output, also when the letters stand together."""
    done = fab(project, *words)
    assert done.returncode == exit
    assert json.loads(done.stdout)["exit"] == exit and done.stderr == ""


def test_json_of_a_command_that_is_run_is_no_option(project: Path) -> None:
    """``fab run -- make -j --json`` is for make: people read what fab has to say."""
    done = fab(project, "run", "--", "make", "-j", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "can't be reached" in done.stderr


def test_a_single_host_needs_no_fabric_yaml(project: Path) -> None:
    """Where Fabric's own executor hands over one host, that is all of them; other words behind -- would run twice."""
    (project / "fabric.yaml").unlink()
    for words in (["status", "-H", "deploy@127.0.0.1:1"], ["-H", "deploy@127.0.0.1:1", "status"], ["status"]):
        done = fab(project, *words)
        assert done.returncode == 3, done.stderr
        assert "deploy@127.0.0.1:1 can't be reached" in done.stderr
    done = fab(project, "-H", "127.0.0.1:1", "run", "--", "touch", "here")
    assert done.returncode == 2 and FABRIC_YAML in done.stderr


@pytest.mark.parametrize("there", ["fabric.yaml", "fabric.yml"])
def test_several_hosts_without_the_executor_are_told_which_line_belongs_where(project: Path, there: str) -> None:
    """The file that is there, or the one to make; with that line in it the same command works."""
    (project / "fabric.yaml").unlink()
    if there == "fabric.yml":
        (project / there).write_text("run: {echo: false}\n")
    done = fab(project, "-H", "deploy@127.0.0.1:1,deploy@127.0.0.2:1", "status")
    assert done.returncode == 2
    assert f"{project / there}: {FABRIC_YAML}" in done.stderr
    with (project / there).open("a") as file:
        file.write(FABRIC_YAML)
    assert fab(project, "-H", "deploy@127.0.0.1:1,deploy@127.0.0.2:1", "status").returncode == 3


def test_a_closed_standard_input_is_no_bug(project: Path) -> None:
    """As some cron jobs and supervisors have it."""
    done = subprocess.run(
        f"exec {BIN / 'fab'} status <&-", shell=True, cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["--list", "init --dry"])
def test_an_output_that_nobody_reads_is_no_bug(project: Path, words: str) -> None:
    """``fab … | head -1`` ends as other programs do, without a traceback."""
    script = f"exec {BIN / 'fab'} {words}"
    with subprocess.Popen(
        script,
        shell=True,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 141 and "Traceback" not in said, said


def test_two_words_that_name_a_task_are_that_task() -> None:
    """Only where there is one of that name, and words that are none stay as they are."""
    tasks = {"deploy", "maintenance.on", "maintenance.off", "phase.upload"}
    line = ["-j", "maintenance", "on", "--allow", "10.0.0.1", "phase", "nope", "deploy", "on", "maintenance.off"]
    assert joined(line, tasks) == ["-j", "maintenance.on", *line[3:]]
    assert joined(["maintenance"], tasks) == ["maintenance"] and joined([], tasks) == []


def test_help_says_what_each_option_means(project: Path) -> None:
    """Of a task whose words are put into options, too."""
    for task, text in (("env.set", "only store it"), ("reload", "queue behind it"), ("env.push", "do not ask")):
        told = fab(project, task, "--help")
        assert (told.returncode, text in told.stdout) == (0, True), told.stdout
