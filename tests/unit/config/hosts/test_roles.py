"""``[processes.NAME]``, ``[timers.NAME]`` and which host runs what."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cli import task
from deployer.commands.release import deploy
from deployer.config import Config, HostSettings, ProcessConfig, Roles, TimerConfig, refuse_twice
from deployer.config.declare import keys_of
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.remote.site import Site
from deployer.ssh.options import SshOptions

THINGS = """
[processes.worker]
command = "celery -A shop worker"
[processes.beat]
command = "celery -A shop beat"
once = true
[timers.news]
command = "python manage.py send_news"
calendar = "Mon..Fri 08:00"
[timers.sweep]
command = "sweep"
calendar = "daily"
once = false
"""
EVERYTHING = ("web", "worker", "beat", "news", "sweep")


def app(text: str) -> str:
    """The text below a first line that every deploy.toml has."""
    return f'app = "shop"\n{text}'


def runs(config: Config, name: str) -> tuple[str, ...]:
    """What runs on a host that was typed, by its configuration."""
    own = config.of_host(name)
    return (*(["web"] if own.runs_web else []), *own.processes, *own.timers)


def all_run(config: Config) -> dict[str, tuple[str, ...]]:
    return {host: runs(config, host) for host in config.hosts}


def test_defaults(toml) -> None:
    """A process runs once on each host, side by side with its forerunner; a timer on one host, as long as it takes."""
    config = toml(app('[processes.a]\ncommand = "x"\n[timers.b]\ncommand = "y"\ncalendar = "daily"'))
    assert config.processes == {
        "a": ProcessConfig(command="x", count=1, stop=30, overlap=True, once=False, check=None, unit={})
    }
    assert config.timers == {
        "b": TimerConfig(command="y", calendar="daily", persistent=True, timeout=None, once=True, unit={})
    }


def test_every_key_is_read(toml) -> None:
    """In its typed form."""
    config = toml(
        app("""
        [processes.a]
        command = "x 'y z'"
        count = 64
        stop = 86400
        overlap = false
        once = true
        check = "python manage.py check && true"
        unit = { MemoryMax = "1G", Nice = 5 }
        [timers.b]
        command = "bin/sweep --all"
        calendar = "*-*-1/2 03:00:00 Europe/Berlin"
        persistent = false
        timeout = 604800
        once = false
        unit = { ReadWritePaths = ["/a", "/b"] }
        """)
    )
    assert config.processes["a"] == ProcessConfig(
        command="x 'y z'",
        count=64,
        stop=86400,
        overlap=False,
        once=True,
        check="python manage.py check && true",
        unit={"MemoryMax": "1G", "Nice": 5},
    )
    assert config.timers["b"] == TimerConfig(
        command="bin/sweep --all",
        calendar="*-*-1/2 03:00:00 Europe/Berlin",
        persistent=False,
        timeout=604800,
        once=False,
        unit={"ReadWritePaths": ("/a", "/b")},
    )


def test_environments_change_single_keys_and_add_tables(toml) -> None:
    """The tables are merged with those above."""
    config = toml(
        app(
            f"{THINGS}[environments.staging.processes.worker]\ncount = 2\n"
            '[environments.staging.timers.extra]\ncommand = "z"\ncalendar = "hourly"'
        ),
        "staging",
    )
    assert config.processes["worker"] == ProcessConfig(command="celery -A shop worker", count=2)
    assert (*config.processes, *config.timers) == ("worker", "beat", "news", "sweep", "extra")


CALENDAR = 'a time of systemd.time(7) such as "daily", "Mon..Fri 08:00" or "*:0/15" (every quarter of an hour)'
NAME = "is not a name that it can have: at most 24 lower-case letters, digits and _, a letter first"
P, T = '[processes.p]\ncommand = "x"\n', '[timers.t]\ncommand = "y"\ncalendar = "daily"\n'
COMMAND = 'a command, in one line, such as "celery -A shop worker"'
KEYS = "check, command, count, once, overlap, stop, unit"
INSIDE = "must be relative to the project and stay inside it"
CRON = f"is cron's way to write it; it must be {CALENDAR}"
DIRECTIVE = 'is not the name of a systemd directive, such as "MemoryMax"'
VALUES = "a table whose values are strings, whole numbers, true, false, or lists of them"
LIST = 'a list of names such as ["web", "worker"]'
BAD = [
    ("processes = 3", "2: processes: must be tables such as [processes.worker], not 3"),
    ("timers = []", "2: timers: must be tables such as [timers.clearsessions], not an empty list"),
    ('[processes]\ncommand = "x"', '3: processes.command: must be a table, not "x"'),
    ("[processes.p]", f"2: processes.p.command: is missing; it must be {COMMAND}"),
    ('[processes.p]\ncommand = " "', "3: processes.p.command: is empty"),
    ('[processes.p]\ncommand = "\'\' x"', "3: processes.p.command: is empty"),
    ('[processes.p]\ncommand = ["x"]', f"3: processes.p.command: must be {COMMAND}, not this list"),
    ('[processes.p]\ncommand = "x \'y"',
     "3: processes.p.command: is not a command that can be read: no closing quotation"),
    ('[processes.p]\ncommand = "a\\nb"', "3: processes.p.command: must be one line, without control characters"),
    ('[processes.p]\ncommand = "../x"', f"3: processes.p.command: {INSIDE}, not '../x'"),
    ('[timers.t]\ncalendar = "daily"\ncommand = "~/x"', f"4: timers.t.command: {INSIDE}, not '~/x'"),
    (f"{P}count = -1", "4: processes.p.count: must be a whole number from 0 to 64, not -1"),
    (f"{P}count = 65", "4: processes.p.count: must be a whole number from 0 to 64, not 65"),
    (f"{P}stop = 0", "4: processes.p.stop: must be a number of seconds above 0 and up to 86400, not 0"),
    (f"{P}stop = 86401", "4: processes.p.stop: must be a number of seconds above 0 and up to 86400, not 86401"),
    (f'{P}overlap = "no"', '4: processes.p.overlap: must be true or false, not "no"'),
    (f"{P}once = 1", "4: processes.p.once: must be true or false, not 1"),
    (f'{P}check = ""', "4: processes.p.check: is empty"),
    (f'{P}unit = {{ "memory-max" = 1 }}', f"4: processes.p.unit.memory-max: {DIRECTIVE}"),
    (f'{P}[processes.p.unit]\nNice = "1\\nUser=root"',
     "5: processes.p.unit.Nice: must be one line, and not end with a backslash"),
    (f"{P}[processes.p.unit]\nNice = 1.5", f"5: processes.p.unit.Nice: must be {VALUES}, not 1.5"),
    (f'{P}calendar = "daily"', f"4: processes.p.calendar: there is no such key; keys here: {KEYS}"),
    (f"{P}wrokers = 2", f"4: processes.p.wrokers: there is no such key; keys here: {KEYS}"),
    ('[timers.t]\ncommand = "x"', f"2: timers.t.calendar: is missing; it must be {CALENDAR}"),
    ('[timers.t]\ncommand = "x"\ncalendar = 3', f"4: timers.t.calendar: must be {CALENDAR}, not 3"),
    ('[timers.t]\ncommand = "x"\ncalendar = ""', f"4: timers.t.calendar: must be {CALENDAR}, not ''"),
    ('[timers.t]\ncommand = "x"\ncalendar = " "', f"4: timers.t.calendar: must be {CALENDAR}, not ' '"),
    ('[timers.t]\ncommand = "x"\ncalendar = "daily\\nUnit=x"',
     f"4: timers.t.calendar: must be {CALENDAR}, not 'daily\\nUnit=x'"),
    ('[timers.t]\ncommand = "x"\ncalendar = "daily; hourly"',
     f"4: timers.t.calendar: must be {CALENDAR}, not 'daily; hourly'"),
    ('[timers.t]\ncommand = "x"\ncalendar = "*/5 * * * *"', f"4: timers.t.calendar: {CRON}"),
    ('[timers.t]\ncommand = "x"\ncalendar = "0 3 * * MON-FRI"', f"4: timers.t.calendar: {CRON}"),
    ('[timers.t]\ncommand = "x"\ncalendar = "@daily"', f"4: timers.t.calendar: {CRON}"),
    (f"{T}timeout = 0", "5: timers.t.timeout: must be a number of seconds from 1 to 604800, not 0"),
    (f"{T}timeout = 604801", "5: timers.t.timeout: must be a number of seconds from 1 to 604800, not 604801"),
    (f'{T}persistent = "x"', '5: timers.t.persistent: must be true or false, not "x"'),
    (f'{T}once = "x"', '5: timers.t.once: must be true or false, not "x"'),
    (f"{T}[timers.t.unit]\nx = 1", f"6: timers.t.unit.x: {DIRECTIVE}"),
    ('[processes.web]\ncommand = "x"', "2: processes.web: is the name of what answers requests; its table is [web]"),
    ('[timers.web]\ncommand = "x"\ncalendar = "daily"',
     "2: timers.web: is the name of what answers requests; its table is [web]"),
    ('[processes.a-b]\ncommand = "x"', f"2: processes.a-b: {NAME}"),
    ('[processes.Worker]\ncommand = "x"', f"2: processes.Worker: {NAME}"),
    ('[processes.2nd]\ncommand = "x"', f"2: processes.2nd: {NAME}"),
    ('[processes."a b"]\ncommand = "x"', f'2: processes."a b": {NAME}'),
    (f"[processes.{'x' * 25}]\ncommand = 'x'", f"2: processes.{'x' * 25}: {NAME}"),
    (f'{P}[timers.p]\ncommand = "y"\ncalendar = "daily"',
     "4: timers.p: is the name of a process already: [processes.p]"),
    ("".join(f"[processes.p{n}]\ncommand = 'x'\n" for n in range(51)), "2: processes: are 51, and may be 50"),
    (f"{P}[environments.s.processes.p]\ncount = -1",
     "5: environments.s.processes.p.count: must be a whole number from 0 to 64, not -1"),
    # what runs where
    (f'{P}[hosts.a]\nprocesses = "p"', f'5: hosts.a.processes: must be {LIST}, not "p"'),
    (f"{P}[hosts.a]\nprocesses = []", f"5: hosts.a.processes: must be {LIST}, not an empty list"),
    (f'{P}[hosts.a]\nprocesses = ["p", 1]', f"5: hosts.a.processes[1]: 1 is not accepted; the key must be {LIST}"),
    (f'{P}[hosts.a]\nprocesses = ["p", "web", "p"]', "5: hosts.a.processes[2]: p is named twice"),
    (f'{P}[hosts.a]\nprocess = ["p"]', "5: hosts.a.process: there is no such key; did you mean processes?"),
    (f'{P}[hosts.a]\nprocesses = ["p"]\nworkers = 8',
     "6: hosts.a.workers: is web.workers, and web does not run on this host"),
    (f'{P}[hosts.a]\nprocesses = ["p"]\nmemory = "1G"',
     "6: hosts.a.memory: is web.memory, and web does not run on this host"),
    (f'[processes.worker]\ncommand = "x"\n{T}[hosts.a]\n[hosts.b]\nprocesses = ["web", "wroker"]',
     "9: hosts.b.processes[1]: there is no process or timer 'wroker'; did you mean worker?"),
    (f'{P}{T}[hosts.a]\n[hosts.b]\nprocesses = ["zzz"]',
     "9: hosts.b.processes[0]: there is no process or timer 'zzz'; there are: p, t, web"),
    ('[hosts.a]\nprocesses = ["worker"]',
     "3: hosts.a.processes[0]: there is no process or timer 'worker'; there are: web"),
    (f'{P}{T}[hosts.a]\nprocesses = ["web", "t"]\n[hosts.b]\nprocesses = ["web"]',
     "2: processes.p: no host would run it: add p to the processes of one"),
    (f'{P}{T}[hosts.a]\nprocesses = ["web", "p"]', "4: timers.t: no host would run it: add t to the processes of one"),
    (f'{T}[hosts.a]\n[hosts.b]\nprocesses = ["t"]\n[hosts.c]\nprocesses = ["t"]',
     "9: hosts.c.processes: nothing would run here: t runs once, on b"),
    (f'{P}[environments.s.hosts.a]\nprocesses = ["q"]',
     "5: environments.s.hosts.a.processes[0]: there is no process or timer 'q'; there are: p, web"),
    (f'{P}[hosts.a]\nprocesses = ["q"]\n[environments.s]\npython = "3.12"',
     "5: hosts.a.processes[0]: there is no process or timer 'q'; there are: p, web"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BAD)
def test_refusals(refusal, text: str, told: str) -> None:
    """What cannot be meant is refused once, with its line, its path and words of ours."""
    assert refusal(app(text)) == told


def test_all_that_is_misplaced_is_told_at_once(refusal) -> None:
    """Each name that no host would run, in the order of lines."""
    message = refusal(app(f'{P}{T}[hosts.a]\nprocesses = ["web"]'))
    assert [line.split(": ")[1] for line in message.split("\n")] == ["processes.p", "timers.t"]


def test_names_of_what_was_refused_are_no_mistake(refusal) -> None:
    """A host that names a process whose table is wrong is right: the one mistake is told, and nothing that follows."""
    text = app(
        '[processes.p]\ncommand = "x"\ncount = -1\n[hosts.a]\nprocesses = ["p"]\n[environments.s]\nhosts = ["b"]'
    )
    assert refusal(text) == "4: processes.p.count: must be a whole number from 0 to 64, not -1"


def test_good_calendars(toml) -> None:
    """What systemd.time(7) has as examples is let through: systemd itself judges it, on the host."""
    for text in (
        "hourly", "Sat,Thu,Mon..Wed,Sat..Sun", "*-2-29 0:0:0", "Mon *-05~07/1", "2003-02..04-05", "*:0/15",
        "Wed..Wed,Wed *-1", "*-*-* 03:00:00 UTC", "05:40:23.4200004/3.1700005", "Mon,Sun 12-*-* 2,1:23",
    ):  # fmt: skip
        config = toml(app(f'[timers.t]\ncommand = "x"\ncalendar = "{text}"'))
        assert config.timers["t"].calendar == text


# What runs where


def test_every_host_runs_everything_but_what_is_once(toml) -> None:
    """Without roles: the first host of a list has what is to run once."""
    config = toml(app(f'hosts = ["deploy@b", "a"]\n{THINGS}'))
    assert all_run(config) == {"deploy@b": EVERYTHING, "a": ("web", "worker", "sweep")}


ROLES = """
[hosts."deploy@web1"]
processes = ["web"]
[hosts."deploy@web2"]
[hosts."deploy@batch1:2222"]
processes = ["sweep", "worker", "news"]
[hosts."deploy@batch2"]
processes = ["worker", "news", "beat"]
"""


def test_roles(toml) -> None:
    """A host runs what it names; what is once goes to the first that names it, else to the first without roles."""
    assert all_run(toml(app(THINGS + ROLES))) == {
        "deploy@web1": ("web",),
        "deploy@web2": ("web", "worker", "sweep"),
        "deploy@batch1:2222": ("worker", "news", "sweep"),
        "deploy@batch2": ("worker", "beat"),
    }


def test_the_first_without_roles_has_what_no_host_names(toml) -> None:
    """Though a host with roles stands before it."""
    config = toml(app(f'{THINGS}[hosts.a]\nprocesses = ["web"]\n[hosts.b]\n[hosts.c]\n'))
    assert all_run(config) == {"a": ("web",), "b": EVERYTHING, "c": ("web", "worker", "sweep")}


@pytest.mark.parametrize("typed", ["batch1", "root@batch1", "batch1:2222", "deploy@batch1:2222"])
def test_a_typed_host_has_the_role_of_the_host_it_is(toml, typed: str) -> None:
    """It is found by its host part, as its other settings are."""
    assert runs(toml(app(THINGS + ROLES)), typed) == ("worker", "news", "sweep")


def test_a_typed_host_that_the_file_does_not_name_runs_nothing_that_is_once(toml) -> None:
    """Otherwise a second newsletter would be sent from the host that somebody tries something on."""
    assert runs(toml(app(THINGS + ROLES)), "deploy@trial") == ("web", "worker", "sweep")
    assert runs(toml(app(f'hosts = ["a"]\n{THINGS}')), "trial") == ("web", "worker", "sweep")


def test_the_only_host_there_is_runs_everything(toml) -> None:
    """Typed, where the file names none."""
    assert runs(toml(app(THINGS)), "deploy@web1") == EVERYTHING


def test_one_host_s_configuration_can_be_asked_again(toml) -> None:
    """It stays what it is, whether the file names the host or not: nothing that is once comes back in."""
    config = toml(app(THINGS + ROLES))
    for name in (*config.hosts, "trial"):
        own = config.of_host(name)
        assert own.of_host(name) == own
        assert list(own.roles.mistakes()) == []
    assert toml(app(THINGS)).of_host("a").of_host("a") == toml(app(THINGS)).of_host("a")


def test_a_name_that_may_be_the_one_host_or_another_is_refused(toml) -> None:
    """Two sshds of one name are not alike when one of them runs what the other does not."""
    config = toml(app(f'hosts = ["a:1", "a:2"]\n{THINGS}'))
    with pytest.raises(ConfigError, match=r"'a' may be any of these hosts of deploy.toml: a:1, a:2"):
        config.of_host("a")
    assert runs(config, "a:1") == EVERYTHING


def test_whether_any_host_answers_requests(toml) -> None:
    """The file as a whole runs web as soon as one of its hosts does."""
    workers = f'{P}[hosts.a]\nprocesses = ["p"]\n[hosts.b]\nprocesses = ["p"]\n'
    assert not toml(app(workers)).runs_web
    assert toml(app(f"{workers}[hosts.c]\n")).runs_web
    assert toml(app("")).runs_web


def test_an_environment_may_go_without(toml) -> None:
    """Its hosts say what they run; what none of them names is not for this environment."""
    text = app(f'{P}{T}[hosts.a]\n[environments.s.hosts.b]\nprocesses = ["web", "p"]')
    staging = toml(text, "s").of_host("b")
    assert (list(staging.processes), list(staging.timers), staging.runs_web) == (["p"], [], True)
    assert list(toml(text).of_host("a").timers) == ["t"]


def test_of_an_inventory_the_hosts_are_not_known_yet(toml) -> None:
    """Until it was asked nothing can be missing; a name that does not exist can be told already."""
    config = toml(app(f'{P}{T}[hosts]\nansible = "i"\n[hosts.a]\nprocesses = ["web"]'))
    assert config.processes.keys() | config.timers.keys() == {"p", "t"}
    with pytest.raises(ConfigError, match=r"hosts.a.processes\[0\]: there is no process or timer 'q'"):
        toml(app(f'{P}[hosts]\nansible = "i"\n[hosts.a]\nprocesses = ["q"]'))


# What is to run once, on the hosts of a command


def fleet(config: Config, *named: str, root: Path = Path("/nowhere")) -> Fleet:
    """The hosts of a command, as the command line makes them."""
    sites = tuple(
        Site(root=root, config=own, target=target, ssh=SshOptions(), report=lambda _: None)
        for target, own in task._places(config, named)
    )
    return Fleet(sites=sites, config=config, report=lambda _: None)


@pytest.mark.parametrize(
    "release", [deploy.upload, deploy.reload_of, lambda fleet: deploy.read_project(fleet, None, True)]
)
def test_several_typed_hosts_and_none_in_the_file_are_refused(toml, release) -> None:
    """Nobody could tell which of them is the one; the message says what to write."""
    with pytest.raises(ConfigError) as caught:
        release(fleet(toml(app(THINGS)), "deploy@web1", "web2"))
    error = caught.value
    assert error.message == (
        "beat is to run on one host (once = true), and deploy.toml does not say on which of deploy@web1, web2"
    )
    assert str(error.next) == (
        'name them in deploy.toml, of which the first runs it: hosts = ["deploy@web1", "web2"]\n'
        "or write once = false, if it may run on each"
    )
    assert (int(error.exit), error.state) == (2, "nothing was touched")


def test_many_typed_hosts_are_summed_up() -> None:
    """The message names five of them."""
    with pytest.raises(ConfigError) as caught:
        refuse_twice({f"web{number}": ("news",) for number in range(8)})
    assert caught.value.message.endswith("on which of web0, web1, web2, web3, web4 and 3 more")
    assert 'hosts = ["web0", "web1", "web2", "web3", "web4", …]' in str(caught.value.next)


def test_two_typed_hosts_that_the_file_has_as_one_are_refused(toml) -> None:
    """Both ports are that host, and each would run what is to run once."""
    config = toml(app(f'hosts = ["a", "b"]\n{THINGS}'))
    with pytest.raises(ConfigError, match="does not say on which of a:1, a:2"):
        deploy.reload_of(fleet(config, "a:1", "a:2"))


@pytest.mark.parametrize(
    ("hosts", "named"),
    [("", ["a"]), ('hosts = ["a", "b"]', []), ('hosts = ["a", "b"]', ["b", "c"]), ('hosts = ["a"]', ["x", "y"])],
)
def test_hosts_that_can_be_told_apart_are_not_refused(toml, hosts: str, named: list[str]) -> None:
    """One alone, those of the file, a part of them, or none of them."""
    deploy.reload_of(fleet(toml(app(f"{hosts}\n{THINGS}")), *named))


def test_without_anything_that_is_once_any_hosts_may_be_typed(toml) -> None:
    """As before there were processes."""
    deploy.reload_of(fleet(toml(app(P)), "a", "b"))


@pytest.mark.cause("no-lock")
@pytest.mark.parametrize(("named", "needed"), [("a", False), ("b", True), ("a,b", True), ("stranger", True)])
def test_a_server_is_needed_only_where_web_runs(toml, tmp_path: Path, named: str, needed: bool) -> None:
    """Hosts of workers need no lock file to find one in; one host that answers requests does, for the whole fleet."""
    config = toml(app(f'{P}[web]\nwsgi = "a:b"\n[hosts.a]\nprocesses = ["p"]\n[hosts.b]\n'))
    made = fleet(config, *named.split(","), root=tmp_path)
    if needed:
        with pytest.raises(ConfigError, match="the dependencies are not known"):
            deploy.read_project(made, None, True)
    else:
        assert deploy.read_project(made, None, True).lock.kind == "none"


def test_only_a_release_is_refused(toml) -> None:
    """To look at hosts, to set them up and to roll them back needs no answer to who is the one."""
    assert fleet(toml(app(THINGS)), "web1", "web2").hosts == ("web1", "web2")


NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), unique=True)


@st.composite
def tables(draw: st.DrawFn) -> Roles:
    """Any processes and timers, shared out in any way among any hosts."""
    names = draw(NAMES)
    cut = draw(st.integers(0, len(names)))
    own = st.none() | st.lists(st.sampled_from(["web", *names]), unique=True, min_size=1)
    hosts = draw(st.lists(st.sampled_from([f"h{number}" for number in range(6)]), unique=True, min_size=1))
    return Roles(
        processes=tuple(names[:cut]),
        timers=tuple(names[cut:]),
        once=tuple(name for name in names if draw(st.booleans())),
        table={
            host: HostSettings(processes=tuple(chosen) if (chosen := draw(own)) is not None else None) for host in hosts
        },
    )


def config_of(roles: Roles) -> Config:
    return Config(
        app="shop",
        hosts_written=dict(roles.table),
        processes={name: ProcessConfig(command="x", once=name in roles.once) for name in roles.processes},
        timers={name: TimerConfig(command="x", calendar="daily", once=name in roles.once) for name in roles.timers},
    )


@given(tables())
def test_what_is_once_runs_on_exactly_one_host(roles: Roles) -> None:
    """Whatever the table, unless no host may run it at all, which is refused; all else runs wherever it may."""
    lost = {why.path[1] for why in roles.idle()}
    for name in roles.names[1:]:
        where = [host for host in roles.table if name in roles.on(host)]
        may = [host for host in roles.table if roles.names_it(host, name)]
        assert (name in lost) == (not may)
        assert where == ([roles.the_one(name)] if name in roles.once and may else may)


@given(tables(), st.data())
def test_who_is_the_one_depends_on_the_file_alone(roles: Roles, data: st.DataObject) -> None:
    """Which hosts a command works on, in which order and as what they are typed, changes nothing for any of them."""
    config = config_of(roles)
    typed = data.draw(st.lists(st.sampled_from([*roles.table, "stranger"]), unique=True, min_size=1))
    writing = data.draw(st.sampled_from(["{}", "root@{}", "{}:22"]))
    sites = fleet(config, *(writing.format(host) for host in typed)).sites
    for host, site in zip(typed, sites, strict=True):
        here = (*(["web"] if site.config.runs_web else []), *site.config.processes, *site.config.timers)
        assert here == roles.on(host if host in roles.table else None)
        assert host in roles.table or not set(here) & set(roles.once)
    refuse_twice({site.host: site.config.roles.once for site in sites})


@given(tables())
def test_a_host_that_would_run_nothing_is_refused(roles: Roles) -> None:
    """With the file as it is loaded each host has something to run, as its configuration alone says it, too."""
    idle = {why.path[1] for why in roles.mistakes() if why.path[0] == "hosts"}
    assert idle == {host for host in roles.table if not roles.on(host)}
    for host in roles.table.keys() - idle:
        assert list(config_of(roles).of_host(host).roles.mistakes()) == []


@pytest.mark.parametrize("table", [ProcessConfig, TimerConfig])
def test_the_keys_are_described(table) -> None:
    """Each says what it is and what it expects."""
    for name, key in keys_of(table).items():
        assert key.description and key.expects, name
