"""``hosts`` of deploy.toml in all its forms, one host's configuration, ``[fleet]`` and ``[hooks]``."""

from __future__ import annotations

import pytest

from deployer.config import FleetSettings, Hooks, HostSettings, Inventory, LocalEnvironment
from deployer.config.check import batch_problem
from deployer.config.declare import keys_of
from deployer.errors import ConfigError
from deployer.fleet.hosts import PARALLEL
from deployer.release.setup import setup_request
from deployer.release.spec import environment_of
from deployer.ssh.target import Target

FLEET = """
app = "shop"
[env]
ROLE = "web"
LANG = "C"
[web]
workers = 8
memory = "1G"
[hosts."deploy@web1.example.com"]
[hosts."deploy@web3:2222"]
workers = 2
memory = "2G"
env = { ROLE = "batch" }
migrate = true
[hosts.db]
address = "deploy@10.0.0.3:2200"
workers = 1
"""


def app(text: str) -> str:
    """The text below a first line that every deploy.toml has."""
    return f'app = "shop"\n{text}'


def test_hosts_may_be_tables(toml) -> None:
    """The tables below hosts name the hosts, in their order, with typed settings."""
    config = toml(FLEET)
    assert config.hosts == ("deploy@web1.example.com", "deploy@web3:2222", "db")
    assert config.inventory is None
    assert config.host_settings["deploy@web1.example.com"] == HostSettings()
    assert config.host_settings["deploy@web3:2222"] == HostSettings(
        workers=2, memory="2G", env={"ROLE": "batch"}, migrate=True
    )


def test_a_list_is_short_for_hosts_without_settings(toml) -> None:
    """A list gives the same hosts as empty tables do, and no host has anything of its own."""
    listed, tables = toml(app('hosts = ["b", "a"]')), toml(app("[hosts.b]\n[hosts.a]"))
    assert listed.hosts == tables.hosts == ("b", "a")
    assert listed.host_settings == tables.host_settings == {"b": HostSettings(), "a": HostSettings()}


def test_one_host_s_settings_are_merged_in(toml) -> None:
    """Its workers and memory replace those of the web table, its variables are laid over the others."""
    config = toml(FLEET).of_host("deploy@web3:2222")
    assert (config.web.workers, config.web.memory_bytes) == (2, 2 * 1024**3)
    assert environment_of(config, LocalEnvironment()) == {"ROLE": "batch", "LANG": "C"}


def test_what_a_host_does_not_set_stays(toml) -> None:
    """A host without settings, and one that deploy.toml does not name, has what all have."""
    config = toml(FLEET)
    for name in ("deploy@web1.example.com", "elsewhere.example.com"):
        own = config.of_host(name)
        assert (own.web.workers, own.web.memory, own.env) == (8, "1G", {"ROLE": "web", "LANG": "C"})
    assert config.of_host("db").web.memory == "1G"
    assert config.of_host("db").env == {"ROLE": "web", "LANG": "C"}


def test_one_host_s_configuration_knows_no_other_host(toml) -> None:
    """What is made for one host names that host only, answers for it alone, and can be asked again."""
    config = toml(FLEET).of_host("web3")
    assert config.hosts == ("deploy@web3:2222",)
    assert config.of_host("web3") == config
    assert (config.migrates("web3"), config.migrates("db")) == (True, False)


@pytest.mark.parametrize(
    ("typed", "workers"),
    [
        ("deploy@web3:2222", 2),
        ("web3", 2),
        ("root@web3", 2),
        ("web3:2222", 2),
        ("web3:22", 8),
        ("web1.example.com:22", 8),
        ("web1", 8),
        ("db", 1),
        ("root@db", 1),
        ("10.0.0.3", 1),
        ("root@10.0.0.3:2200", 1),
        ("10.0.0.3:22", 8),
    ],
)
def test_a_host_is_found_by_its_host_part(toml, typed: str, workers: int) -> None:
    """User and port may be left out or differ in the user; a port that is another's is another host."""
    assert toml(FLEET).of_host(typed).web.workers == workers


def test_ipv6_hosts_are_found_with_and_without_brackets(toml) -> None:
    """An IPv6 address is one host, however it is written."""
    config = toml(app('[hosts."deploy@[fd00::1]:2222"]\nworkers = 1'))
    assert [config.of_host(name).web.workers for name in ("fd00::1", "[fd00::1]", "fd00::2")] == [1, 1, 4]


PORTS = '[hosts."a:1"]\nworkers = 1\n[hosts."a:2"]\nworkers = 2\n'


@pytest.mark.parametrize("ask", ["of_host", "migrates", "target"])
def test_a_name_that_fits_several_hosts_is_refused(toml, ask: str) -> None:
    """Where two hosts of the file may be meant, both are named, and nothing is guessed."""
    with pytest.raises(ConfigError, match=r"'a' may be any of these hosts of deploy.toml: a:1, a:2") as caught:
        getattr(toml(app(PORTS)), ask)("a")
    assert str(caught.value.next).endswith("-H a:1")
    assert toml(app(PORTS)).of_host("a:2").web.workers == 2


