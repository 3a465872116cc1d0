"""The contract: what the laptop's configuration accepts, the host's strict reader accepts, for every rule."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.commands.console.run import refuse_none
from deployer.commands.console.terminal import described
from deployer.config import Config, LocalEnvironment, load
from deployer.config.environment.secret import Secret
from deployer.config.load import convert
from deployer.errors import ConfigError
from deployer.host.processes.run import RunRequest
from deployer.project.locks.lockfile import Lock
from deployer.project.source import Source
from deployer.release.setup import setup_request
from deployer.release.spec import environment_of, spec_of
from deployer.remote.console import Command
from deployer.remote.site import who
from deployer.rollout.waves import Strategy, waves
from deployer.wire import environment
from deployer.wire.environment import parse_environment, parse_names
from deployer.wire.message import LONGEST
from deployer.wire.protocol import MOST_BY, dumps
from deployer.wire.reader import Reader
from deployer.wire.release.spec import Spec
from deployer.wire.setup.request import Setup
from deployer.wire.tree.entries import Entries

SOURCE = Source(root=Path(), entries=Entries(()), ref="main", contents=cast(Any, None))
LOCK = Lock(kind="requirements", path="requirements.txt", files=("requirements.txt",))

FITTING = (
    "shop", "a-build", "deployer-x", "root", "3.12", "3.123", "shop.wsgi:application", "shop.wsgi:make()", "é.wsgi:app",
    "/healthz", "/static/", "/./", "/../", "static", "a/../b", "/bin/true", "../x", "./bin/x", "80", "0", "65536",
    "99999", "[::]:80", "a:80", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "fe80::1%eth0", "::/0", "10m", "10M", "daily",
    "*:0/15", "100-599", "200", "99", "300M", "9999999999G", "[::1]:8000", "a.example:80", "deploy",
    "python x.py 'a b'", "max-age=3600; preload", "auto", "front", "/etc/ssl/a.pem", "https://ca.example/dir",
    "ada@example.com", "caddy", "*.a.example",
    "python x.py 'a b'", "libpq5", "g++", "nginx-", "x.*", "https://m.example.com/a", "http://u:p@m/", "file:///srv/m",
)  # fmt: skip
"""What fits one key or another."""
ODD = ("", " ", "\t", "\n", "\0", "\x7f", "\x85", "é", "١", "\u2028", "\\", "..", "~", "%n", "$", "*", "{host}", '"')
"""What a pattern is likely to have forgotten."""
NAMES = ("Nice", "A", "Memory2Max", "N" * 42, "PATH", "WATCHDOG_X", "PYTHONSTARTUP", "LD_X", "A_1", "/a/", "a", "web")
SIZES = (41, 42, 254, 256, 1025, 2049, 4097, 16384, 16385, 131072)
BOUNDS = (0, 0.05, 0.1, 1, 2, 50, 64, 65, 256, 257, 600, 601, 1000, 1001, 3600, 3601, 86400, 86401, 604800, 604801)
BOUNDLESS = (-1, 1 << 60, 1 << 61, 1 << 80, 1e300, 1e-9, math.nan, math.inf, -math.inf, True, "1")

Values = Sequence[Any]
TEXTS: Values = (
    *FITTING, *ODD, *(f"a{odd}b" for odd in ODD), "80\n", "/a/\n", "daily\n", *("a" * size for size in SIZES),
    *("/" + "a" * size for size in SIZES), "x " * 255 + "x", "x " * 256 + "x", "a.b:" + "c" * 255,
)  # fmt: skip
NUMBERS: Values = (*BOUNDS, *BOUNDLESS)
LISTS: Values = (
    *([text] for text in (*FITTING, *ODD)), ["a" * 16385], *([text] * 257 for text in ("a", "80", "10.0.0.1")), [],
    ["200"] * 21,
)  # fmt: skip
TABLES: Values = (
    *({name: "static"} for name in (*NAMES, "/./", "/a b/")),
    *({"A": text, "/a/": "b"} for text in (*ODD, "a" * 131072)),
    *({"/a/": text} for text in (*ODD, *FITTING, "a" * 4097)),
    *({"a/": text, "b": "c"} for text in (*ODD, *FITTING, "a" * 255, "a" * 256, "c", "c/d", f"{'a/' * 512}a")),
    *({text: "a"} for text in ("a/b/", ".git/", ".deployer-shared", "a" * 256, "a//", "./a", "a/../b")),
    *({text: "x", "a/": "y"} for text in ("a", "a/b", "ab")),
    {f"p{one}": f"q{one}" for one in range(65)}, {f"A{one}": "x" for one in range(2001)},
)  # fmt: skip
UNITS: Values = (
    *({name: "1"} for name in NAMES), *({"Nice": text} for text in (*ODD, "1G", "a" * 16385, False, *NUMBERS)),
    *({"Nice": items} for items in (["a"], ["a"] * 33, [1, "b"], [])),
)  # fmt: skip
PROCESSES: Values = (
    *({name: {"command": "x"}} for name in (*NAMES, *ODD, "p" * 24, "p" * 25, "p-q", "p_q")),
    *({f"p{one}": {"command": "x"} for one in range(count)} for count in (50, 51)),
)  # fmt: skip

SERVICES: Values = (
    *({"backups": number} for number in (*NUMBERS, 7, 3660, 3661)),
    *({"memory": text} for text in (*FITTING, *ODD, "1M", "1T", "2T")), {}, [], "yes", True,
)  # fmt: skip
LISTED = (
    "host.packages",
    "dependencies.groups",
    "dependencies.extras",
    "web.args",
    "release.build",
    "web.health.status",
    "proxy.domains",
    "proxy.listen",
    "proxy.listen_tls",
    "proxy.trusted",
)
RULES: dict[str, Values] = {
    **dict.fromkeys(
        (
            "app", "deploy_user", "python", "directory", "web.wsgi", "web.asgi", "web.command", "web.memory",
            "web.health.path", "web.health.host", "release.migrate", "processes.p.command", "processes.p.check",
            "timers.t.command", "timers.t.calendar", "proxy.client_max_body_size", "proxy.hsts", "proxy.tls",
            "proxy.tls.certificate", "proxy.acme.directory", "proxy.acme.ca", "proxy.acme.email", "proxy.kind",
            "host.python_mirror",
        ),
        TEXTS,
    ),
    **dict.fromkeys(
        (
            "web.workers", "web.health.timeout", "web.health.settle", "release.build_timeout", "release.keep",
            "release.migrate_timeout", "release.watch", "release.drain", "processes.p.count", "processes.p.stop",
            "timers.t.timeout", "proxy.timeout",
        ),
        NUMBERS,
    ),
    **dict.fromkeys((*LISTED, "env_required"), LISTS),
    **dict.fromkeys(("env", "proxy.static", "proxy.media", "release.shared"), TABLES),
    **dict.fromkeys(("web.unit", "processes.p.unit", "timers.t.unit"), UNITS),
    **dict.fromkeys(("host.postgresql", "host.redis"), SERVICES),
    "processes": PROCESSES,
}  # fmt: skip
"""Every key whose value reaches a host, and what is tried there."""
ANY = st.text(max_size=8) | st.integers() | st.floats() | st.lists(st.text(max_size=5), max_size=3) | st.dictionaries(
    st.text(max_size=5), st.text(max_size=5) | st.integers(), max_size=2
)  # fmt: skip


def written(key: str, value: Any) -> dict[str, Any]:
    """A file that is right but, perhaps, for the value of one key."""
    raw: dict[str, Any] = {
        "app": "shop", "web": {}, "release": {}, "proxy": {"kind": "nginx", "domains": ["a.example"]},
        "processes": {"p": {"command": "work"}}, "timers": {"t": {"command": "tidy", "calendar": "daily"}},
    }  # fmt: skip
    if key not in ("web.asgi", "web.command"):
        raw["web"]["wsgi"] = "shop.wsgi:application"
    if key == "proxy.tls.certificate":
        raw["proxy"]["tls"] = {"key": "/etc/ssl/key.pem"}
    *tables, last = key.split(".")
    table = raw
    for name in tables:
        table = table.setdefault(name, {})
    table[last] = value
    return raw


def accepted(raw: dict[str, Any]) -> Config | None:
    """The configuration, where the laptop accepts it."""
    configs, problems = convert(raw)
    return None if problems else configs[None]


def agree(key: str, value: Any) -> None:
    """Nothing passes the laptop that the host's readers refuse, or read as something else."""
    config = accepted(written(key, value))
    if config is None:
        return
    chosen = config.dependencies
    spec = spec_of(config, SOURCE, replace(LOCK, groups=chosen.groups, extras=chosen.extras))
    assert Spec.parse(json.loads(dumps(spec.as_json()))) == spec
    assert parse_environment(environment_of(config, LocalEnvironment())) == config.env
    assert parse_names(list(config.env_required), "required") == config.env_required
    Setup.parse(json.loads(dumps(setup_request(config, ("ssh-ed25519 AAAA ada",), ()))))


