"""What root asks for at set-up, checked before anything is done; and the program that is sent before there is one."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from deployer.host.proxy import nginx
from deployer.host.proxy.site import site_of
from deployer.host.setup import main as setup_main
from deployer.host.setup.program import install, launcher_of
from deployer.host.state.paths import AppPaths
from deployer.remote.program import BOOTSTRAP, TOO_OLD, host_program
from deployer.wire.protocol import Exit, dumps
from deployer.wire.setup.request import Setup
from deployer.wire.site import ProxySite

SITE: dict[str, Any] = ProxySite(
    domains=("shop.example.com",), static=(("/static/", "staticfiles"),), tls="auto"
).as_json()
GOOD: dict[str, Any] = {
    "app": "shop",
    "deploy_user": "deploy",
    "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ada@laptop"],
    "units": [],
    "proxy": "nginx",
    "site": SITE,
}
BAD: list[dict[str, Any]] = [
    {"app": "Shop"},
    {"app": "../shop"},
    {"app": "shop\n"},
    {"app": "x" * 25},
    {"app": "deployer"},
    {"app": "deployer-shop"},
    {"app": "shop-build"},
    {"app": "shop-migrate"},
    {"deploy_user": "root"},
    {"deploy_user": "shop"},
    {"deploy_user": "de ploy"},
    {"deploy_user": "ALL"},
    {"deploy_user": "%sudo"},
    {"deploy_user": "deploy\nroot"},
    {"keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]},
    {"keys": ["ssh-ed25519 AAAA x\nssh-ed25519 BBBB y"]},
    {"keys": ['command="id" ssh-ed25519 AAAA x']},
    {"keys": ["ssh-ed25519 $(id)"]},
    {"keys": ["-v ssh-ed25519"]},
    {"units": ["User=root"]},
    {"units": ["memoryMax"]},
    {"proxy": "apache"},
    {"site": None},
    {"site": {**SITE, "domains": ["a; include /etc/passwd"]}},
    {"site": {**SITE, "listen": []}},
    {"site": {**SITE, "listen": ["80; user root"]}},
    {"site": {**SITE, "listen": ["unix:/tmp/x"]}},
    {"site": {**SITE, "client_max_body_size": "1m; user root"}},
    {"site": {**SITE, "static": {"/": "staticfiles"}}},
    {"site": {**SITE, "static": {"/a b/": "staticfiles"}}},
    {"site": {**SITE, "static": {"/static": "staticfiles"}}},
    {"site": {**SITE, "static": {"/static/": "../.."}}},
    {"site": {**SITE, "static": {"/static/": "/etc"}}},
    {"site": {**SITE, "static": {"/static/": "a/../../b"}}},
    {"site": {**SITE, "static": {"/static/": "x; }"}}},
    {"site": {**SITE, "more": 1}},
    {"more": 1},
]


def test_a_good_request_is_read(tmp_path: Path) -> None:
    """The control: the request that the bad ones here are made from is accepted."""
    assert Setup.parse(GOOD).app == "shop"


@pytest.mark.parametrize("change", BAD, ids=[str(one)[:60] for one in BAD])
def test_a_bad_request_is_refused_before_anything(change: dict[str, Any]) -> None:
    """What could end up in sudoers, in nginx's files or in a unit is matched strictly: exit 2, nothing done."""
    events: list[dict[str, Any]] = []

    def emit(name: str, **fields: Any) -> None:
        events.append({"event": name, **fields})

    assert setup_main.main(io.BytesIO(dumps({**GOOD, **change})), emit, b"") == Exit.USAGE
    assert [event["event"] for event in events] == ["failed", "finished"]
    assert events[0]["state"] == "nothing was touched"


def test_the_site_follows_no_link_and_keeps_nothing_alive() -> None:
    """Static files are served from the code alone, and connections to the app are not pooled."""
    site = ProxySite.parse({**SITE, "static": {"/static/": "static/dist/"}})
    text = nginx.render(site_of(site, AppPaths("my-shop")), ipv6=True)
    root = "root /srv/my-shop/current/code/static/dist;\n        disable_symlinks on from=/srv/my-shop/current/code;"
    assert root in text
    assert "disable_symlinks on from=/srv/my-shop/assets;" in text
    assert "keepalive" not in text
    assert "map $http_upgrade $deployer_my_shop_connection { default upgrade; '' close; }" in text


