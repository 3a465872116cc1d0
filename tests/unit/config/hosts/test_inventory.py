"""Hosts from an Ansible inventory. A stand-in for ansible-inventory prints what the real one (core 2.19) printed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.config import Config, HostSettings, load
from deployer.config.hosts.inventory import resolve
from deployer.errors import ConfigError
from deployer.wire.protocol import Exit

INI = {
    "_meta": {
        "hostvars": {
            "batch1": {
                "ansible_host": "fd00::1",
                "ansible_ssh_port": 2200,
                "ansible_user": "root",
                "domain": "x.example",
            },
            "localhost": {"ansible_connection": "local"},
            "tmpl": {"ansible_host": "{{ inventory_hostname }}.x.example"},
            "web1": {"ansible_host": "10.0.0.1", "ansible_port": 2222},
            "web2": {"ansible_host": "10.0.0.2", "ansible_user": "ubuntu"},
        },
        "profile": "inventory_legacy",
    },
    "all": {"children": ["ungrouped", "eu", "nobody", "local", "templates"]},
    "batch": {"hosts": ["batch1"]},
    "eu": {"children": ["web", "batch"]},
    "local": {"hosts": ["localhost"]},
    "templates": {"hosts": ["tmpl"]},
    "web": {"hosts": ["web2", "web1", "web10.example.com"]},
}
"""An INI file with a group of groups, an empty group, host and group variables."""
YAML = {
    "_meta": {
        "hostvars": {
            "web1": {"ansible_host": "10.0.0.1", "ansible_port": 2222, "ansible_user": "admin"},
            "web2": {"ansible_host": "10.0.0.2", "ansible_port": 2222, "ansible_user": "admin"},
        },
        "profile": "inventory_legacy",
    },
    "all": {"children": ["ungrouped", "web", "db", "site"]},
    "db": {"hosts": ["db1"]},
    "site": {"children": ["web", "db"]},
    "web": {"hosts": ["web2", "web1"]},
}
"""A YAML file whose groups hang both below all and below another group."""
SCRIPT = {
    "_meta": {
        "hostvars": {
            "a": {"ansible_host": "10.1.0.1", "ansible_user": "ec2-user"},
            "b": {"ansible_host": "10.1.0.2", "ansible_port": 22, "ansible_user": "ec2-user"},
        },
        "profile": "inventory_legacy",
    },
    "all": {"children": ["ungrouped", "web"]},
    "web": {"hosts": ["b", "a"]},
}
"""A dynamic script."""
EMPTY = {"_meta": {"hostvars": {}, "profile": "inventory_legacy"}, "all": {"children": ["ungrouped"]}}

Resolve = Callable[..., Config]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a shell script called ansible-inventory on PATH, the only one there."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))

    def write(script: str, directory: Path = directory) -> Path:
        file = directory / "ansible-inventory"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    return write


@pytest.fixture
def resolved(tmp_path: Path, program: Callable[[str], Path]) -> Resolve:
    """A function that resolves the hosts of a deploy.toml, by a program that prints a listing."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "inventory.yml").touch()

    def run(text: str, listing: Any = None, environment: str | None = None, timeout: float = 60) -> Config:
        path = project / "deploy.toml"
        path.write_text(f'app = "shop"\n{text}\n')
        if listing is not None:
            (tmp_path / "listing").write_text(listing if isinstance(listing, str) else json.dumps(listing))
            program(f"cat {tmp_path}/listing")
        return resolve(load(path, environment=environment), path, environment, timeout=timeout)

    return run


def refused(resolved: Resolve, *args: Any, **kwargs: Any) -> ConfigError:
    """The error, its message without the directory."""
    with pytest.raises(ConfigError) as caught:
        resolved(*args, **kwargs)
    error = caught.value
    assert (error.exit, error.state) == (Exit.USAGE, "nothing was touched")
    return replace(error, message=error.message.rpartition("/deploy.toml:")[2])


