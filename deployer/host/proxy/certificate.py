"""Certificates: what a file holds, what a proxy serves for a name, and what is wrong with it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import runner
from deployer.wire.lazydata import dataclass
from deployer.wire.site import Address

_SECONDS = 5.0
"""For one handshake."""
_DAY = 86400.0
_LOCAL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (asked, not bound)


@dataclass(frozen=True)
class Certified:
    """What a certificate says of itself. Times are in seconds since 1970."""

    names: tuple[str, ...]
    serial: str
    begins: float
    ends: float

    def covers(self, name: str) -> bool:
        """Whether it is for that name: a ``*`` stands for one label."""
        parent = name.partition(".")[2]
        return bool({name.lower(), f"*.{parent.lower()}"} & {one.lower() for one in self.names})

    def is_over(self, now: float) -> bool:
        return now >= self.ends

    def is_late(self, now: float) -> bool:
        """Whether less than a quarter of its life is left: Caddy and certbot renew when it is a third, and look again
        some times a day."""
        return self.ends - now < (self.ends - self.begins) / 4


def read(path: Path) -> Certified:
    """The first certificate in a PEM file. Raises HostError when it holds none, or cannot be read."""
    try:
        return _parse(path.read_bytes(), "PEM")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no certificate"
        raise HostError(f"{path} cannot be used: {why}") from None


def served(address: Address, name: str) -> Certified:
    """The certificate that answers for ``name`` at an address of this host; not verified.

    Raises OSError (ssl.SSLError is one) when nothing shakes hands there.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host = address.host.strip("[]")
    where = (_LOCAL.get(host, host), address.port)
    with socket.create_connection(where, _SECONDS) as plain, context.wrap_socket(plain, server_hostname=name) as shaken:
        found = shaken.getpeercert(True)
    try:
        return _parse(found or b"", "DER")
    except ValueError as error:
        raise OSError(str(error)) from None


def _parse(certificate: bytes, form: str) -> Certified:
    """Raises ValueError."""
    argv = ["openssl", "x509", "-inform", form, "-noout", "-serial", "-dates", "-ext", "subjectAltName"]
    done = runner.run(argv, stdin=certificate)
    return parse(done.out)


def parse(shown: str) -> Certified:
    """What ``openssl x509`` prints. Raises ValueError when something is missing. Pure."""
    import ssl

    lines = [line.strip() for line in shown.splitlines()]
    said = dict(line.partition("=")[::2] for line in lines if line.startswith(("serial=", "notBefore=", "notAfter=")))
    names = [part.strip() for line in lines if "DNS:" in line for part in line.split(",")]
    try:
        begins, ends = (float(ssl.cert_time_to_seconds(said[key])) for key in ("notBefore", "notAfter"))
        return Certified(tuple(one[4:] for one in names if one.startswith("DNS:")), said["serial"], begins, ends)
    except KeyError:
        raise ValueError("no certificate") from None


def pair_problem(chain: Path, key: Path) -> str:
    """Why a certificate and a private key do not belong together; empty when they do."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(str(chain), str(key), password=_no_password)
    except ssl.SSLError as error:
        return f"{chain} and {key} do not belong together, or are no PEM files ({error.reason or error})"
    except (OSError, ValueError) as error:
        return f"{chain} or {key} cannot be used: {getattr(error, 'strerror', None) or error}"
    return ""


def _no_password() -> str:
    raise ValueError("the private key is encrypted, and a proxy that starts by itself has nobody to ask")


def judge(name: str, found: Certified, now: float) -> str:
    """What is wrong with the certificate that is served for ``name``; empty when nothing is. Pure."""
    if not found.covers(name):
        return f"the certificate that is served for {name} is for {', '.join(found.names[:5]) or 'no name'}"
    if found.is_over(now):
        return f"the certificate of {name} expired {_ago(now - found.ends)} ago"
    if found.is_late(now):
        return f"the certificate of {name} ends in {_ago(found.ends - now)} and was not renewed"
    return ""


def _ago(seconds: float) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.0f} days"
    return f"{seconds / 3600:.0f} hours" if seconds >= 7200 else f"{max(seconds, 0) / 60:.0f} minutes"


def find(addresses: tuple[Address, ...], name: str) -> Certified | None:
    """The certificate that is served for ``name`` at the first of the addresses; None when there is none."""
    with contextlib.suppress(OSError, HostError):
        return served(addresses[0], name)
    return None
