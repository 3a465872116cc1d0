"""``fab preview``: a release without traffic, at an address of this machine."""

from deployer.commands.preview.preview import preview, would

__all__ = ["preview", "would"]