def test_the_site_goes_where_this_nginx_looks(tmp_path: Path) -> None:
    """Debian's nginx reads sites-enabled, nginx's own packages conf.d; the workers' user is read, not guessed."""
    assert nginx.site_path("shop", tmp_path) == tmp_path / "conf.d/deployer-shop.conf"
    assert nginx.worker_user(tmp_path) == "www-data"
    (tmp_path / "sites-enabled").mkdir()
    (tmp_path / "nginx.conf").write_text("# user nobody;\nuser  nginx;\nworker_processes 1;\n")
    assert nginx.site_path("shop", tmp_path) == tmp_path / "sites-enabled/deployer-shop.conf"
    assert nginx.worker_user(tmp_path) == "nginx"


def written(directory: Path) -> dict[Path, tuple[int, int]]:
    """Which file lies where, and when it was written."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in directory.rglob("*")}


@pytest.mark.skipif(os.geteuid() != 0, reason="the program is installed as root")
def test_a_program_is_installed_once_and_mended_when_bent(tmp_path: Path) -> None:
    """The second time nothing is written; a file that was cut short is put right."""
    program = host_program()
    directory, launcher = tmp_path / program.digest, tmp_path / "deployer-host"
    assert install(program.content, tmp_path) == [
        f"version {program.digest[:12]} of deployer-host",
        str(launcher),
    ]
    before = written(tmp_path)
    assert install(program.content, tmp_path) == []
    assert written(tmp_path) == before
    (directory / "deployer/host/job/main.py").write_text("")
    assert install(program.content, tmp_path) == [f"version {program.digest[:12]} of deployer-host"]
    assert (directory / "deployer/host/job/main.py").read_text()
    assert launcher.read_text() == launcher_of(directory)


def bootstrap(program: bytes, *arguments: str, before: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run the text that a host's python3 is given, with another program than ours."""
    argv = [sys.executable, "-I", "-c", before + BOOTSTRAP, *arguments]
    return subprocess.run(argv, input=program, capture_output=True, timeout=60)


def archive(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("deployer/__init__.py", "deployer/host/__init__.py"):
            file.writestr(name, "")
        file.writestr("deployer/host/__main__.py", text)
    return buffer.getvalue()


PROGRAM = archive("import sys\ndef set_up(program):\n    print(len(program), sys.stdin.buffer.read())\n    return 7\n")
PACKED = zlib.compress(PROGRAM)
OTHER = zlib.compress(PROGRAM[:-1] + b"x")


def test_an_old_python_is_told_before_anything_else() -> None:
    """A host whose python3 is too old says so, by an exit status that is told from all others."""
    before = "import sys; sys.version_info = (3, 8, 19, 'final', 0); sys.version = '3.8.19 (old)'\n"
    done = bootstrap(b"", "0", "", before=before)
    assert done.returncode == TOO_OLD
    assert done.stderr == b"deployer needs Python 3.9 or newer on the host; its python3 is 3.8.19"


@pytest.mark.skipif(os.geteuid() != 0, reason="the host program runs as root only")
def test_the_program_that_was_sent_runs_and_leaves_nothing() -> None:
    """It gets its own bytes, what follows them on standard input, and decides the exit status; no file stays."""
    digest = hashlib.sha256(PROGRAM).hexdigest()
    before = set(Path("/run").glob("deployer-*"))
    done = bootstrap(PACKED + b"request", str(len(PACKED)), digest)
    assert (done.returncode, done.stdout) == (7, f"{len(PROGRAM)} b'request'\n".encode()), done.stderr
    assert set(Path("/run").glob("deployer-*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="the host program runs as root only")
@pytest.mark.parametrize(
    ("sent", "size", "told"),
    [
        (PACKED[:-1] + bytes([PACKED[-1] ^ 1]), len(PACKED), b"did not arrive as it was sent"),
        (OTHER, len(OTHER), b"did not arrive as it was sent"),
        (PACKED[:-1], len(PACKED), b"before the host program"),
    ],
)
def test_a_program_that_did_not_arrive_whole_is_not_run(sent: bytes, size: int, told: bytes) -> None:
    """Damaged, another one or cut short: it is said, and nothing of it runs."""
    done = bootstrap(sent, str(size), hashlib.sha256(PROGRAM).hexdigest())
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stdout == b""
