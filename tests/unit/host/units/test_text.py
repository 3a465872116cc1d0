"""Units, overrides and environment files, as text."""

from __future__ import annotations

import pytest

from deployer.host.errors import BadRequest
from deployer.host.state.paths import AppPaths, stop_unit
from deployer.host.units.confinement import LINES, override
from deployer.host.units.overrides import ALLOWED, check
from deployer.host.units.text import Capabilities, app_unit, argv, service_unit, socket_unit, stopping_unit
from deployer.host.units.unitfile import exec_line
from deployer.wire.environment import environment_file
from deployer.wire.release.processes import Web

PATHS = AppPaths("shop")


def web(**changes: object) -> Web:
    values: dict[str, object] = {
        "server": "gunicorn", "target": "shop.wsgi:application", "workers": 3, "args": (), "memory": 0, "unit": (),
    }  # fmt: skip
    return Web(**{**values, **changes})  # type: ignore[arg-type]


def service(web_: Web) -> str:
    return service_unit(web_, PATHS, 42, drain=30, start=20, can=Capabilities())


def lines(text: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


def test_each_release_has_its_own_socket_and_paths() -> None:
    """The units of a release name that release's socket, code, environment and nobody else's."""
    socket = socket_unit(PATHS, 42, "www-data")
    assert lines(socket, "ListenStream") == ["/srv/shop/releases/v42/run/web.sock"]
    assert lines(socket, "SocketMode") == ["0660"]
    text = service(web())
    assert lines(text, "EnvironmentFile") == ["/srv/shop/releases/v42/env"]
    assert lines(text, "Requires") == ["shop-web@v42.socket"]
    assert lines(text, "User") == ["shop"]


@pytest.mark.parametrize(
    ("server", "kind", "part"),
    [("gunicorn", "notify", "--workers 3"), ("uvicorn", "exec", "--fd 3"), ("hypercorn", "exec", "--bind fd://3")],
)
def test_each_server_serves_on_the_inherited_socket(server: str, kind: str, part: str) -> None:
    """Only gunicorn notifies systemd; uvicorn and hypercorn are told the descriptor."""
    text = service(web(server=server))
    assert lines(text, "Type") == [kind]
    assert part in lines(text, "ExecStart")[0]


def test_everything_runs_in_the_directory_of_the_app() -> None:
    """The service starts there, and a program of the code is seen from there."""
    free = web(server="command", target="", args=("bin/serve",))
    can = Capabilities(directory="backend")
    text = service_unit(free, PATHS, 42, drain=30, start=20, can=can)
    assert lines(text, "WorkingDirectory") == ["/srv/shop/releases/v42/code/backend"]
    assert lines(text, "ExecStart") == ["/srv/shop/releases/v42/code/backend/bin/serve"]
    assert lines(service(free), "WorkingDirectory") == ["/srv/shop/releases/v42/code"]


def test_a_free_command_is_looked_up_in_the_virtual_environment() -> None:
    """A bare program name is the release's own; an absolute path stays."""
    free = web(server="command", target="", args=("daphne", "--fd", "3", "shop.asgi:application"))
    assert argv(free, PATHS, 42, 30, Capabilities())[0] == "/srv/shop/releases/v42/venv/bin/daphne"
    absolute = web(server="command", target="", args=("/usr/bin/node", "x"))
    assert argv(absolute, PATHS, 42, 30, Capabilities())[0] == "/usr/bin/node"


def test_gunicorns_control_socket_is_off_only_where_the_option_exists() -> None:
    """An option that an older server does not know would stop it from starting."""
    assert "--no-control-socket" not in argv(web(), PATHS, 1, 30, Capabilities())
    assert "--no-control-socket" in argv(web(), PATHS, 1, 30, Capabilities(gunicorn_control_socket=True))


_ESCAPES = {"t": "\t", "n": "\n", "\\": "\\", '"': '"'}


def read_back(text: str) -> list[str]:
    """The words that systemd makes of an Exec line (systemd.service(5)). Raises ValueError for what it would expand, or
    take for something else."""
    words: list[str] = []
    word, quoted, rest = "", False, iter(f"{text} ")
    begun = plain = False
    for character in rest:
        if character == "\\":
            word, begun = word + _ESCAPES[next(rest)], True
        elif character == '"':
            quoted, begun, plain = not quoted, True, False
        elif character == " " and not quoted:
            if word == ";" and plain:
                raise ValueError("another command would begin")
            words += [undoubled(undoubled(word, "%"), "$")] if begun else []
            word, begun, plain = "", False, False
        elif character < " " or (character == "'" and not quoted):
            raise ValueError(f"{character!r} has a meaning of its own")
        else:
            word, plain, begun = word + character, not begun or plain, True
    if quoted:
        raise ValueError("a quote is open")
    return words


def undoubled(word: str, mark: str) -> str:
    pieces = word.split(mark * 2)
    if any(mark in piece for piece in pieces):
        raise ValueError(f"{mark} would be expanded in {word!r}")
    return mark.join(pieces)


WORDS = [
    "%n", "%", "100%", "$HOME", "${HOME}", "$$", "a b", 'say "x"', "it's", "back\\slash", "tab\t", "two\nlines", "",
    "per%cent$", ";", "\\n", "%%", "-x", "é",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_a_command_line_is_never_expanded_or_split(word: str) -> None:
    """Specifiers and variables are doubled, the rest quoted: systemd reads back the word itself."""
    name, line = exec_line(["/bin/x", word, "last"])
    assert name == "ExecStart"
    assert read_back(line) == ["/bin/x", word, "last"]


@pytest.mark.parametrize("line", ["/bin/x %n", "/bin/x $HOME", "/bin/x ; y", "/bin/x 'a", '/bin/x "a', "/bin/x %%%"])
def test_the_reader_of_this_test_can_fail(line: str) -> None:
    """What is not quoted is not read back."""
    with pytest.raises(ValueError):
        read_back(line)


def test_how_long_a_stop_and_how_it_is_done() -> None:
    """Requests in flight get ``drain``, and systemd five seconds more; the server alone is asked first."""
    text = service(web())
    assert lines(text, "TimeoutStopSec") == ["35"]
    assert lines(text, "KillMode") == ["mixed"]
    assert lines(text, "TimeoutStartSec") == ["20"]
    assert "--graceful-timeout 30" in lines(text, "ExecStart")[0]


def test_an_override_replaces_the_generated_line() -> None:
    """A relaxed hardening line is there once, with the new value."""
    text = service(web(unit=(("ProtectHome", ("read-only",)), ("MemoryMax", ("1G",)))))
    assert lines(text, "ProtectHome") == ["read-only"]
    assert lines(text, "MemoryMax") == ["1G"]
    assert lines(text, "ProtectSystem") == ["strict"]


def test_a_list_override_resets_the_directive_first() -> None:
    """Filters add up in systemd: an override that is a list starts from nothing."""
    filters = override(LINES, (("SystemCallFilter", ("@system-service", "@resources")),))
    assert [value for name, value in filters if name == "SystemCallFilter"] == ["", "@system-service", "@resources"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ExecStartPre", "/bin/sh"), ("User", "root"), ("AmbientCapabilities", "CAP_SYS_ADMIN"),
        ("EnvironmentFile", "/etc/shadow"), ("MemoryMax", "lots"), ("NoNewPrivileges", "no"), ("Nice", "-20"),
        ("RootDirectory", "/"), ("SupplementaryGroups", "root"), ("BindPaths", "/etc"), ("LimitNOFILE", "many"),
    ],
)  # fmt: skip
def test_directives_that_give_power_or_make_no_sense_are_refused(name: str, value: str) -> None:
    """What deploy.toml may override is an allow-list, and its values are checked."""
    with pytest.raises(BadRequest) as caught:
        check([("web", ((name, (value,)),))])
    assert name in caught.value.message


def test_root_can_widen_the_list() -> None:
    """A directive that root allowed at set-up passes."""
    check([("web", (("CPUSchedulingPolicy", ("batch",)),))], also=["CPUSchedulingPolicy"])


def test_every_hardening_line_that_can_be_relaxed_is_on_the_list() -> None:
    """But for those that would hand out privileges."""
    fixed = {"CapabilityBoundingSet", "AmbientCapabilities", "SystemCallErrorNumber"}
    assert {name for name, _ in LINES} - set(ALLOWED) == fixed


def test_the_handle_calls_the_root_owned_program() -> None:
    """systemctl start, stop and reload reach the host program, and boot starts it."""
    text = app_unit("shop", "/x/deployer-host")
    assert lines(text, "ExecReload") == ["/x/deployer-host reload shop"]
    assert lines(text, "WantedBy") == ["multi-user.target"]


def test_what_stops_an_app_that_did_not_start_is_there_before_it_and_part_of_it() -> None:
    """systemd runs no ``ExecStop=`` of a unit whose start has failed, or did not end."""
    unit, text = stop_unit("shop"), stopping_unit("shop", "/x/deployer-host")
    assert unit in lines(app_unit("shop", "/x/deployer-host"), "After")[0].split()
    assert lines(app_unit("shop", "/x/deployer-host"), "Wants") == [unit]
    assert (lines(text, "PartOf"), lines(text, "RemainAfterExit")) == (["shop.service"], ["yes"])
    assert "$$(systemctl show" in lines(text, "ExecStop")[0]


def test_an_environment_file_escapes_what_systemd_would_read_otherwise() -> None:
    """Quotes, backslashes, dollars and backticks are escaped; newlines and percent signs stand as they are."""
    text = environment_file({"A": 'x"\\$`', "B": "two\nlines", "C": "100%"}).decode()
    assert text == 'A="x\\"\\\\\\$\\`"\nB="two\nlines"\nC="100%"\n'


@pytest.mark.parametrize("key", ["processes.worker", "timers.tidy"])
def test_how_long_a_stop_takes_is_said_in_one_place(key: str) -> None:
    """Who waits for a process to end must know how long that may take."""
    with pytest.raises(BadRequest) as caught:
        check([(key, (("TimeoutStopSec", ("1h",)),))])
    assert f"{key}.unit.TimeoutStopSec" in caught.value.message