def of(group: str, more: str = "") -> str:
    """A deploy.toml whose hosts are those of a group."""
    return f'[hosts]\nansible = "inventory.yml"\ngroup = "{group}"\n{more}'


def addresses(config: Config) -> dict[str, str]:
    """Where to log in, by the hosts' names, in their order."""
    return {name: config.target(name).address for name in config.hosts}


@pytest.mark.parametrize(
    ("listing", "group", "hosts"),
    [
        (
            INI,
            "web",
            {
                "web2": "deploy@10.0.0.2",
                "web1": "deploy@10.0.0.1:2222",
                "web10.example.com": "deploy@web10.example.com",
            },
        ),
        (INI, "batch", {"batch1": "deploy@[fd00::1]:2200"}),
        (
            YAML,
            "site",
            {"web2": "deploy@10.0.0.2:2222", "web1": "deploy@10.0.0.1:2222", "db1": "deploy@db1"},
        ),
        (YAML, "all", {"web2": "deploy@10.0.0.2:2222", "web1": "deploy@10.0.0.1:2222", "db1": "deploy@db1"}),
        (SCRIPT, "web", {"b": "deploy@10.1.0.2:22", "a": "deploy@10.1.0.1"}),
    ],
)
def test_the_hosts_of_a_group(resolved: Resolve, listing: Any, group: str, hosts: dict[str, str]) -> None:
    """All hosts of the group and of the groups in it, in the inventory's order, each once, with host and port."""
    config = resolved(of(group), listing)
    assert list(addresses(config).items()) == list(hosts.items())
    assert config.inventory is None


def test_the_user_is_the_one_who_deploys(resolved: Resolve) -> None:
    """ansible_user administers the host and plays no part; deploy_user does, and what is typed wins over it."""
    config = resolved('deploy_user = "ship"\n' + of("web"), INI)
    assert config.target("web2").address == "ship@10.0.0.2"
    assert config.target("ubuntu@web2").address == "ubuntu@10.0.0.2"


def test_settings_go_by_the_name_in_the_inventory(resolved: Resolve) -> None:
    """A table beside the inventory holds for the host of that name, which is found by its address, too."""
    config = resolved(of("web", '[hosts.web1]\nworkers = 1\nmigrate = true\n[hosts.web2]\naddress = "root@b:1"'), INI)
    assert config.host_settings["web1"] == HostSettings(address="deploy@10.0.0.1:2222", workers=1, migrate=True)
    assert [config.of_host(name).web.workers for name in ("web1", "root@web1", "10.0.0.1", "web2")] == [1, 1, 1, 4]
    assert (config.migrates("web1"), config.migrates("web2")) == (True, False)
    assert config.target("web2").address == "root@b:1"


NEWS = '[timers.news]\ncommand = "x"\ncalendar = "daily"\n[processes.worker]\ncommand = "y"\n'


def test_what_is_once_runs_on_the_first_host_of_the_inventory(resolved: Resolve) -> None:
    """In its order, unless a table beside it gives it to another."""
    config = resolved(NEWS + of("web"), INI)
    assert [name for name in config.hosts if config.of_host(name).timers] == ["web2"]
    named = resolved(NEWS + of("web", '[hosts.web1]\nprocesses = ["news"]'), INI)
    assert [name for name in named.hosts if named.of_host(name).timers] == ["web1"]
    assert [name for name in named.hosts if named.of_host(name).processes] == ["web2", "web10.example.com"]


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        (
            '[hosts.web1]\nprocesses = ["web"]\n[hosts.web2]\nprocesses = ["news"]\n'
            '[hosts."web10.example.com"]\nprocesses = ["web"]',
            "5: processes.worker: no host would run it: add worker to the processes of one",
        ),
        (
            '[hosts.web1]\nprocesses = ["news"]\n[hosts.web2]\nprocesses = ["news"]',
            "11: hosts.web1.processes: nothing would run here: news runs once, on web2",
        ),
    ],
)
def test_roles_are_judged_when_the_hosts_are_known(resolved: Resolve, hosts: str, told: str) -> None:
    """What no host of the inventory would run, and a host for which nothing is left, are told with their lines."""
    assert refused(resolved, NEWS + of("web", hosts), INI).message == told


