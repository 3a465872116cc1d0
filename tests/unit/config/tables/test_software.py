"""``[host]``: what may be asked of a host's package manager, and how data services are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.config import Config, load
from deployer.errors import ConfigError
from deployer.project.locks.lockfile import Lock
from deployer.release.setup import setup_request
from deployer.wire.setup.request import Setup
from deployer.wire.setup.software import Postgresql, Redis, Software

KEY = ("ssh-ed25519 AAAA ada",)


def config(path: Path, text: str) -> Config:
    (path / "deploy.toml").write_text(f'app = "shop"\n{text}')
    return load(path / "deploy.toml")


def test_what_a_host_is_asked_for(tmp_path: Path) -> None:
    """All of it reaches the host: with what the lock says of Python, and the defaults of an empty table."""
    asked = config(tmp_path, '[host]\npackages = ["libpq5", "g++"]\n[host.postgresql]\n[host.redis]\nmemory = "64M"\n')
    lock = Lock(kind="uv", path="uv.lock", files=("uv.lock",), requires=">=3.12")
    request = Setup.parse(setup_request(asked, KEY, (), lock=lock))
    assert request.software == Software(
        requires=">=3.12",
        packages=("libpq5", "g++"),
        postgresql=Postgresql(backups=7),
        redis=Redis(memory=64 << 20),
    )
    assert Setup.parse(setup_request(config(tmp_path, 'python = "3.13"'), KEY, ())).software.python == "3.13"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('packages = ["nginx-"]', "host.packages[0]"),
        ('packages = ["-o"]', "host.packages[0]"),
        ('packages = ["libpq5=1"]', "host.packages[0]"),
        ('packages = ["a b"]', "host.packages[0]"),
        ('packages = ["gettext", "gettext"]', "gettext is named twice"),
        ('packages = "gettext"', "host.packages: must be a list of packages"),
        ('pakages = ["gettext"]', "did you mean packages?"),
        ('python_mirror = "https://me:secret@mirror/x"', "host.python_mirror: must be a URL"),
        ("[host.postgresql]\nbackups = -1", "host.postgresql.backups: must be a whole number from 0 to 3660"),
        ('[host.redis]\nmemory = "1K"', 'host.redis.memory: must be an amount from "1M" to "1T"'),
        ("[host.redis]\nsize = 1", "host.redis.size: there is no such key"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the file, the line and the key: a name that apt-get would read as something else above all."""
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, f"[host]\n{text}\n")
    assert "deploy.toml:" in caught.value.message and message in caught.value.message


def test_a_service_on_several_hosts_is_refused(tmp_path: Path) -> None:
    """Each would have data of its own; an environment with a single host may have one."""
    several = 'hosts = ["web1", "web2"]\n'
    with pytest.raises(ConfigError, match="is for a single host, and there are 2"):
        config(tmp_path, f"{several}[host.redis]\n")
    alone = config(tmp_path, f'{several}[environments.staging]\nhosts = ["s1"]\n[environments.staging.host.redis]\n')
    assert alone.host.services == ()