def test_hosts_that_are_alike_need_no_choice(toml) -> None:
    """A name that fits several hosts without settings is no question: each has what all have."""
    assert toml(app('hosts = ["a:1", "a:2"]')).of_host("a").web.workers == 4


def test_the_migrating_host_is_the_one_that_says_so(toml) -> None:
    """A host that migrates is found as its settings are."""
    config = toml(FLEET)
    names = ("deploy@web3:2222", "web3", "web1.example.com", "db", "elsewhere")
    assert [config.migrates(name) for name in names] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("db", "deploy@10.0.0.3:2200"),
        ("root@db", "root@10.0.0.3:2200"),
        ("db:22", "deploy@10.0.0.3:22"),
        ("10.0.0.3", "deploy@10.0.0.3:2200"),
        ("web3", "web3"),
        ("elsewhere:1", "elsewhere:1"),
    ],
)
def test_where_to_log_in(toml, typed: str, address: str) -> None:
    """A host's address is used where it has one, but what was typed wins; others are reached as they were typed."""
    target = toml(FLEET).target(typed)
    assert (target.address, target.name) == (address, typed)


@pytest.mark.parametrize("text", ["web1", "deploy@web1:22", "a@[fd00::1]:22", "[fd00::1]"])
def test_an_address_names_the_same_place(text: str) -> None:
    """What a target gives as its address is parsed to the same user, host and port."""
    assert Target.parse(Target.parse(text).address) == Target.parse(text)


def test_an_inventory_is_named_with_its_group(toml) -> None:
    """Beside the inventory's keys tables give settings; hosts there are none before it is read."""
    config = toml(app('hosts = { ansible = "inventory.yml", group = "web", web3 = { workers = 2 } }'))
    assert config.inventory == Inventory(ansible="inventory.yml", group="web")
    assert (config.hosts, config.host_settings) == ((), {"web3": HostSettings(workers=2)})
    assert toml(app('[hosts]\nansible = "i"')).inventory == Inventory(ansible="i", group="all")


def test_a_host_may_be_called_ansible(toml) -> None:
    """A table is a host, whatever its name is."""
    assert toml(app("[hosts.ansible]\n[hosts.group]")).hosts == ("ansible", "group")


BASES = ['hosts = ["a", "b"]', "[hosts.a]\nworkers = 2\n[hosts.c]\nworkers = 3", 'hosts = { ansible = "i" }']


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("own", "hosts"),
    [('hosts = ["c"]', ("c",)), ("hosts.c = { memory = '1G' }", ("c",)), ('hosts = { ansible = "j" }', ()), ("", None)],
)
def test_an_environment_s_hosts_replace_those_above(toml, base: str, own: str, hosts: tuple[str, ...] | None) -> None:
    """No host of the base, none of its settings and no inventory slips into an environment with hosts of its own."""
    text = app(f"{base}\n[environments.staging]\n{own}\n")
    config = toml(text, "staging")
    if hosts is None:
        assert config == toml(text)
        return
    assert config.hosts == hosts
    assert config.inventory == (Inventory(ansible="j") if '"j"' in own else None)
    assert all(settings.workers is None for settings in config.host_settings.values())


