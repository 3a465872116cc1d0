"""The site of an app, as both proxies are told it: where it listens, what it believes, and what lies below which path.

To serve something new, add a kind of :data:`Location` here, its lines to ``nginx.py`` and to ``caddy.py``, and put it
into :func:`site_of`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Union

from deployer.host.state.paths import AppPaths
from deployer.wire.lazydata import dataclass
from deployer.wire.site import PROOF, ProxySite

PROOF_SOCKET = "probe.sock"
"""Beside the app's socket: where requests below PROOF arrive."""
IMMUTABLE = "public, max-age=31536000, immutable"
"""Of a file whose name is its content: browsers keep it for a year, and never ask again."""
REVALIDATED = "no-cache"
"""Of any other file: browsers keep it, and ask each time whether it is still the same."""
CHALLENGES = Path("/var/lib/deployer-acme")
"""Where certbot puts what an authority asks for (nginx; Caddy answers by itself)."""


@dataclass(frozen=True)
class CodeFiles:
    """Below ``prefix``: files of the release that serves, in ``directory`` of its code tree.

    Before them come those in ``assets``, by the whole path of the request: hashed files of all kept releases. What lies
    compressed beside one is sent to browsers that take it.
    """

    prefix: str
    directory: str
    assets: str


@dataclass(frozen=True)
class MediaFiles:
    """Below ``prefix``: what the app has written, in the ``directory`` that shows it (an absolute path)."""

    prefix: str
    directory: str


@dataclass(frozen=True)
class Proof:
    """Below ``prefix``: what listens at ``socket`` while somebody checks the site; else a 404 that says so."""

    prefix: str
    socket: str


Location = Union[CodeFiles, MediaFiles, Proof]
"""What is not passed to the app's own socket."""


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate on the host: its chain, and its private key."""

    chain: str
    key: str


@dataclass(frozen=True)
class Site:
    """One app's site on this host.

    ``wire`` is what was asked for. ``certificate`` are the files to serve HTTPS with: None where the proxy gets its own
    (Caddy), where none is needed, and as long as there is none yet: nginx then speaks plain HTTP. ``snippets`` is a
    directory for files of the admin's own, which are read inside the site and never written by setup. ``gzip_static``:
    the host's nginx can send files that are compressed already.
    """

    wire: ProxySite
    app: str
    current: str
    socket: str
    locations: tuple[Location, ...]
    snippets: str = ""
    certificate: Certificate | None = None
    gzip_static: bool = True

    @property
    def proof(self) -> Proof:
        """The location that a check of the site asks for."""
        return next(one for one in self.locations if isinstance(one, Proof))

    def variable(self, name: str) -> str:
        """The name of a variable of this site, which no other site has."""
        return f"deployer_{self.app.replace('-', '_')}_{name}"


def site_of(wire: ProxySite, paths: AppPaths, *, snippets: str = "", certificate: Certificate | None = None) -> Site:
    """The site of the app at ``paths``. Pure."""
    run = f"{paths.current}/run"
    return Site(
        wire=wire,
        app=paths.app,
        current=str(paths.current),
        socket=f"{run}/web.sock",
        locations=(
            *(CodeFiles(prefix, directory, str(paths.assets)) for prefix, directory in wire.static),
            *(MediaFiles(prefix, str(paths.medium(directory))) for prefix, directory in wire.media),
            Proof(PROOF, f"{run}/{PROOF_SOCKET}"),
        ),
        snippets=snippets,
        certificate=certificate or (Certificate(wire.certificate, wire.key) if wire.tls == "files" else None),
    )
