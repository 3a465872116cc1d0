"""``deploy.toml`` and the dotenv file: what is accepted, and how everything else is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import Struct

from deployer.config import Config, describe, load, read_env_file
from deployer.config.declare import keys_of
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.wire.environment import RESERVED

ROOT = Path(__file__).parents[3]


def app(text: str) -> str:
    """The text below a first line that every deploy.toml has."""
    return f'app = "shop"\n{text}'


def test_one_line_is_enough(toml) -> None:
    """A file with nothing but the app's name gives every documented default."""
    config = toml('app = "shop"')
    assert (config.app, config.deploy_user, config.hosts, config.python) == ("shop", "deploy", (), None)
    assert (config.web.workers, config.web.overlap, config.web.memory) == (4, True, None)
    assert (config.web.health.path, config.web.health.ranges, config.web.health.timeout) == (
        "/",
        ((200, 399),),
        30,
    )
    assert (config.release.keep, config.release.watch, config.release.drain) == (5, 10, 30)
    assert (config.proxy.kind, config.proxy.listen, config.proxy.client_max_body_size) == (
        None,
        ("80",),
        "10m",
    )


def test_a_full_file_is_read(toml) -> None:
    """Every table of the design's example arrives in its typed form."""
    config = toml("""
        app = "shop"
        hosts = ["deploy@web1.example.com", "10.0.0.1:2222", "[::1]:22"]
        proxy = "nginx"
        [web]
        wsgi = "shop.wsgi:application"
        memory = "300M"
        args = ["--threads", "4"]
        health = { path = "/healthz", host = "shop.example.com", status = [200, "300-399"], timeout = 5 }
        unit = { MemoryMax = "1G", Nice = 5, PrivateTmp = true, ReadWritePaths = ["/a", "/b"] }
        [release]
        build = ["python manage.py collectstatic --noinput"]
        migrate = "python manage.py migrate --noinput"
        [env]
        DJANGO_SETTINGS_MODULE = "shop.settings"
        EMPTY = ""
    """)
    assert config.hosts == ("deploy@web1.example.com", "10.0.0.1:2222", "[::1]:22")
    assert config.proxy.kind == "nginx"
    assert config.web.memory_bytes == 300 * 1024**2
    assert config.web.health.ranges == ((200, 200), (300, 399))
    assert config.web.unit["ReadWritePaths"] == ("/a", "/b")
    assert config.web.server_name == "gunicorn"
    assert config.env == {"DJANGO_SETTINGS_MODULE": "shop.settings", "EMPTY": ""}


def test_config_is_frozen(toml) -> None:
    """A loaded configuration cannot be changed."""
    with pytest.raises(AttributeError):
        toml('app = "shop"').app = "other"


def test_default_servers(toml) -> None:
    """wsgi is served by gunicorn, asgi by uvicorn, a command by itself."""
    assert toml(app('[web]\nwsgi = "a:b"')).web.server_name == "gunicorn"
    assert toml(app('[web]\nasgi = "a:b"')).web.server_name == "uvicorn"
    assert toml(app('[web]\ncommand = "serve --fd 3"')).web.server_name is None


def test_proxy_lists_and_strings(toml) -> None:
    """One name or port may be written without a list, and a port as a number."""
    proxy = toml(app('[proxy]\nkind = "nginx"\ndomains = "a.example"\ntls = "off"\nlisten = 8080')).proxy
    assert (proxy.domains, proxy.listen) == (("a.example",), ("8080",))