@pytest.mark.parametrize("key", RULES)
def test_what_the_laptop_accepts_the_host_accepts(key: str) -> None:
    """No value passes deploy.toml and is refused by a host: not for its form, its length, its range or its number."""
    for value in RULES[key]:
        agree(key, value)


@given(st.sampled_from(sorted(RULES)), ANY)
@settings(deadline=None)
def test_what_nobody_thought_of_is_accepted_by_both_or_refused_here(key: str, value: Any) -> None:
    """The same, of any value for any key."""
    agree(key, value)


@given(st.sampled_from([*sorted(environment.RESERVED), *NAMES]) | st.text(max_size=8), st.text(max_size=8))
@settings(deadline=None)
def test_both_halves_have_one_rule_for_a_variable(name: str, value: str) -> None:
    """[env] takes what the host takes, and nothing else."""
    try:
        parse_environment({name: value})
        fits = True
    except ValueError:
        fits = False
    assert (accepted(written("env", {name: value})) is not None) is fits


@pytest.mark.parametrize(
    "lock",
    [
        replace(LOCK, path="requirements.txt\n", files=("requirements.txt\n",)),
        replace(LOCK, files=("requirements.txt", "a\x7f")),
        replace(LOCK, requires="é"),
    ],
)
def test_what_the_project_asks_for_is_refused_before_it_is_sent(lock: Lock) -> None:
    """What is found in the project, not in deploy.toml, is held to the host's rules here as well."""
    config = accepted(written("app", "shop"))
    assert config is not None
    with pytest.raises(ConfigError, match="no host accepts"):
        spec_of(config, SOURCE, lock)


