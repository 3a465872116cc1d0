"""Certificates for nginx, by Debian's certbot: got once, then renewed by its own timer."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.proxy import certificate
from deployer.host.proxy.server import LINEAGES, lineage
from deployer.host.proxy.site import CHALLENGES
from deployer.host.system import files, runner, systemd
from deployer.wire.site import ProxySite

TIMERS = ("certbot.timer", "snap.certbot.renew.timer", "certbot-renew.timer")
"""What renews: of Debian's package, of the snap, of Fedora's package."""
ROOTS = Path("/etc/deployer/acme-roots.pem")
"""What a private directory is trusted by: the host's own roots, and those that deploy.toml names."""
DROP_IN = Path("/etc/systemd/system/certbot.service.d/deployer.conf")
_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")
_RENEWAL = Path("/etc/letsencrypt/renewal")
_LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_UNIT = f"""\
# Written by deployer: certbot renews from an authority of your own as well.
[Service]
Environment=REQUESTS_CA_BUNDLE={ROOTS}
"""
_LONGEST = 600.0
"""Seconds: an authority may take a while, and asks for each name."""


def order(site: ProxySite, app: str) -> list[str]:
    """The command that gets the certificate, or a new one when the names differ. Pure."""
    acme = site.acme
    contact = ["-m", acme.email, "--no-eff-email"] if acme.email else ["--register-unsafely-without-email"]
    return [
        "certbot", "certonly", "--webroot", "-w", str(CHALLENGES),
        *(part for name in site.domains for part in ("-d", name)),
        "--cert-name", lineage(app), "--non-interactive", "--agree-tos", *contact, "--keep-until-expiring",
        "--renew-with-new-domains", "--deploy-hook", "systemctl reload nginx",
        *(["--server", acme.directory] if acme.directory else []),
    ]  # fmt: skip


def has_certificate(app: str) -> bool:
    """Whether certbot renews a certificate of the app."""
    return (_RENEWAL / f"{lineage(app)}.conf").exists()


def is_good(site: ProxySite, app: str, now: float) -> bool:
    """Whether the host has a certificate for just these names, from this authority, with enough life left."""
    with contextlib.suppress(HostError, OSError):
        found = certificate.read(LINEAGES / lineage(app) / "fullchain.pem")
        from_there = server_of(files.read_text(_RENEWAL / f"{lineage(app)}.conf")) == (
            site.acme.directory or _LETSENCRYPT
        )
        return from_there and set(found.names) == set(site.domains) and not found.is_late(now)
    return False


def server_of(renewal: str) -> str:
    """The authority's directory in certbot's file about a certificate; empty when it does not say. Pure."""
    match = re.search(r"^server\s*=\s*(\S+)\s*$", renewal, re.MULTILINE)
    return match[1] if match else _LETSENCRYPT


def prepare(site: ProxySite) -> list[str]:
    """Make the directory of challenges and, for a private authority, have certbot trust it. Raises HostError."""
    changed = [str(CHALLENGES)] if files.own_directory(CHALLENGES, 0o755, 0, 0) else []
    if site.acme.ca:
        changed += _trust(Path(site.acme.ca))
    return changed


def _trust(ca: Path) -> list[str]:
    try:
        wanted = _SYSTEM.read_bytes().rstrip() + b"\n" + ca.read_bytes().strip() + b"\n"
    except OSError as error:
        raise HostError(f"{error.filename} cannot be read: {error.strerror}") from None
    if ROOTS.exists() and ROOTS.read_bytes() == wanted and DROP_IN.exists():
        return []
    files.write_file(ROOTS, wanted, 0o644)
    files.make_directory(DROP_IN.parent, 0o755)
    files.write_file(DROP_IN, _UNIT.encode(), 0o644)
    systemd.require("daemon-reload")
    return [str(ROOTS)]


def obtain(site: ProxySite, app: str) -> None:
    """Get the certificate. Raises HostError with certbot's own words."""
    environment = ["env", f"REQUESTS_CA_BUNDLE={ROOTS}"] if site.acme.ca else []
    done = runner.run([*environment, *order(site, app)], timeout=_LONGEST)
    if not done.ok:
        raise HostError(f"certbot got no certificate for {', '.join(site.domains)}", logs=said(done.tail(60)))
    if not renews():
        systemd.systemctl("enable", "--now", TIMERS[0])  # doctor says so when there is no such timer


def renews() -> bool:
    """Whether a timer renews certbot's certificates. Raises HostError."""
    return any(state.active == "active" for state in systemd.show_all(TIMERS).values())


def said(lines: Sequence[str]) -> list[str]:
    """What certbot said of its failure, without its advice to ask elsewhere. Pure."""
    kept = [line for line in lines if line.strip() and not line.startswith(("Ask for help", "Saving debug", "- - -"))]
    return kept[-20:]
