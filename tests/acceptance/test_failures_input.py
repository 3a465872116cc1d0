"""Values, names and refs that a shell, systemd or a path could misunderstand: correct, or refused."""

from __future__ import annotations

import json
import secrets
import urllib.parse
from collections.abc import Iterator

import pytest

from deployer.project.source import from_git
from deployer.sandbox import SandboxHost
from tests.support.failures import Shop

pytestmark = pytest.mark.acceptance
MARK = f"secret-{secrets.token_hex(8)}"
"""Part of every secret value, so that it can be looked for."""
VALUES = {
    "SPACES": "  MARK  two  spaces  ",
    "QUOTES": 'MARK "double" \'single\' "',
    "BACKSLASHES": r"MARK \ \\ \n \" end\\",
    "NEWLINES": "MARK\n\nthree\nlines\n",
    "TABS": "\tMARK\t",
    "COMMANDS": "MARK $(id) `id` $((1+1)); id | id & id > /tmp/x",
    "SPECIFIERS": "MARK %n %% %i %H",
    "VARIABLES": "MARK $HOME $PATH $$ %PATH%",
    "COMMENT": "MARK # no comment ; nor this",
    "EQUALS": "MARK=a=b",
    "UNICODE": "MARK Ärger 雪 🚀 \u200b \u2028",
    "EMPTY": "",
}
OPEN = {f"TEST_OPEN_{name}": value.replace("MARK", "open") for name, value in VALUES.items()}
SECRET = {f"TEST_SECRET_{name}": value.replace("MARK", MARK) for name, value in VALUES.items()}
LEAKS = f"""
grep -rIls {MARK} /etc /run /srv/shop /var/lib /var/log /var/tmp /tmp /usr/local/lib/deployer 2>/dev/null
true
"""


@pytest.fixture(scope="module")
def _shop(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(bookworm, tmp_path_factory.mktemp("input") / "shop")
    shop.site.wipe()
    yield shop
    shop.site.wipe()


@pytest.fixture
def shop(_shop: Shop) -> Shop:
    return _shop.ready()


def toml(value: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(value, ensure_ascii=False).replace("\u2028", "\\u2028")


def dotenv(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def test_values_of_the_environment_arrive_as_they_are(shop: Shop) -> None:
    """From [env] and from env_file, byte for byte; the secret ones can be read by root and the process alone."""
    shop.configure(env="\n".join(f"{name} = {toml(value)}" for name, value in OPEN.items()))
    shop.edit('app = "shop"', 'app = "shop"\nenv_file = ".env.production"')
    shop.project.write(".gitignore", ".env*\n")
    shop.project.commit("ignore secrets")
    shop.project.write(".env.production", "".join(f"{name}={dotenv(value)}\n" for name, value in SECRET.items()))
    shop.host.run("systemd-run -q --unit=watch-ps sh -c 'while :; do ps axww -o args; done > /run/seen-by-ps'")
    try:
        with shop.site.under_load(clients=1):
            ended = shop.site.deploy()
    finally:
        shop.host.run(["systemctl", "stop", "watch-ps"])
    assert {name: arrived(shop, name) for name in (*OPEN, *SECRET)} == {**OPEN, **SECRET}
    assert MARK not in ended.text
    assert int(shop.host.run(f"grep -c gunicorn /run/seen-by-ps; ! grep {MARK} /run/seen-by-ps").stdout) > 0
    assert shop.host.run(f"journalctl --no-pager -o json | grep -c {MARK}", check=False).stdout == "0\n"
    for user in ("nobody", "www-data", "deploy", "shop"):
        assert shop.host.run(["runuser", "-u", user, "--", "sh", "-c", LEAKS]).stdout == "", user
    found = shop.host.run(["sh", "-c", LEAKS]).stdout.split()
    assert f"/srv/shop/releases/{shop.site.serving}/env" in found
    modes = shop.host.run(["stat", "-c", "%a %U", *found]).stdout.split("\n")[:-1]
    assert set(modes) == {"600 root"}


def arrived(shop: Shop, name: str) -> str:
    return str(shop.site.get(f"/env?key={urllib.parse.quote(name)}")["value"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('app = "shop"', 'app = "../shop"', "app: must be a name of at most"),
        ('app = "shop"', 'app = "shop $(id)"', "app: must be a name of at most"),
        ("[env]", '[env]\nLD_PRELOAD = "x"', "env.LD_PRELOAD"),
        ("[env]", '[env]\n"A B" = "x"', "A B"),
        ("[env]", '[env]\nBELL = "\\u0007"', "env.BELL"),
        ("[web]", "[web]\nworker = 2", "workers"),
        ('path = "/healthz"', 'path = "/health z"', "web.health.path"),
    ],
)
def test_a_deploy_toml_that_cannot_be_meant(shop: Shop, old: str, new: str, says: str) -> None:
    """Refused on this machine, naming the file and the key, before a connection is used."""
    shop.edit(old, new)
    ended = shop.site.expect(2, "deploy", "--json")
    failed = ended.event("failed")
    assert "deploy.toml" in failed["message"]
    assert says in failed["message"]
    assert not [event for event in ended.events if event["event"] == "connected"]


@pytest.mark.parametrize(
    "ref", ["$(touch /tmp/executed)", "../main", "--output=/tmp/executed", "a\nb", "no such branch"]
)
def test_a_ref_that_is_none(shop: Shop, ref: str) -> None:
    """Refused as a ref; neither a shell nor git takes it for anything else."""
    shop.host.run("rm -f /tmp/executed")
    ended = shop.site.expect(2, "deploy", "--json", f"--ref={ref}")
    assert ended.event("failed")["state"] == "nothing was touched"
    assert shop.host.run("test ! -e /tmp/executed").returncode == 0


def test_paths_with_odd_names_arrive(shop: Shop) -> None:
    """Files named after the syntax of shells and of systemd ship like any other."""
    names = ["a b.txt", "$(id).txt", "%n.txt", "'quote\".txt", "-rf", "ümlaut/雪.txt", "back\\slash"]
    shop.project.change(files={f"odd/{name}": name for name in names})
    shop.site.deploy("--no-migrate")
    listed = shop.host.run("cd /srv/shop/current/code/odd && find . -type f -printf '%P\\n'").stdout
    assert sorted(listed.splitlines()) == sorted(names)
    assert not [name for name in names if shop.host.run(["cat", f"/srv/shop/current/code/odd/{name}"]).stdout != name]


def test_a_file_that_the_repository_has_lost(shop: Shop) -> None:
    """Its digest is known from before, so it is missed when it is to be sent: git's words are told, nothing is sent."""
    shop.project.change(files={"lost.txt": "lost"})
    from_git(shop.project.path)
    name = shop.project.git("rev-parse", "HEAD:lost.txt").strip()
    place = shop.project.path / f".git/objects/{name[:2]}/{name[2:]}"
    content = place.read_bytes()
    place.unlink()
    shop.refuses(f"{name} missing", exit=2, next="git fsck")
    place.write_bytes(content)
    shop.site.deploy()
