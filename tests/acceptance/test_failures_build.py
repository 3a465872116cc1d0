"""Releases that cannot be built, or whose units the host refuses: nothing of them stays, the old one serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost
from tests.support.failures import Shop

pytestmark = pytest.mark.acceptance
BUILD = 'build = ["python manage.py collectstatic --noinput"]'


@pytest.fixture(scope="module")
def _shop(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(bookworm, tmp_path_factory.mktemp("build") / "shop")
    shop.site.wipe()
    yield shop
    shop.site.wipe()


@pytest.fixture
def shop(_shop: Shop) -> Shop:
    return _shop.ready()


def requirements(shop: Shop) -> str:
    return (shop.project.path / "requirements.txt").read_text()


def test_a_dependency_that_does_not_exist(shop: Shop) -> None:
    """The resolver's own words are shown, and no half-made environment stays."""
    shop.project.change(files={"requirements.txt": requirements(shop) + "no-such-package-as-this==1.0\n"})
    shop.refuses("installing the dependencies failed", phase="build", logs="no-such-package-as-this was not found")
    shop.recovers()


def test_a_server_that_is_not_among_the_dependencies(shop: Shop) -> None:
    """gunicorn is missing: said before anything starts, with the file to add it to."""
    shop.project.change(files={"requirements.txt": "asgiref\n"})
    shop.refuses(
        "gunicorn is not among the installed dependencies (requirements.txt)",
        phase="build",
        next="add gunicorn to",
    )
    shop.recovers()


def test_a_python_that_the_host_lacks(shop: Shop) -> None:
    """The version asked for is not on the host: said at once, with what the host has, and no package that is none."""
    shop.edit('app = "shop"', 'app = "shop"\npython = "3.8"')
    ended = shop.refuses("this host has no python3.8", phase="upload", next='set python = "3.11" in deploy.toml')
    assert "apt-get install" not in ended.err
    shop.recovers()


def test_a_build_command_that_fails(shop: Shop) -> None:
    """All it printed is shown, on both of its outputs, to people too."""
    shop.edit(BUILD, 'build = ["echo to stdout; echo to stderr >&2; exit 3"]')
    ended = shop.refuses("failed (exit status 3)", phase="build", logs="to stdout\nto stderr", next="fix it")
    assert [event["line"] for event in ended.events if event["event"] == "output"] == [
        "to stdout",
        "to stderr",
    ]
    read = shop.site.expect(5, "deploy")
    assert "to stdout" in read.err
    assert "to stderr" in read.err
    assert "uninterrupted" in read.err
    assert read.out == ""
    shop.recovers()


def test_a_build_cannot_write_where_it_has_no_business(shop: Shop) -> None:
    """It runs as the deploy user, and may write to its own tree alone."""
    tried = ("/srv/shop/mine", "~deploy/mine", "~deploy/.ssh/mine", "../mine", "/etc/mine", "/run/mine")
    script = "; ".join(["id -un", *(f"! touch {path}" for path in tried), "touch mine", "false"])
    shop.edit(BUILD, f'build = ["{script}"]')
    ended = shop.refuses("failed (exit status 1)", phase="build", logs="Read-only file system")
    lines = ended.event("failed")["logs"]
    assert lines[0] == "deploy"
    assert len([line for line in lines if line.startswith("touch: ")]) == len(tried)


def test_a_build_command_that_changes_shipped_files(shop: Shop) -> None:
    """What it changed or removed is not what the next upload may build on: a one-line change arrives whole."""
    shop.edit(BUILD, "build = [\"echo '# altered' >> manage.py; rm catalog/static/catalog/site.css\"]")
    shop.site.deploy("--no-migrate")
    shop.project.change(version="2")
    ended = shop.site.deploy("--no-migrate")
    assert ended.event("phase.done", phase="upload")["detail"].startswith("3 of ")
    assert shop.site.get()["version"] == "2"
    assert shop.host.run("grep -c altered /srv/shop/current/code/manage.py").stdout == "1\n"
    shop.recovers()
    assert shop.host.run("test -s /srv/shop/current/code/catalog/static/catalog/site.css").returncode == 0


@pytest.mark.parametrize(
    ("unit", "says", "next"),
    [
        ('MemoryMax = "lots"', "web.unit.MemoryMax: systemd does not accept 'lots' here", "correct [web.unit]"),
        (
            'ExecStartPre = "+/bin/sh"',
            "web.unit.ExecStartPre: this directive may not be set",
            "--allow-unit ExecStartPre",
        ),
        ('User = "root"', "web.unit.User: this directive may not be set", "--allow-unit User"),
        (
            'AmbientCapabilities = "CAP_SYS_ADMIN"',
            "web.unit.AmbientCapabilities: this",
            "--allow-unit AmbientCapa",
        ),
    ],
)
def test_an_override_that_is_not_allowed(shop: Shop, unit: str, says: str, next: str) -> None:
    """Refused before anything is done, naming the directive and what would allow it."""
    shop.configure(web=f"unit = {{ {unit} }}")
    shop.refuses(says, exit=2, next=next)


def test_an_override_that_systemd_would_ignore(shop: Shop) -> None:
    """systemd carries on without a line it cannot read: its own check is asked first, its words are shown."""
    shop.configure(web='unit = { IPAddressDeny = "nowhere" }')
    shop.refuses("systemd does not accept the release's units", phase="install", logs="nowhere", next="[web.unit]")
    shop.recovers()


def test_hardening_can_be_relaxed(shop: Shop) -> None:
    """Lines of the hardening give way to [web.unit], and only those."""
    shop.configure(web='unit = { ProtectHome = "no", PrivateTmp = false, MemoryMax = "1G" }')
    shop.site.deploy("--no-migrate")
    names = ("ProtectHome", "PrivateTmp", "MemoryMax", "PrivateDevices", "NoNewPrivileges")
    shown = shop.host.run(["systemctl", "show", "-p", ",".join(names), f"shop-web@{shop.site.serving}.service"]).stdout
    assert dict(line.split("=") for line in shown.split()) == {
        "ProtectHome": "no",
        "PrivateTmp": "no",
        "MemoryMax": str(1 << 30),
        "PrivateDevices": "yes",
        "NoNewPrivileges": "yes",
    }


def test_root_allows_another_directive(shop: Shop) -> None:
    """The command that the refusal names works: after it, the same deploy gets through."""
    shop.configure(web='unit = { LimitMEMLOCK = "65536" }')
    shop.refuses("web.unit.LimitMEMLOCK", exit=2, next="--allow-unit LimitMEMLOCK")
    shop.site.expect(0, "setup", "--allow-unit", "LimitMEMLOCK", user="root")
    shop.site.deploy("--no-migrate")
    unit = f"shop-web@{shop.site.serving}.service"
    assert shop.host.run(["systemctl", "show", "-P", "LimitMEMLOCK", unit]).stdout == "65536\n"
    shop.site.setup()
