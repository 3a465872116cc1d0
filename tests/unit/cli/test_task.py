"""Which hosts a command works on, and what of its events is shown where."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import fabric
import pytest
from invoke.parser import Parser

from deployer import events, tasks
from deployer.cli import reporting, task
from deployer.cli.fleettask import FleetContext
from deployer.cli.options import strategy_of
from deployer.config import Config
from deployer.config.tables.fleet import FleetSettings
from deployer.errors import ConfigError
from deployer.rollout import Strategy

pytestmark = pytest.mark.usefixtures("warm_fab")

FAB = Path(sys.executable).with_name("fab")
CONFIG = Config(app="shop")


def names(config: Config, *named: str) -> list[str]:
    return [target.name for target, _ in task._places(config, named)]


def test_hosts_of_the_command_line_come_before_those_of_the_file() -> None:
    """In the order in which they were named."""
    config = Config(app="shop", hosts_written=("web3",))
    assert names(config, "deploy@web2", "web1:22") == ["deploy@web2", "web1:22"]
    assert names(config) == ["web3"]


def test_without_any_it_says_how_to_name_one() -> None:
    """Exit 2, and both ways."""
    with pytest.raises(ConfigError) as caught:
        names(CONFIG)
    assert caught.value.message == "no host was named"
    assert "-H deploy@HOST" in str(caught.value.next) and "hosts =" in str(caught.value.next)


@pytest.mark.parametrize(
    ("one", "other"), [("web1", "web1"), ("web1", "WEB1:22"), ("deploy@web1", "root@web1"), ("[::1]:22", "::1")]
)
def test_a_host_that_is_named_twice_is_refused(one: str, other: str) -> None:
    """Two commands at once on one machine would be in each other's way; the message has both names."""
    with pytest.raises(ConfigError) as caught:
        names(CONFIG, one, "web9", other)
    assert one in caught.value.message and other in caught.value.message
    assert str(caught.value.next) == f"name it once: leave out {other}"


def test_two_sshds_of_one_name_are_two_hosts() -> None:
    """Another port is another machine, as behind a forwarding router."""
    assert names(CONFIG, "web1:2201", "web1:2202") == ["web1:2201", "web1:2202"]


