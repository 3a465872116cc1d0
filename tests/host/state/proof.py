"""What a release's seal says of it now."""

from __future__ import annotations

from deployer.host.state import seal
from deployer.host.state.app import Context
from deployer.host.state.releases import Release


def damage(ctx: Context, release: Release, trust: seal.Trust = seal.NOTHING_TRUSTED) -> str:
    """What differs, for people; empty when nothing does."""
    return next((found.text for found in seal.compare(ctx, release, trust, []) if found is not None), "")
