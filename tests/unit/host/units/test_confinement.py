"""What each kind of unit is confined to, line by line."""

from __future__ import annotations

import pytest

from deployer.host.errors import BadRequest
from deployer.host.units.confinement import DIFFERENCES, KINDS, LINES, lines, of_command, override, unknown_to
from deployer.host.units.overrides import check

APP = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
TemporaryFileSystem=/dev/shm:mode=1777,nosuid,nodev
DevicePolicy=closed
PrivateUsers=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources
SystemCallErrorNumber=EPERM
UMask=0077
"""
"""Written out again on purpose: a line that is lost, or weaker, must not pass by itself."""
BUILD = {
    "ProtectHome=tmpfs": "ProtectHome=yes",
    "MemoryDenyWriteExecute=no": "MemoryDenyWriteExecute=yes",
    "ProcSubset=all": "ProcSubset=pid",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK": "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "UMask=0022": "UMask=0077",
}
HIDDEN = ("/run/user", "/run/dbus", "/run/systemd/private", "/run/docker.sock", "/run/containerd", "/run/podman")


def text(kind: str) -> set[str]:
    return {f"{name}={value}" for name, value in lines(kind) if name != "InaccessiblePaths"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "build"])
def test_what_runs_as_the_app_has_every_line(kind: str) -> None:
    """The web process, workers, timers, migrations, checks and commands: no line fewer, none weaker."""
    assert text(kind) == set(APP.splitlines())


def test_a_build_differs_in_what_builds_need() -> None:
    """Compilers, node and the app's user: each difference says what for, and nothing else differs."""
    assert text("build") == set(APP.splitlines()) - set(BUILD.values()) - {"SystemCallFilter=~@resources"} | set(BUILD)
    assert all(one.why for one in DIFFERENCES["build"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_starts_programs_elsewhere_is_hidden(kind: str) -> None:
    """Buses, systemd, container engines; one that the host lacks stops nothing."""
    (hidden,) = (value.split() for name, value in lines(kind) if name == "InaccessiblePaths")
    assert {f"-{path}" for path in HIDDEN} <= set(hidden)
    assert all(path.startswith("-/") for path in hidden)


def test_lines_that_a_host_cannot_bear_are_left_out() -> None:
    """By name, or one of several of a name; no other goes with them."""
    without = frozenset({"PrivateUsers", "SystemCallFilter=~@resources"})
    left = lines("web", without=without)
    assert set(LINES) - set(left) == {("PrivateUsers", "yes"), ("SystemCallFilter", "~@resources")}
    assert ("PrivateUsers", "yes") in override(left, [("PrivateUsers", ("yes",))])  # said in deploy.toml, it is there


def test_an_old_systemd_is_asked_for_nothing_that_it_does_not_know() -> None:
    """systemd-run refuses a property that it does not know."""
    assert unknown_to(247) == {"PrivateIPC"}
    assert unknown_to(248) == frozenset()


def test_a_command_takes_the_apps_value() -> None:
    """What confines is as the app has it, with its value; restarts, memory and programs are the process's own."""
    unit = (
        ("ProcSubset", ("all",)), ("IPAddressDeny", ("any",)), ("MemoryMax", ("1G",)), ("Restart", ("always",)),
        ("ExecStartPre", ("+/bin/true",)), ("ReadWritePaths", ("/srv/data",)),
    )  # fmt: skip
    given = of_command("migrate", unit)
    borne = of_command("migrate", (), without=frozenset({"PrivateUsers", "SystemCallFilter=~@resources"}))
    missing = [line for line in LINES if line not in borne]
    assert missing == [("PrivateUsers", "yes"), ("SystemCallFilter", "~@resources")], "what this host cannot bear"
    assert [value for name, value in given if name == "ProcSubset"] == ["all"]
    assert {("IPAddressDeny", "any"), ("ReadWritePaths", "/srv/data")} <= set(given)
    assert not {"MemoryMax", "Restart", "ExecStartPre"} & {name for name, _ in given}


def test_hiding_one_more_path_shows_no_other() -> None:
    """A list that begins with an empty value starts from nothing, as systemd has it."""
    hidden = [value for name, value in LINES if name == "InaccessiblePaths"]
    more = override(LINES, [("InaccessiblePaths", ("/etc/shop",))])
    assert [value for name, value in more if name == "InaccessiblePaths"] == [*hidden, "/etc/shop"]
    own = override(LINES, [("InaccessiblePaths", ("", "/etc/shop"))])
    assert [value for name, value in own if name == "InaccessiblePaths"] == ["", "/etc/shop"]
    shared = override(LINES, [("TemporaryFileSystem", ("",))])
    assert [value for name, value in shared if name == "TemporaryFileSystem"] == [""]


@pytest.mark.parametrize("value", ["", "/dev/shm:size=64M,mode=1777", "/opt", "/opt:ro"])
def test_temporary_file_systems_may_be_set(value: str) -> None:
    """A path, with options that give nothing."""
    check([("web", (("TemporaryFileSystem", (value,)),))])


@pytest.mark.parametrize("value", ["opt", "/opt:suid", "/opt:dev", "/opt:rw,exec\nUser=root", "/opt bad"])
def test_other_mounts_may_not(value: str) -> None:
    """Set-id bits, devices, a second line."""
    with pytest.raises(BadRequest):
        check([("web", (("TemporaryFileSystem", (value,)),))])


REFUSED = [
    ("processes.worker", "TimeoutStopSec", ("5",), "may not be set here; use stop", "mend"),
    ("timers.sweep", "TimeoutStopSec", ("5",), "may not be set here; a run that is ended has 10 seconds", "mend"),
    ("web", "User", ("root",), "this directive may not be set from deploy.toml", "allow"),
    ("web", "MemoryMax", ("1 G",), "systemd does not accept '1 G' here", "mend"),
    ("web", "Nice", ("5", "6"), "takes one value, not 2", "mend"),
    ("web", "Nice", ("5", "6", "7"), "takes one value, not 3", "mend"),
]


@pytest.mark.parametrize(("key", "name", "values", "why", "then"), REFUSED)
def test_what_may_not_be_set_is_named_with_what_to_do(
    key: str, name: str, values: tuple[str, ...], why: str, then: str
) -> None:
    """The key as it stands in deploy.toml, why, and where it is mended or allowed; nothing was touched."""
    with pytest.raises(BadRequest) as caught:
        check([("web", (("MemoryMax", ("1G",)),)), (key, ((name, values),))], also=["Delegate"])
    assert caught.value.message == f"{key}.unit.{name}: {why}"
    assert caught.value.state == "nothing was touched"
    expected = {
        "mend": f"mend [{key}.unit] in deploy.toml, then fab deploy",
        "allow": f"fab setup -H root@HOST --allow-unit {name}   (as root: allows it for this app)",
    }
    assert str(caught.value.next) == expected[then]


def test_what_may_be_set_is_set() -> None:
    """A directive that adds up takes several values, any other one; of the web process its end, too; what root has
    allowed takes whatever it is given."""
    check([("web", (("TimeoutStopSec", ("5",)), ("SystemCallFilter", ("@mount", "@chown")), ("Nice", ("5",))))])
    check([("timers.sweep", (("TimeoutStopSec", ("%x", "y")), ("User", ("a\nb",))))], also=["TimeoutStopSec", "User"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_has_the_lines_of_its_own_kind(kind: str) -> None:
    """Whatever its process overrides that is no relaxation of them changes nothing."""
    assert of_command(kind, ()) == of_command(kind, (("Nice", ("5",)),)) == lines(kind)


@pytest.mark.parametrize(
    ("values", "written"), [(("a",), ["a"]), (("a", "b"), ["", "a", "b"]), (("", "a"), ["", "a"]), (("",), [""])]
)
def test_a_directive_that_adds_up_is_reset_once(values: tuple[str, ...], written: list[str]) -> None:
    """Where several values follow, and nobody has reset it: one value needs no reset."""
    found = override(lines("web"), (("SystemCallFilter", values),))
    assert [value for name, value in found if name == "SystemCallFilter"] == written
