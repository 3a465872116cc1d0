"""Every server that deployer knows, and a command of one's own, on the socket that systemd holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost
from tests.support.site import Site, make_site
from tests.support.traffic import change, note, strays

pytestmark = pytest.mark.acceptance

PLAIN = """\
app = "shop"
[web]
{web}
health = {{ path = "/healthz", settle = 0.5, timeout = 15 }}
[release]
watch = 1
drain = 10
[proxy]
kind = "nginx"
listen = "{address}:80"
"""
BROKEN = "raise RuntimeError('this version does not import')\n"


@dataclass(frozen=True)
class Server:
    """A way to serve the bare ASGI app; ``type`` is what systemd is told of its start."""

    name: str
    web: str
    type: str = "exec"


SERVERS = [
    Server("uvicorn", 'asgi = "plain:app"\nworkers = 1'),
    Server("uvicorn with 2 workers", 'asgi = "plain:app"\nworkers = 2'),
    Server("hypercorn", 'asgi = "plain:app"\nserver = "hypercorn"\nworkers = 2'),
    Server("a command", 'command = "uvicorn --fd 3 --no-access-log plain:app"'),
]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name.replace(" ", "-"))
def test_a_bare_asgi_app(bookworm: SandboxHost, tmp_path: Path, server: Server) -> None:
    """Deployed, deployed again, and a version that does not import refused: no request fails, GET or POST."""
    site = make_site(bookworm, tmp_path / "plain", app="plain_asgi")
    site.wipe()
    site.project.write("deploy.toml", PLAIN.format(web=server.web, address=bookworm.address))
    site.project.change(version="1")
    site.deploy()
    lose_nothing(site, {"plain.py": BROKEN}, server.name)
    assert properties(site)["Type"] == server.type


def test_django_under_uvicorn(site: Site) -> None:
    """The shop's ASGI application: the same, and the exposure is as low as under gunicorn."""
    site.configure(workers=1, web='asgi = "shop.asgi:application"')
    site.deploy()
    lose_nothing(site, {"FAULT.txt": "import-error\n"}, "Django under uvicorn")
    assert properties(site)["Type"] == "exec"
    assert exposure(site) <= 1.5


def test_django_under_gunicorn_is_hardened(deployed: Site) -> None:
    """It serves with an exposure of at most 1.5, and tells systemd itself when it is ready."""
    assert deployed.get()["version"] == "1"
    assert properties(deployed)["Type"] == "notify"
    assert exposure(deployed) <= 1.5


def lose_nothing(site: Site, broken: dict[str, str], what: str) -> None:
    """A good deploy and a broken one under load: the first switches, the second is refused, and nothing is lost."""
    body = b"0123456789abcdef" * 1280
    with (
        site.under_load(clients=6, pause=0.02) as load,
        site.under_load("/echo", clients=2, method="POST", body=body, pause=0.02) as posts,
    ):
        site.project.change(version="2")
        switch = change(site.deploy(), "2")
        site.project.change(version="3", files=broken)
        site.deploy(expect=5)
        assert site.get()["version"] == "2"
    for one in (load, posts):
        note(one.stop(), what)
        assert strays(one.stop(), "1", [switch]) == []


def unit(site: Site) -> str:
    return f"shop-web@{site.serving}.service"


def properties(site: Site) -> dict[str, str]:
    shown = site.host.run(f"systemctl show {unit(site)}").stdout
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def exposure(site: Site) -> float:
    """The number in the last line of ``systemd-analyze security``."""
    last = site.host.run(f"systemd-analyze security --no-pager {unit(site)}").stdout.strip().splitlines()[-1]
    print(last)
    return float(last.rpartition(": ")[2].split()[0])
