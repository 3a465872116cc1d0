"""A private certificate authority on a test host: pebble, from Debian's package; its certificates live for seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deployer.sandbox import SandboxHost
from tests.support.site import wait_until

CA = "/etc/pebble/ca.pem"
ROOT = "/etc/pebble/root.pem"
"""What the certificates of the authority that runs are verified by; CA is what the authority itself is."""
UNIT = """\
[Service]
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0
ExecStart=/usr/bin/pebble -config /etc/pebble/test.json
"""
MAKE_KEYS = """set -e
mkdir -p /etc/pebble; cd /etc/pebble
new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
$new -x509 -days 2 -subj /CN=throw-away -keyout ca.key -out ca.pem
$new -subj /CN=acme.test -keyout api.key -out api.csr
printf 'subjectAltName=DNS:acme.test,IP:{address}\\n' > api.ext
openssl x509 -req -in api.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile api.ext -out api.pem
chmod 644 api.key
"""


@dataclass(frozen=True)
class Authority:
    """pebble on a host, which answers at that host's address and knows the names in its /etc/hosts."""

    host: SandboxHost

    @property
    def directory(self) -> str:
        return "https://acme.test:14000/dir"

    @property
    def toml(self) -> str:
        """The key of deploy.toml."""
        return f'acme = {{ directory = "{self.directory}", ca = "{CA}", email = "ada@example.com" }}'

    def prepare(self) -> None:
        """Where its package (``pebble``) is installed. It does not start by itself."""
        self.host.run(MAKE_KEYS.format(address=self.host.address))
        self.host.run(["tee", "/etc/systemd/system/test-pebble.service"], input=UNIT.encode())
        self.names("acme.test")

    def names(self, *names: str) -> None:
        """Names that lead to this host."""
        self.host.run(f"echo '{self.host.address} {' '.join(names)}' >> /etc/hosts")

    def start(self, *, validity: int = 3600, http_port: int = 80) -> None:
        """(Again), with certificates that are valid for so many seconds. It forgets accounts when it stops."""
        address = self.host.address
        settings = {
            "listenAddress": f"{address}:14000", "managementListenAddress": f"{address}:15000",
            "certificate": "/etc/pebble/api.pem", "privateKey": "/etc/pebble/api.key", "httpPort": http_port,
            "tlsPort": 443, "certificateValidityPeriod": validity, "retryAfter": {"authz": 0, "order": 0},
        }  # fmt: skip
        self.host.run(["tee", "/etc/pebble/test.json"], input=json.dumps({"pebble": settings}).encode())
        self.host.run("systemctl daemon-reload; systemctl restart test-pebble")
        ask = f"curl -sf --cacert {CA} {self.directory}"
        wait_until(lambda: self.host.run(ask, check=False).returncode == 0, "the authority answers")
        self.host.run(f"curl -sfk https://{address}:15000/roots/0 -o {ROOT}")

    def pause(self) -> None:
        """As in an outage: it takes connections and says nothing."""
        self.host.run("systemctl kill -s STOP test-pebble")

    def go_on(self) -> None:
        self.host.run("systemctl kill -s CONT test-pebble")

    def stop(self) -> None:
        self.host.run("systemctl stop test-pebble")