def test_health_host_defaults_to_the_site(toml) -> None:
    """Without a host of its own the health check uses the first plain server name, else localhost."""
    site = '[proxy]\nkind = "nginx"\ntls = "off"\ndomains = ["*.a.example", "b.example"]\n'
    assert toml(app(site)).health_host == "b.example"
    assert toml(app(site + '[web]\nhealth = { host = "c.example" }')).health_host == "c.example"
    assert toml(app("")).health_host == "localhost"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('app = "shop"\n\n[web]\nwokers = 4', 4, ["web.wokers", "did you mean workers?"]),
        ('app = "shop"\nwsgi = "a:b"', 2, ["wsgi", "did you mean web.wsgi?"]),
        ('app = "shop"\n[web]\nhealth = { pth = "/" }', 3, ["web.health.pth", "did you mean path?"]),
        (
            'app = "shop"\n[web.health]\nzzz = 1',
            3,
            ["web.health.zzz", "host, path, settle, status, timeout"],
        ),
        ('app = "shop"\n[process.worker]\ncommand = "x"', 2, ["process", "did you mean processes?"]),
        ('app = "shop"\n[processes.x]\ncommand = "x"\nstpo = 3', 4, ["processes.x.stpo", "did you mean stop?"]),
        ('app = "shop"\n[environments.s.web]\nwokers = 1', 3, ["environments.s.web.wokers", "workers"]),
    ],
)
def test_unknown_keys(refusal, text: str, line: int, told: list[str]) -> None:
    """An unknown key is refused with its line, its path and the nearest match or the keys that exist."""
    message = refusal(text)
    assert message.startswith(f"{line}: {told[0]}: ")
    assert all(part in message for part in told)


