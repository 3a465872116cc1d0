"""The certificate authorities this machine trusts, so that hosts trust the same package index."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from deployer.sandbox.contents.files import File

HOST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
SYSTEM_BUNDLES = (HOST_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def machine_bundle(environment: Mapping[str, str]) -> str:
    """The PEM text of the authorities this machine trusts; empty when none is found."""
    named = [environment[name] for name in BUNDLE_VARIABLES if environment.get(name)]
    for candidate in (*named, *SYSTEM_BUNDLES):
        path = Path(candidate)
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return ""


def extra_authorities(machine: str, image: str) -> tuple[File, ...]:
    """The certificates in `machine` that `image` lacks, as files that `update-ca-certificates` picks up."""
    known = {_body(pem) for pem in _PEM.findall(image)}
    missing = {_body(pem): pem for pem in _PEM.findall(machine) if _body(pem) not in known}
    return tuple(
        File(
            path=f"/usr/local/share/ca-certificates/machine-{hashlib.sha256(body.encode()).hexdigest()[:12]}.crt",
            content=pem.encode() + b"\n",
        )
        for body, pem in sorted(missing.items())
    )


def _body(pem: str) -> str:
    return "".join(pem.split())
