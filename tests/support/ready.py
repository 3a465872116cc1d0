"""A host on which the sample app has been set up and deployed once: made once for all, and copied for whoever asks."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from deployer.sandbox import Preparation, SandboxHost, up
from tests.support.site import Site, make_site

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("deployer", "tests/apps", "tests/support")


def shop_host(path: Path) -> SandboxHost:
    """A Debian 12 host with ``fab setup`` done for ``shop``; no release, but its dependencies have been built before.

    The copy has an address of its own, and the set-up is done again for it, with a project below ``path``.
    """
    host = up(distribution="bookworm", preparation=Preparation(name="shop", key=digest(), act=_prepare))
    make_site(host, path / "shop").setup()
    return host


def _prepare(host: SandboxHost) -> None:
    with tempfile.TemporaryDirectory() as place:
        site = make_site(host, Path(place) / "shop")
        site.setup()
        site.deploy()
        _forget(site)


def _forget(site: Site) -> None:
    """As if it had never had a release."""
    site.wipe()
    site.host.run(f"cd /var/lib/deployer/{site.app} && rm -rf ledger.jsonl last-release")


def digest() -> str:
    """Of all that decides what a set-up, or a deploy, of the tests' apps leaves on a host."""
    found = hashlib.sha256()
    for top in SOURCES:
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                found.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return found.hexdigest()