BAD = [
    ("", "app: is missing"),
    ('app = "Shop"', "app: must be a name of at most 24"),
    ('app = "../x"', "app: must be"),
    ('app = "shop\\n"', "app: must be"),
    ('app = "a-b-c-d-e-f-g-h-i-j-k-l-m"', "app: must be"),
    (app('hosts = ["-oProxyCommand=x"]'), 'hosts[0]: "-oProxyCommand=x" is not accepted'),
    (app('hosts = ["a b"]'), "hosts[0]: "),
    (app('hosts = ["deploy@-x"]'), "hosts[0]: "),
    (app('hosts = "web1"'), 'hosts: must be a list of hosts such as ["deploy@web1.example.com"], or tables such as'),
    (app('deploy_user = "root"'), "deploy_user: may not be root"),
    (app('deploy_user = "a b"'), "deploy_user: must be"),
    (app("python = 3.12"), 'python: must be a version such as "3.12", in quotes, not 3.12'),
    (app('python = "2.7"'), "python: must be"),
    (app('include = ["../x"]'), "include[0]: must be relative to the project"),
    (app('include = ["/etc/*"]'), "include[0]: must be relative to the project"),
    (app('env_file = ""'), "env_file: must be the path of a file"),
    (app("[env]\nA = 1"), "env.A: must be a string, in quotes"),
    (app('[env]\nOK = "x"\n"A B" = "x"'), 'env."A B": is not a name'),
    (app('[env]\nA = "x\\u0000y"'), "env.A: its value holds a control character"),
    (app('[web]\nwsgi = "a:b"\nasgi = "a:b"'), "web.asgi: cannot be set beside wsgi"),
    (app('[web]\nwsgi = "a:b"\ncommand = "x"'), "web.command: cannot be set beside wsgi"),
    (app('[web]\nwsgi = "a.b"'), 'web.wsgi: must be a callable such as "shop.wsgi:application", not "a.b"'),
    (app('[web]\nwsgi = "a:b; rm -rf /"'), "web.wsgi: must be"),
    (app('[web]\nasgi = "a:b()"'), 'web.asgi: must not end in "()"'),
    (app('[web]\nwsgi = "a:b"\nserver = "uvicorn"'), 'web.server: must be "gunicorn" for wsgi'),
    (app('[web]\nasgi = "a:b"\nserver = "gunicorn"'), 'web.server: must be "uvicorn" or "hypercorn"'),
    (app('[web]\nserver = "waitress"'), 'web.server: must be "gunicorn" (wsgi)'),
    (app('[web]\ncommand = "x"\nserver = "gunicorn"'), "web.server: has no meaning beside command"),
    (app('[web]\ncommand = "x"\nargs = ["y"]'), "web.args: has no meaning beside command"),
    (app('[web]\ncommand = "x \'y"'), "web.command: is not a command that can be read"),
    (app('[web]\ncommand = "  "'), "web.command: is empty"),
    (app('[web]\ncommand = "a\\nb"'), "web.command: must be one line"),
    (app("[web]\nworkers = 0"), "web.workers: must be a whole number from 1 to 256, not 0"),
    (app("[web]\nworkers = 257"), "web.workers: must be"),
    (app("[web]\nworkers = true"), "web.workers: must be a whole number from 1 to 256, not true"),
    (app('[web]\nargs = ["--bind=0.0.0.0:80"]'), "web.args: must not hold --bind: deployer sets it"),
    (app('[web]\nargs = ["-w", "3"]'), "web.args: must not hold -w: deployer sets it; use web.workers"),
    (app('[web]\nargs = ["a\\nb"]'), "web.args: must not hold control characters"),
    (app('[web]\nmemory = "lots"'), 'web.memory: must be an amount such as "300M" or "2G", not "lots"'),
    (app('[web]\noverlap = "no"'), 'web.overlap: must be true or false, not "no"'),
    (app('[web.health]\npath = "healthz"'), 'web.health.path: must be a path such as "/healthz"'),
    (app('[web.health]\npath = "/a b"'), "web.health.path: must be"),
    (app('[web.health]\npath = "/a\\r\\nX: y"'), "web.health.path: must be"),
    (app('[web.health]\nhost = "a\\r\\nX: y"'), "web.health.host: must be"),
    (app('[web.health]\nstatus = "2xx"'), 'web.health.status: must be a status such as "200"'),
    (app('[web.health]\nstatus = "399-200"'), "web.health.status: must be"),
    (app("[web.health]\nstatus = []"), "web.health.status: must be"),
    (app("[web.health]\ntimeout = 0"), "web.health.timeout: must be a number of seconds from 0.1"),
    (app("[web.health]\ntimeout = nan"), "web.health.timeout: must be"),
    (app("[web.health]\nsettle = -1"), "web.health.settle: must be"),
    (app('[web.unit]\n"memory-max" = 1'), 'web.unit.memory-max: is not the name of a systemd directive'),
    (app('[web.unit]\nNice = 1\nMemoryMax = 1.5'), "web.unit.MemoryMax: "),
    (app('[web.unit]\nNice = "1\\nExecStart=/bin/sh"'), "web.unit.Nice: must be one line"),
    (app('[web.unit]\nNice = "1\\\\"'), "web.unit.Nice: must be one line, and not end with a backslash"),
    (app('[web.unit]\nReadWritePaths = ["a\\nb"]'), "web.unit.ReadWritePaths: must be one line"),
    (app("[release]\nkeep = 1"), "release.keep: must be a whole number from 2"),
    (app("[release]\ndrain = 0"), "release.drain: must be"),
    (app('[release]\nbuild = ["ok", "x \'"]'), "release.build[1]: is not a command that can be read"),
    (app('[release]\nmigrate = "a\\nb"'), "release.migrate: must be one line"),
    (app('[proxy]\ntls = "auto"'), "proxy.tls: needs domains"),
    (app('[proxy]\ntls = "yes"'), 'proxy.tls.mode: must be "auto", "front" or "off", not "yes"'),
    (app('[proxy]\ntls = { certificate = "/a" }'), "proxy.tls.key: is missing"),
    (app('[proxy]\ntls = { certificate = "a", key = "/b" }'), "proxy.tls.certificate: must be the path of a file"),
    (app('[proxy]\ntls = { certificate = "/a", key = "/b", mode = "auto" }'), "proxy.tls.mode: has no meaning"),
    (app('[proxy]\ntls = "front"\ndomains = "a.example"'), "proxy.tls: needs trusted"),
    (app('[proxy]\ndomains = "*.a.example"'), 'proxy.domains: has a "*"'),
    (app('[proxy]\ndomains = "a.example"\nhsts = "on"'), "proxy.hsts: must be a value such as"),
    (app('[proxy]\ndomains = "a.example"\nacme = { directory = "http://x" }'), "proxy.acme.directory: must be a URL"),
    (app('[proxy]\nkind = "caddy"\nlisten = [80, 81]'), "proxy.listen: must have one port"),
    (app('proxy = "apache"'), 'proxy.kind: must be "auto", "caddy", "nginx" or "none", not "apache"'),
    (app('[proxy]\nserver_name = "a.example"'), "proxy.server_name: there is no such key; it is called domains now"),
    (app('[proxy]\nkind = "nginx"\ndomains = "a; include /etc/passwd"'), "proxy.domains[0]: "),
    (app('[proxy]\nkind = "nginx"\ndomains = "$host"'), "proxy.domains[0]: "),
    (app('[proxy]\nkind = "nginx"\nlisten = "80; x"'), "proxy.listen: must be a port"),
    (app('[proxy]\nkind = "nginx"\nlisten = 65536'), "proxy.listen: must be a port"),
    (app('[proxy]\nkind = "nginx"\nclient_max_body_size = "10m; x"'), "proxy.client_max_body_size: must be"),
    (app('[proxy]\nkind = "nginx"\nstatic = { "/static/" = "a; b" }'), 'proxy.static."/static/": must'),
    (app('[proxy]\nkind = "nginx"\nstatic = { "/static/" = "../etc" }'), 'proxy.static."/static/": must'),
    (app('[proxy]\nkind = "nginx"\nstatic = { "/static/" = "/etc" }'), 'proxy.static."/static/": must name'),
    (app('[proxy]\nkind = "nginx"\nstatic = { "/a{b/" = "x" }'), 'proxy.static."/a{b/": is not a URL prefix'),
    (app('[proxy]\nkind = "nginx"\nstatic = { "/" = "x" }'), 'proxy.static."/": is not a URL prefix'),
    (app('[proxy]\nmedia = { "/media/" = "/var/lib/shop/media" }'), 'proxy.media."/media/": must name'),
    (app('[proxy]\nmedia = { "/media/" = "." }'), 'proxy.media."/media/": must'),
    (app('[proxy]\nstatic = { "/m/" = "a" }\nmedia = { "/m/" = "b" }'), "proxy.media: has /m/, which static has, too"),
    (app('[proxy]\nmedia = { "/a/" = "m", "/b/" = "m/b" }'), "proxy.media: has m/b: one of its directories lies in"),
    (app('environments = 3'), "environments: must be tables"),
    (app('environments.s = 3'), "environments.s: must be a table"),
    (app("web = 3"), "web: must be a table, not 3"),
    (app("release = 1979-05-27"), 'release: must be a table, not "1979-05-27"'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BAD)
def test_bad_values(refusal, text: str, told: str) -> None:
    """A value that a key does not accept is refused by path, in words of ours."""
    message = refusal(text)
    assert told in message
    assert len(message.split("\n")) == 1, message
    for word in ("Expected", "regex", "array", "Object", "null", "`int`", "$."):
        assert word not in message


@pytest.mark.parametrize("name", [*sorted(RESERVED), "DEPLOYER_X", "LD_PRELOAD", "LD_LIBRARY_PATH"])
def test_reserved_names(refusal, name: str) -> None:
    """Variables that systemd or deployer sets cannot be set in the file."""
    assert f"env.{name}: is set by systemd or by deployer" in refusal(app(f'[env]\n{name} = "x"'))


@pytest.mark.parametrize("name", ["LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "STATE_DIRECTORY", "PATH", "PYTHONHOME"])
def test_the_essential_names_are_reserved(name: str) -> None:
    """The names that would break socket activation, readiness or the interpreter are in the list."""
    assert name in RESERVED


def test_all_problems_are_told_at_once_in_order_of_lines(refusal) -> None:
    """Three mistakes give three lines, each with its own line number."""
    message = refusal('app = "shop"\n[web]\nworkers = 0\nwokers = 1\n[release]\nkeep = 0')
    assert [line.split(": ")[:2] for line in message.split("\n")] == [
        ["3", "web.workers"], ["4", "web.wokers"], ["6", "release.keep"],
    ]  # fmt: skip


def test_syntax_errors_have_a_line(refusal) -> None:
    """What is not TOML is refused with its line, also at the end of the file."""
    assert refusal('app = "shop"\n\nx = = 1').startswith("3: this is not TOML: ")
    assert refusal('app = "shop"\nhosts = [').startswith("2: this is not TOML: ")


def test_missing_file_names_init(tmp_path: Path) -> None:
    """Without a file the message says where it was looked for and what to type."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "deploy.toml")
    assert caught.value.message == f"deploy.toml not found in {tmp_path}"
    assert caught.value.next.commands == ("deployer init",)


def test_unreadable_files_are_config_errors(tmp_path: Path) -> None:
    """A directory and a file that is not UTF-8 are refused, not a traceback."""
    (tmp_path / "latin").write_bytes(b'app = "\xff"')
    for path, told in ((tmp_path, "cannot be read"), (tmp_path / "latin", "not UTF-8")):
        with pytest.raises(ConfigError, match=told):
            load(path)


STAGES = """
app = "shop"
hosts = ["web1", "web2"]
[env]
A = "1"
B = "2"
[web]
wsgi = "a:b"
server = "gunicorn"
workers = 8
[environments.staging]
hosts = ["staging"]
proxy = "nginx"
env = { B = "3" }
[environments.staging.web]
asgi = "c:d"
"""


def test_environments_override(toml) -> None:
    """Tables are merged, lists and strings replaced, and asgi takes the place of wsgi and of its server."""
    config = toml(STAGES, "staging")
    assert config.hosts == ("staging",)
    assert config.env == {"A": "1", "B": "3"}
    assert (config.web.workers, config.web.wsgi, config.web.asgi) == (8, None, "c:d")
    assert (config.web.server_name, config.proxy.kind) == ("uvicorn", "nginx")


def test_the_base_is_untouched_by_environments(toml) -> None:
    """Without an environment none of its keys are used."""
    config = toml(STAGES)
    assert (config.hosts, config.env["B"], config.web.wsgi, config.proxy.kind) == (
        ("web1", "web2"),
        "2",
        "a:b",
        None,
    )


def test_unknown_environments_are_refused(refusal) -> None:
    """An environment that does not exist is refused with the nearest, or the list."""
    assert "did you mean staging?" in refusal(STAGES, "stagin")
    assert "environments: staging" in refusal(STAGES, "qqq")
    assert "it has no [environments.NAME]" in refusal(app(""), "staging")


def test_environments_that_are_not_asked_for_are_checked(refusal) -> None:
    """A mistake in any environment is found each time, with its own path and line."""
    message = refusal(app("[environments.staging.web]\nworkers = 0"))
    assert message.startswith("3: environments.staging.web.workers: must be")


def test_a_mistake_of_the_base_is_told_once(refusal) -> None:
    """What is wrong at the top is not repeated for each environment."""
    message = refusal(app('[web]\nworkers = 0\n[environments.a]\nhosts = ["x"]\n[environments.b]\nhosts = ["y"]'))
    assert message.count("workers") == 1


def test_a_key_that_must_be_there_is_told_of_once(refusal) -> None:
    """Not again for each environment; and what else is wrong with the file is found as well."""
    message = refusal(
        app(
            '[processes.worker]\ncommand = ""\n[processes.other]\n[hosts.a]\nprocesses = ["worker", "other"]\n'
            '[release]\nkeep = 0\n[environments.s.processes.worker]\ncount = 2\n[environments.t]\npython = "3.12"'
        )
    )
    assert message.split("\n") == [
        "3: processes.worker.command: is empty",
        '4: processes.other.command: is missing; it must be a command, in one line, such as "celery -A shop worker"',
        "8: release.keep: must be a whole number from 2 to 1000, not 0",
    ]


def test_an_environment_s_own_mistake_is_told_though_the_base_has_it_too(refusal) -> None:
    """Where both say something wrong, both are told."""
    message = refusal(app('[processes.a]\ncommand = ""\n[environments.s.processes.a]\ncommand = " "'))
    assert [line.split(": ")[:2] for line in message.split("\n")] == [
        ["3", "processes.a.command"],
        ["5", "environments.s.processes.a.command"],
    ]


def test_the_app_s_name_is_missed_once(refusal) -> None:
    """There is nothing around it that could be left out."""
    message = refusal('[web]\nworkers = 0\n[environments.s]\npython = "3.12"')
    assert message.split("\n") == [
        "1: app: is missing; it must be a name of at most 24 lower-case letters, digits and single dashes, "
        "a letter first",
        "2: web.workers: must be a whole number from 1 to 256, not 0",
    ]


def test_the_reference_page_is_current() -> None:
    """docs/reference/deploy-toml.md is what the schema says today."""
    page = ROOT / "docs" / "reference" / "deploy-toml.md"
    assert page.read_text(encoding="utf-8") == describe.markdown(), f"type: python -m deployer.config.describe {page}"


def test_every_key_is_described() -> None:
    """Each key says what it is and what it expects."""
    from deployer.config.declare import keys_of, paths

    for path in paths(Config):
        table = Config
        for part in path[:-1]:
            table = keys_of(table)[part].table
        key = keys_of(table)[path[-1]]
        assert key.description and key.expects, path


@pytest.fixture
def dotenv(tmp_path: Path):
    """A function that reads a text as a dotenv file."""

    def read(text: str) -> dict[str, str]:
        path = tmp_path / ".env"
        path.write_text(text, encoding="utf-8")
        return {name: value.reveal() for name, value in read_env_file(path).items()}

    return read


def test_dotenv_is_read_as_python_dotenv_reads_it(dotenv) -> None:
    """Quotes, export, comments and escapes mean what they mean to python-dotenv."""
    text = "# c\nA=1\nexport B='x y' # c\nC=\"l1\\nl2\"\nD=\n\nE=a$(id)%b\nF='pa$$ \"q\"'\n"
    assert dotenv(text) == {
        "A": "1", "B": "x y", "C": "l1\nl2", "D": "", "E": "a$(id)%b", "F": 'pa$$ "q"',
    }  # fmt: skip


def test_dotenv_fills_in_from_the_file_only(dotenv, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference is filled in from above in the file, even where this machine has such a variable."""
    monkeypatch.setenv("DB_USER", "laptop")
    assert dotenv("DB_USER=shop\nURL=pg://${DB_USER}@${HOST:-db}/")["URL"] == "pg://shop@db/"


def test_dotenv_refuses_references_to_this_machine(dotenv, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference to a name that the file does not set is refused with its line, and no value is shown."""
    monkeypatch.setenv("ELSEWHERE", "laptop")
    with pytest.raises(ConfigError, match=r"\.env:2: URL uses a variable") as caught:
        dotenv("A=1\nURL=hunter2${ELSEWHERE}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A=1\n\nPATH=/x", r":3: 'PATH' is set by systemd"),
        ("A=1\nB.C=2", r":2: 'B.C' is not a name"),
        ("A=1\nnothing\n", r":2: not a line such as NAME=value"),
        ("A='open\n", r":1: not a line such as NAME=value"),
        ('A="hunter2\\a"', r":1: the value of A holds a control character"),
    ],
)
def test_dotenv_refuses_with_its_line(dotenv, text: str, told: str) -> None:
    """What cannot be a variable is refused with file and line, and no value is shown."""
    with pytest.raises(ConfigError, match=told) as caught:
        dotenv(text)
    assert "hunter2" not in str(caught.value)


def test_a_missing_dotenv_file_is_named(tmp_path: Path) -> None:
    """A file that does not exist is a ConfigError with its path."""
    with pytest.raises(ConfigError, match="does not exist"):
        read_env_file(tmp_path / "none.env")


def test_secrets_are_masked(tmp_path: Path) -> None:
    """A secret shows itself to no format, no repr and no pickle."""
    import pickle

    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {[secret]} {vars(type(secret))}"
    assert "hunter2" not in shown and "****" in shown
    assert secret == Secret("hunter2") and secret != Secret("x") and secret.reveal() == "hunter2"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_loading_leaves_the_environment_alone(dotenv) -> None:
    """Reading a dotenv file sets nothing in this process."""
    dotenv("DEPLOY_TEST_MARK=1")
    assert "DEPLOY_TEST_MARK" not in os.environ


def test_a_file_that_is_right_is_not_looked_through_key_by_key(toml, monkeypatch: pytest.MonkeyPatch) -> None:
    """That finds out what is wrong with others, and takes longer than the rest."""
    monkeypatch.setattr("deployer.config.problems.unknown_keys", None)
    assert toml(app('[web]\nworkers = 2\n[processes.worker]\ncommand = "work"')).web.workers == 2


def test_every_table_refuses_keys_that_it_does_not_have() -> None:
    """By itself: a file is only looked through when a table refuses it."""
    seen: set[type] = set()

    def look(table: type[Struct]) -> None:
        if table not in seen:
            seen.add(table)
            for key in keys_of(table).values():
                for below in (key.table, key.each, key.beside):
                    if below is not None:
                        look(below)

    look(Config)
    assert len(seen) > 10
    assert [table.__name__ for table in seen if not table.__struct_config__.forbid_unknown_fields] == []