@pytest.mark.parametrize(("task", "option"), [("deploy", "--canary"), ("rollback", "--canary"), ("logs", "--lines")])
def test_what_is_no_number_is_told_so(task: str, option: str, tmp_path: Path) -> None:
    """By us, before anything is connected: Invoke would show a traceback."""
    (tmp_path / "fabfile.py").write_text("from deployer.tasks import namespace\n")
    (tmp_path / "fabric.yaml").write_text("tasks: {executor_class: deployer.executor.FleetExecutor}\n")
    (tmp_path / "deploy.toml").write_text('app = "shop"\n')
    argv = [str(FAB), "-H", "web1,web2", task, option, "many"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert f"{option} many: a number of" in done.stderr


def test_a_canary_of_deploy_toml_can_be_left_out(tmp_path: Path) -> None:
    """--canary 0: a rollback in a hurry does not bake."""
    usual = SimpleNamespace(config=SimpleNamespace(fleet=FleetSettings(canary=1, bake=60)), hosts=("web1", "web2"))
    given = {"batch": "", "canary": "", "bake": "", "keep_going": False}
    assert strategy_of({**given}, usual) == Strategy(canary=1, bake=60)  # type: ignore[arg-type]
    assert strategy_of({**given, "canary": "0"}, usual) == Strategy()  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.5", "²"])
def test_no_fewer_hosts_than_one_at_a_time(value: str, tmp_path: Path) -> None:
    """--parallel is checked before anything is connected."""
    (tmp_path / "fabfile.py").write_text("from deployer.tasks import namespace\n")
    (tmp_path / "fabric.yaml").write_text("tasks: {executor_class: deployer.executor.FleetExecutor}\n")
    (tmp_path / "deploy.toml").write_text('app = "shop"\n')
    argv = [str(FAB), "-H", "web1", "status", f"--parallel={value}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert f"--parallel {value}" in done.stderr


@pytest.mark.parametrize(("dry", "asked"), [(False, True), (True, False)])
def test_nobody_is_asked_what_ctrl_c_is_to_mean_in_a_dry_run(
    dry: bool, asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the answers aborts the deploy that ``fab --dry attach`` follows."""

    @contextmanager
    def shown(*_: object, **__: object) -> Iterator[tuple[events.Reporter, object, object]]:
        yield lambda event: None, object(), nullcontext

    (tmp_path / "deploy.toml").write_text('app = "shop"\nhosts = ["deploy@127.0.0.1:1"]\n')
    monkeypatch.setattr(task, "showing", shown)
    context = FleetContext(fabric.Config(overrides={"run": {"dry": dry}}), (), ())
    common = {"env": "", "config": str(tmp_path / "deploy.toml"), "accept_new": False, "json": False, "verbose": False}
    with task._fleet(context, "attach to", answer=False, streams=False, parallel=0, **common) as fleet:  # type: ignore[arg-type]
        assert bool(fleet.decide) is asked


def test_after_the_end_nothing_more_is_heard() -> None:
    """A thread that still follows its host has nobody to tell: the terminal is given back already."""
    heard: list[events.Event] = []
    with reporting.until_over(heard.append) as hear:
        hear(events.Note(host="a", text="before"))
    hear(events.Note(host="a", text="after"))
    assert [event.text for event in heard if isinstance(event, events.Note)] == ["before"]


def test_what_a_command_prints_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output as it is, each line with its host when there are several; not so what went wrong."""
    with reporting.answering(False, ["a", "b"]) as (hear, *_):
        hear(events.Output(host="a", phase="run", line="one  two"))
        hear(events.Warn(host="b", text="careful"))
    out, err = capsys.readouterr()
    assert out == "a: one  two\n"
    assert "careful" in err
    with reporting.answering(False, ["a"]) as (hear, *_):
        hear(events.Output(host="a", phase="run", line="alone"))
    assert capsys.readouterr().out == "alone\n"


def test_machines_get_the_events_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json a line is an output event."""
    with reporting.answering(True, ["a"]) as (hear, *_):
        hear(events.Output(host="a", phase="run", line="one"))
    assert '"event": "output"' in capsys.readouterr().out


def test_hosts_that_fail_in_the_same_words_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Their names are all that differs; a host that fails otherwise has its own lines."""
    with reporting.answering(False, ["d@a", "d@b", "d@c"]) as (hear, *_):
        for host in ("a", "b"):
            message = f"d@{host} can't be reached: no answer from {host} port 22"
            hear(events.Failed(host=f"d@{host}", exit=3, message=message, state="untouched", next=f"ssh d@{host} true"))
        hear(events.Failed(host="d@c", exit=3, message="d@c hung up"))
    err = capsys.readouterr().err
    assert err.splitlines() == [
        "a, b: ✗ HOST can't be reached: no answer from HOST port 22",
        "a, b: state: untouched",
        "a, b: next: ssh HOST true",
        "c: ✗ d@c hung up",
    ]


def test_copies_of_an_option_share_no_value() -> None:
    """Invoke parses into copies: what one call of a task was given is nothing to the next call of it."""
    option = next(one for one in tasks.namespace["setup"].get_arguments() if "key" in one.names)
    first, second = copy.deepcopy(option), copy.deepcopy(option)
    first.value = "a.pub"
    first.value = "b.pub"
    assert (first.value, second.value, option.value) == (["a.pub", "b.pub"], [], [])


def test_options_of_two_calls_are_parsed_apart() -> None:
    """``fab phase.build --release v1 phase.install``: the second phase is of no release that was named."""
    parser = Parser(contexts=tasks.namespace.to_contexts())
    build, install = parser.parse_argv(["phase.build", "--release", "v1", "phase.install"])
    assert (build.args["release"].value, install.args["release"].value) == ("v1", "")
