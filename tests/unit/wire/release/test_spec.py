"""The strict reader at the root boundary: every key of the right type and form, or a refusal that names it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deployer.wire.environment import check_variable, parse_environment
from deployer.wire.release.processes import Process, Timer
from deployer.wire.release.spec import Spec, parse_app
from tests.unit.host.state.test_releases import SPEC


def sent() -> Any:
    """The spec as it arrives: through JSON."""
    return json.loads(json.dumps(SPEC.as_json()))


def changed(path: str, value: Any) -> Any:
    spec = sent()
    *parents, last = path.split(".")
    place = spec
    for name in parents:
        place = place[name]
    place[last] = value
    return spec


def test_a_spec_survives_the_channel() -> None:
    """What the laptop builds is what the host reads."""
    assert Spec.parse(sent()) == SPEC


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.digest", "../../etc"), ("source.commit", "x"), ("source.dirty", 1), ("python", "3.12; id"),
        ("lock.files", ["a\nb"]), ("lock.kind", "pip"), ("build", "ls"), ("build", ["a\0b"]), ("web.server", "sh"),
        ("web.workers", True), ("web.workers", 0), ("web.args", ["a\nExecStartPre=/bin/sh"]),
        ("web.unit", {"User=root\nX": ["1"]}), ("web.unit", {"Nice": ["1\nUser=root"]}), ("health.path", "no-slash"),
        ("health.path", "/a b"), ("health.path", "/\r\nX: y"), ("health.host", "a\r\nb"), ("health.host", "a b"),
        ("health.status", [[200, 99]]), ("health.status", []), ("health.timeout", "30"), ("watch", -1),
        ("keep", 1), ("overlap", "yes"), ("surprise", 1), ("build_timeout", 0), ("migrate_timeout", "1h"),
        ("build_timeout", 604801),
    ],
)  # fmt: skip
def test_what_is_not_as_it_must_be_is_refused(path: str, value: Any) -> None:
    """Wrong types, control characters, traversal, unknown keys: each is a ValueError that names the key."""
    with pytest.raises(ValueError) as caught:
        Spec.parse(changed(path, value))
    assert path.split(".")[-1] in str(caught.value) or path.split(".")[0] in str(caught.value)


WORKER = Process(
    name="worker", command=("celery", "-A", "shop"), count=2, stop=60.0, overlap=False, check="true",
    unit=(("MemoryMax", ("1G",)),),
)  # fmt: skip
TIDY = Timer(
    name="tidy", command=("python", "tidy.py"), calendar="Mon..Fri *-*-* 03:30 Europe/Berlin", persistent=True,
    timeout=0.0, unit=(),
)  # fmt: skip


def with_background(key: str, **changes: Any) -> Any:
    """The spec as it arrives, with a worker or a timer that is changed so."""
    spec = json.loads(json.dumps(replace(SPEC, processes=(WORKER,), timers=(TIDY,)).as_json()))
    spec[key][0].update(changes)
    return spec


def test_processes_and_timers_survive_the_channel() -> None:
    """And so does a host without a web process."""
    asked = replace(SPEC, web=None, processes=(WORKER,), timers=(TIDY,))
    assert Spec.parse(json.loads(json.dumps(asked.as_json()))) == asked


def test_a_record_of_before_there_were_processes_can_be_read() -> None:
    """Hosts keep the records of releases that an older version made."""
    old = sent()
    for key in ("processes", "timers", "build_timeout", "migrate_timeout"):
        del old[key]
    assert Spec.parse(old) == SPEC
    assert (SPEC.build_timeout, SPEC.migrate_timeout) == (3600, 3600)


@pytest.mark.parametrize("word", ["celery", "./bin/work", "bin/work", "bin//work", "a..b", "/usr/bin/python3", "..x/y"])
def test_a_program_may_be_named_in_these_ways(word: str) -> None:
    """By name, in the code, from the root."""
    assert Spec.parse(with_background("processes", command=[word])).processes[0].command == (word,)


@pytest.mark.parametrize("word", ["../server.py", "..", "x/../../y"])
def test_a_web_command_does_not_lead_out_of_the_code(word: str) -> None:
    """Nor does that of a process or a timer."""
    web = {**sent()["web"], "server": "command", "target": "", "args": [word]}
    with pytest.raises(ValueError, match="must begin with a name"):
        Spec.parse(changed("web", web))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("processes", {"name": "a/../b"}), ("processes", {"name": "a@b"}), ("processes", {"name": "web"}),
        ("processes", {"name": "a\nb"}), ("processes", {"name": "a-b"}), ("processes", {"name": "x" * 25}),
        ("processes", {"name": ""}), ("processes", {"name": 1}), ("processes", {"command": []}),
        ("processes", {"command": [""]}), ("processes", {"command": "celery"}),
        ("processes", {"command": ["../x"]}), ("processes", {"command": ["a/../../x"]}),
        ("processes", {"command": [".."]}), ("processes", {"command": ["/usr/../root/x"]}),
        ("timers", {"command": ["../../../../tmp/ff"]}), ("timers", {"command": ["."]}), ("timers", {"command": ["/"]}),
        ("processes", {"command": ["a\nExecStartPre=/bin/sh"]}), ("processes", {"count": -1}),
        ("processes", {"count": 65}), ("processes", {"count": True}), ("processes", {"stop": "1"}),
        ("processes", {"stop": 1e9}), ("processes", {"overlap": 1}), ("processes", {"check": ["a"]}),
        ("processes", {"unit": {"User=root\nX": ["1"]}}), ("processes", {"unit": {"Nice": ["1\nUser=root"]}}),
        ("processes", {"surprise": 1}), ("timers", {"name": "worker"}), ("timers", {"calendar": ""}),
        ("timers", {"calendar": "daily\nUnit=sshd.service"}), ("timers", {"calendar": "%n"}),
        ("timers", {"calendar": "daily; x"}), ("timers", {"persistent": "yes"}), ("timers", {"timeout": -1}),
        ("timers", {"command": []}), ("timers", {"surprise": 1}),
    ],
)  # fmt: skip
def test_a_process_or_timer_that_is_not_as_it_must_be_is_refused(key: str, changes: Any) -> None:
    """Its name becomes a unit's name, its command and its calendar lines of a unit file: root reads both."""
    with pytest.raises(ValueError) as caught:
        Spec.parse(with_background(key, **changes))
    assert next(iter(changes)) in str(caught.value) or "name" in str(caught.value)