def test_an_environment_that_linux_cannot_pass_on_is_refused_here_and_there() -> None:
    """One of more than 2 MiB, though each variable is short enough; the message holds no value."""
    config = accepted(written("app", "shop"))
    assert config is not None
    secrets = {f"A{one}": Secret("hunter2" * 17000) for one in range(18)}
    with pytest.raises(ConfigError, match="2 MiB") as caught:
        environment_of(config, LocalEnvironment(file=secrets))
    assert "hunter2" not in str(caught.value)
    assert environment.MOST_BYTES < LONGEST


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_number_without_bounds_is_refused_where_it_stands(tmp_path: Path, value: str) -> None:
    """TOML has nan and inf; JSON has not. The error names the line and the key."""
    path = tmp_path / "deploy.toml"
    path.write_text(f'app = "shop"\n[web.health]\ntimeout = {value}\n')
    with pytest.raises(ConfigError, match=r"toml:3: web\.health\.timeout: must be a number of seconds"):
        load(path)


@pytest.mark.parametrize("batch", ["", "1", "9999", "10000", "1%", "100%", "101%", "0", "0%", "²", "2\n", "a"])
def test_a_batch_has_one_rule(batch: str) -> None:
    """deploy.toml takes what --batch takes."""
    fits = accepted(written("fleet", {"batch": batch})) is not None
    try:
        waves(["web1", "web2"], Strategy(batch=batch))
    except ConfigError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize(
    "argv",
    [["a"], ["a", "b\nc"], [], [""], ["a", "b\0"], ["a", "\udc80"], ["a"] * 1001, ["a" * 16385], ["a" * 9000] * 8],
)
def test_a_command_to_run_has_one_rule(argv: list[str]) -> None:
    """What a host refuses to run is refused before anything is connected."""
    try:
        RunRequest.parse(asked(argv=argv))
    except ValueError:
        with pytest.raises(ConfigError):
            refuse_none(argv)
    else:
        refuse_none(argv)


def asked(**options: Any) -> dict[str, Any]:
    """A command as a laptop asks for it."""
    message = Command(argv=("true",)).message("web1")
    return {**{key: value for key, value in message.items() if key != "op"}, **options}


@given(st.dictionaries(st.sampled_from(["TERM", "LANG", "LC_ALL", "LC_TIME", "PATH"]), st.text(max_size=80)))
def test_what_a_laptop_tells_of_its_terminal_is_what_a_host_accepts(environment: dict[str, str]) -> None:
    """The environment may hold anything; no command is refused for it, and no path gets through."""
    terminal = RunRequest.parse(asked(terminal={**described(environment), "rows": 24, "columns": 80})).terminal
    assert terminal is not None
    assert "/" not in f"{terminal.term}{terminal.locale}"


@pytest.mark.parametrize("name", ["ada", "a\nb", "é\x1b[2J", "x" * 500])
def test_who_asks_is_what_a_host_accepts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LOGNAME may hold anything; no host refuses a deploy for it."""
    monkeypatch.setenv("LOGNAME", name)
    assert Reader({"by": who()}, "request").text("by", length=MOST_BY)
