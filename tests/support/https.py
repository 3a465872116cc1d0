"""The sample shop behind HTTPS on a host, which asks itself by name: its certificates are from a private authority."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from deployer.sandbox import Preparation, SandboxHost, up
from deployer.sandbox.load import Load
from tests.support.acme import ROOT
from tests.support.ready import SOURCES
from tests.support.site import Site, make_site

NAME, OTHER = "shop.test", "www.shop.test"
PACKAGES = "caddy certbot pebble nghttp2-client openssl"
INSTALL = f"""set -e
systemctl mask --runtime caddy.service pebble.service
apt-get -q update >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install {PACKAGES} >/dev/null
systemctl unmask --runtime caddy.service pebble.service
systemctl disable --now certbot.timer
mkdir -p /etc/systemd/system/caddy.service.d
printf '[Service]\\nLimitNOFILE=16384\\n' > /etc/systemd/system/caddy.service.d/sandbox.conf
systemctl daemon-reload
"""
"""Nothing of it starts: other hosts of this machine share port 80. It allows fewer open files than Caddy's unit."""


@dataclass(frozen=True)
class Answer:
    """What a server answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass
class SecureSite(Site):
    """The shop, asked from its own host: ``curl`` there knows the names."""

    @property
    def url(self) -> str:
        return f"https://{self.host.address}"

    def proxy(self, text: str) -> None:
        """Write and commit the [proxy] table."""
        path = self.project.path / "deploy.toml"
        table = f'[proxy]\nlisten = "{self.host.address}:80"\n{text}\n'
        path.write_text(re.sub(r"\[proxy\]\n.*?(?=\[env\])", lambda _: table, path.read_text(), flags=re.DOTALL))
        self.project.commit("proxy")

    def ask(self, url: str, *options: str) -> Answer:
        """One request over HTTP/1.1 with a verified certificate. SandboxCommandError when there is no answer."""
        argv = ["curl", "-sS", "--http1.1", "--cacert", ROOT, *(options if "-D" in options else ("-i", *options)), url]
        said = self.host.run(shlex.join(argv)).stdout.replace("\r", "")
        head, _, body = said.partition("\n\n")
        first, *lines = head.splitlines()
        pairs = (line.partition(":") for line in lines)
        return Answer(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)

    def serial(self, name: str = NAME) -> str:
        """The serial number of the certificate that is served; empty when there is none."""
        connect = f"echo | openssl s_client -connect {self.host.address}:443 -servername {name} 2>/dev/null"
        return self.host.run(f"{connect} | openssl x509 -noout -serial 2>/dev/null", check=False).stdout.strip()

    def load(self, path: str = "/work?ms=20", **options: object) -> Load:
        return Load(self.url + path, host_header=NAME, **options)  # type: ignore[arg-type]


def secure_host() -> SandboxHost:
    """A Debian 13 host with both proxies and a private authority installed, and the shop's dependencies built."""
    return up(distribution="trixie", preparation=Preparation(name="https", key=_digest(), act=_prepare))


def secure_site(host: SandboxHost, path: Path) -> SecureSite:
    """A fresh project, which is not set up."""
    made = make_site(host, path)
    return SecureSite(host=made.host, project=made.project, app=made.app)


def _prepare(host: SandboxHost) -> None:
    host.run(INSTALL, timeout=600)


def _digest() -> str:
    return hashlib.sha256(f"{INSTALL}{SOURCES}".encode()).hexdigest()