def test_without_an_inventory_nothing_is_asked(resolved: Resolve, program: Callable[[str], Path]) -> None:
    """A file that names its hosts is left as it is, whether the program works or not."""
    program("exit 1")
    assert resolved('hosts = ["web1"]').hosts == ("web1",)


def test_how_the_program_is_called(
    tmp_path: Path, resolved: Resolve, program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the inventory's path, runs beside deploy.toml, can ask nobody, and fails on what it cannot read."""
    (tmp_path / "listing").write_text(json.dumps(SCRIPT))
    monkeypatch.setenv("ANSIBLE_FORCE_COLOR", "1")
    monkeypatch.setenv("MARK", "kept")
    seen = '"$*|$PWD|$(cat)|$ANSIBLE_INVENTORY_UNPARSED_FAILED|$ANSIBLE_FORCE_COLOR|$MARK"'
    program(f"echo {seen} > {tmp_path}/seen; cat {tmp_path}/listing")
    resolved(of("web"))
    project = tmp_path / "project"
    assert (tmp_path / "seen").read_text() == f"-i {project}/inventory.yml --list|{project}||1|0|kept\n"


def test_the_program_may_be_beside_this_python(tmp_path: Path, resolved: Resolve, program: Callable[..., Path]) -> None:
    """In a virtual environment that was not activated the program is found, too."""
    (tmp_path / "listing").write_text(json.dumps(SCRIPT))
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    program(f"cat {tmp_path}/listing", tmp_path / "venv" / "bin")
    assert resolved(of("web")).hosts == ("b", "a")


def test_a_missing_program_is_named(tmp_path: Path, resolved: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ansible the error says what reads the inventory, and what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused(resolved, of("web"))
    assert error.message == "3: hosts.ansible: ansible-inventory, which reads the inventory, is not installed here"
    assert "ansible-core" in str(error.next)


def test_a_program_that_cannot_be_started_is_an_error(resolved: Resolve, program: Callable[[str], Path]) -> None:
    """A script whose interpreter has gone, as after an upgrade of Python, is no bug of ours."""
    file = program("")
    file.write_text("#!/nowhere/python\n")
    assert "3: hosts.ansible: ansible-inventory cannot be started: " in refused(resolved, of("web")).message


def test_a_failing_program_s_last_lines_are_shown(resolved: Resolve, program: Callable[[str], Path]) -> None:
    """What the program said is shown as it said it, without blank lines."""
    program("echo no credentials for the cloud >&2; echo >&2; echo '[ERROR]: No inventory was parsed' >&2; exit 1")
    error = refused(resolved, of("web"))
    assert error.message == "3: hosts.ansible: ansible-inventory failed with exit code 1"
    assert list(error.logs) == ["no credentials for the cloud", "[ERROR]: No inventory was parsed"]
    assert 'hosts = ["deploy@HOST"]' in str(error.next)


def test_a_program_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, resolved: Resolve, program: Callable[[str], Path]
) -> None:
    """A script that waits for a cloud that does not answer holds up nobody, and is not left behind."""
    program(f"sleep 1000 & echo $! > {tmp_path}/pid; echo asking >&2; wait")
    error = refused(resolved, of("web"), timeout=3)
    assert error.message == "3: hosts.ansible: ansible-inventory gave no answer within 3 s"
    assert list(error.logs) == ["asking"]
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 30
    while running(pid):
        assert time.monotonic() < deadline, "what the program started still runs"
        time.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process is there and was not killed: one whose parent has gone may wait to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("printed", ["", "[]", "not JSON", '{"web": ["a"]}'])
def test_an_answer_that_is_no_listing_is_refused(resolved: Resolve, printed: str) -> None:
    """Whatever else calls itself ansible-inventory is told from it."""
    message = refused(resolved, of("web"), printed).message
    assert message == "3: hosts.ansible: ansible-inventory printed something else than a list of groups"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (of("wbe"), "4: hosts.group: there is no group 'wbe'; did you mean web?"),
        (of("qqqqqq"), "4: hosts.group: there is no group 'qqqqqq'; groups: all, batch, eu, local, nobody, "),
        (of("_meta"), "4: hosts.group: there is no group '_meta'"),
        (of("nobody"), "4: hosts.group: the group 'nobody' has no hosts"),
        (of("local"), "3: hosts.ansible: localhost is not reached by SSH there (ansible_connection is 'local')"),
        (of("templates"), "3: hosts.ansible: the ansible_host of tmpl is a template, which ansible-inventory leaves"),
        (of("web", "[hosts.wbe1]"), "5: hosts.wbe1: is no host of group 'web' of inventory.yml; did you mean web1?"),
        (
            of("web", "[hosts.batch1]"),
            "5: hosts.batch1: is no host of group 'web' of inventory.yml; hosts there: web1, ",
        ),
    ],
)
def test_what_the_inventory_does_not_have(resolved: Resolve, text: str, told: str) -> None:
    """A group or host that is not there is refused with its line and the nearest, like any key."""
    assert refused(resolved, text, INI).message.startswith(told)