@pytest.mark.parametrize("value", [{}, "worker", 5, [{}] * 51, ["worker"]])
def test_a_list_of_processes_is_a_short_list_of_objects(value: Any) -> None:
    """Anything else is a ValueError, not an accident."""
    with pytest.raises(ValueError):
        Spec.parse(changed("processes", value))


def test_a_release_must_run_something() -> None:
    """Without a web process, a process or a timer there would be nothing to switch to."""
    with pytest.raises(ValueError) as caught:
        Spec.parse(changed("web", None))
    assert "nothing would run" in str(caught.value)


@pytest.mark.parametrize("name", ["", "Shop", "../etc", "a b", "a$(id)", "-a", "a-", "a--b", "x" * 25, "a\n", 5, None])
def test_app_names_are_plain_words(name: Any) -> None:
    """An app's name becomes a user, a directory and a unit: nothing else can be a name."""
    with pytest.raises(ValueError):
        parse_app(name)


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "LISTEN_FDS", "NOTIFY_SOCKET", "DEPLOYER_X", "A-B", "1A", ""])
def test_variables_that_systemd_or_the_linker_obeys_are_refused(name: str) -> None:
    """They would break the socket hand-over, or run another's code."""
    with pytest.raises(ValueError):
        check_variable(name, "x")


def test_a_refused_value_is_never_shown() -> None:
    """The message names the variable; the value may be a secret."""
    with pytest.raises(ValueError) as caught:
        parse_environment({"TOKEN": "s3cret\x07"})
    assert "TOKEN" in str(caught.value) and "s3cret" not in str(caught.value)


def test_ordinary_values_pass_as_they_are() -> None:
    """Spaces, quotes, newlines, shell text: all of it is data."""
    values = {"A": "two words", "B": "'\"`$(id)%n", "C": "a\nb\tc", "D": "ünï"}
    assert parse_environment(values) == values