BAD = [
    ("[hosts.web1]\nwokers = 2", '3: hosts.web1.wokers: there is no such key; did you mean workers?'),
    ('[hosts."deploy@[::1]:22"]\nwokers = 2', '3: hosts."deploy@[::1]:22".wokers: there is no such key'),
    ("[hosts.a]\n[hosts.web1]\nworkers = 0", "4: hosts.web1.workers: must be a whole number from 1 to 256, not 0"),
    ("[hosts.a]\nmemory = 3", '3: hosts.a.memory: must be an amount such as "300M" or "2G", not 3'),
    ("[hosts.a.env]\nA = 1", "3: hosts.a.env.A: must be a string, in quotes"),
    ('[hosts.a.env]\nPATH = "x"', "3: hosts.a.env.PATH: is set by systemd or by deployer"),
    ('[hosts.a]\nmigrate = "yes"', '3: hosts.a.migrate: must be true or false, not "yes"'),
    ("[hosts.a]\nmigrate = true\n[hosts.b]\nmigrate = true", "5: hosts.b.migrate: the migration runs on one host"),
    ('[hosts.a]\naddress = "-oProxyCommand=x"', "3: hosts.a.address: must be a host such as"),
    ('[hosts.a]\naddress = "b:99999"', "3: hosts.a.address: 'b:99999' is not a host to connect to: port 99999"),
    ('[hosts.a]\naddress = "b"\n[hosts."root@b"]', '4: hosts."root@b": is the same host as a'),
    ('hosts = ["a", "deploy@a:22"]', "2: hosts[1]: is the same host as a"),
    ('hosts = ["a", "a"]', "2: hosts[1]: is the same host as a"),
    ('hosts = ["a:0"]', "2: hosts[0]: 'a:0' is not a host to connect to: '0' is not a port"),
    ('[hosts."a b"]', '2: hosts."a b": is not the name of a host'),
    ('[hosts."a,b"]', '2: hosts."a,b": is not the name of a host'),
    ('[hosts."-oX"]', "2: hosts.-oX: is not the name of a host"),
    ("hosts = { web1 = 3 }", "2: hosts.web1: must be a table, not 3"),
    ('hosts = { web1 = "10.0.0.1" }', "2: hosts.web1: must be a table of settings, such as { address = "),
    ('hosts = { ansibel = "i" }', "2: hosts.ansibel: there is no such key; did you mean ansible?"),
    ('hosts = { group = "web" }', "2: hosts.group: has no meaning without ansible"),
    ('hosts = { ansible = " " }', "2: hosts.ansible: must be one line, and not empty"),
    ('hosts = { ansible = "i", group = "a\\nb" }', "2: hosts.group: must be one line, and not empty"),
    ("[environments.s.hosts.c]\nworkers = 0", "3: environments.s.hosts.c.workers: must be a whole number"),
    ("[fleet]\nparallel = 0", "3: fleet.parallel: must be a whole number from 1 to 500, not 0"),
    ("[fleet]\nparallel = 501", "3: fleet.parallel: must be"),
    ('[fleet]\nbatch = "0%"', '3: fleet.batch: must be a number of hosts such as "2", or a share of them'),
    ("[fleet]\nbatch = 0", "3: fleet.batch: must be a number of hosts"),
    ("[fleet]\nbatch = 2.5", "3: fleet.batch: must be a number of hosts"),
    ("[fleet]\ncanary = -1", "3: fleet.canary: must be a whole number from 0 to 500, not -1"),
    ('[fleet]\nbake = "60s"', '3: fleet.bake: must be a number of seconds from 0 to 86400, not "60s"'),
    ("batch = 2", "2: batch: there is no such key; did you mean fleet.batch?"),
    ('[hooks]\ndrain = "lb {hots}"', "3: hooks.drain: holds {hots}, but {host} is all that can be filled in"),
    ('[hooks]\nundrain = "lb \'"', "3: hooks.undrain: is not a command that can be read"),
    ('[hooks]\ndrain = ""', "3: hooks.drain: is empty"),
    ("[hooks]\ntimeout = 0", "3: hooks.timeout: must be a number of seconds above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BAD)
def test_bad_values(refusal, text: str, told: str) -> None:
    """What cannot be meant is refused once, with its line, its path and words of ours."""
    message = refusal(app(text))
    assert message.startswith(told)
    assert len(message.split("\n")) == 1, message


def test_problems_of_several_hosts_are_told_at_once(refusal) -> None:
    """Each host's mistakes have their own line."""
    message = refusal(app('[hosts.a]\nworkers = 0\n[hosts.b]\nworkers = 999\nmemory = ""\n[hosts.c.env]\nA = 1'))
    assert [line.split(": ")[:2] for line in message.split("\n")] == [
        ["3", "hosts.a.workers"], ["5", "hosts.b.workers"], ["6", "hosts.b.memory"], ["8", "hosts.c.env.A"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "1", "2", "500", "1%", "25%", "100%"])
def test_good_batches(text: str) -> None:
    """A number of hosts or a share of them is accepted; nothing at all means all of them."""
    assert batch_problem(text) == ""


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "2.5", "25 %", "%", "two", "2\n", "²", "+2"])
def test_bad_batches(text: str) -> None:
    """What is no number of hosts, or none of them, is refused with what was written."""
    assert batch_problem(text).endswith(f"not {text!r}")


def test_fleet_defaults(toml) -> None:
    """Left out, all hosts switch at once, and as many are worked on as the fleet does by itself."""
    assert toml(app("")).fleet == FleetSettings(parallel=PARALLEL, batch="", canary=0, bake=0)


def test_a_batch_may_be_a_number(toml) -> None:
    """The number of hosts of a batch needs no quotes."""
    fleet = toml(app("[fleet]\nparallel = 5\nbatch = 2\ncanary = 1\nbake = 60")).fleet
    assert fleet == FleetSettings(parallel=5, batch="2", canary=1, bake=60)


def test_hooks_become_arguments_with_the_host_s_name(toml) -> None:
    """The name goes in without user and port, into words that are split before; other braces are left alone."""
    hooks = toml(app("""[hooks]\ndrain = 'lb --json "{\\"a\\": 1}" "web {host}" {host}'\ntimeout = 5""")).hooks
    assert hooks.drain_of("deploy@web1:22") == ("lb", "--json", '{"a": 1}', "web web1", "web1")
    assert (hooks.undrain_of("web1"), hooks.timeout) == ((), 5)
    assert Hooks(undrain="x {host}").undrain_of("[fd00::1]:22") == ("x", "fd00::1")


def test_setup_asks_the_same_of_every_host(toml) -> None:
    """What is different on one host is nothing that setting it up depends on."""
    config = toml(FLEET)
    assert setup_request(config.of_host("web3"), (), ()) == setup_request(config.of_host("db"), (), ())


@pytest.mark.parametrize("table", [HostSettings, Inventory])
def test_the_keys_of_hosts_are_described(table) -> None:
    """Each key of a host and of an inventory says what it is and what it expects."""
    for name, key in keys_of(table).items():
        assert key.description and key.expects, name