def test_an_empty_inventory_has_no_hosts(resolved: Resolve) -> None:
    """A deploy to no host at all is not done in silence."""
    assert refused(resolved, of("all"), EMPTY).message == "4: hosts.group: the group 'all' has no hosts"


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=x", "a b", "a;b", "10.0.0.1:22:22"], ids=["option", "blank", "shell", "colons"]
)
def test_an_address_that_is_none_is_refused(resolved: Resolve, host: str) -> None:
    """What an inventory says goes through the same gate as what is typed."""
    listing = {"web": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": {"ansible_host": host}}}}
    message = refused(resolved, of("web"), listing).message
    assert message.startswith("3: hosts.ansible: a: ") and "is not a host to connect to" in message


def test_a_name_that_is_none_is_refused(resolved: Resolve) -> None:
    """A name that could not be typed after -H is refused, with its address or without."""
    listing = {"web": {"hosts": ["a b"]}, "_meta": {"hostvars": {"a b": {"ansible_host": "10.0.0.1"}}}}
    assert 'hosts."a b": is not the name of a host' in refused(resolved, of("web"), listing).message


def test_two_names_of_one_host_are_refused(resolved: Resolve) -> None:
    """One machine under two names would be deployed to twice at once."""
    variables = {"ansible_host": "10.0.0.1"}
    listing = {"web": {"hosts": ["a", "b"]}, "_meta": {"hostvars": {"a": variables, "b": variables}}}
    assert refused(resolved, of("web"), listing).message == "2: hosts.b: is the same host as a"


def test_the_line_is_the_environment_s(resolved: Resolve) -> None:
    """A group that an environment names is refused there, and one that it takes from above, above."""
    own = 'hosts = ["a"]\n[environments.staging.hosts]\nansible = "inventory.yml"\ngroup = "wbe"'
    assert refused(resolved, own, INI, "staging").message.startswith("5: environments.staging.hosts.group: there is")
    above = of("wbe", "[environments.staging.web]\nworkers = 1")
    assert refused(resolved, above, INI, "staging").message.startswith("4: hosts.group: there is")


def test_a_missing_inventory_is_named(resolved: Resolve) -> None:
    """A path that leads nowhere is told with the directory it was looked for in."""
    error = refused(resolved, '[hosts]\nansible = "none.yml"', INI)
    assert error.message.startswith("3: hosts.ansible: ") and error.message.endswith("project/none.yml does not exist")


def test_a_script_s_path_may_be_relative_to_the_home(
    tmp_path: Path, resolved: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inventory that several projects share may be named from the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "shared").touch()
    assert resolved('[hosts]\nansible = "~/shared"', SCRIPT).hosts == ("b", "a")
