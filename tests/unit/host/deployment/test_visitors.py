"""What a deploy does for visitors: media that are shown again, and what is not touched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.deployment import visitors
from deployer.wire.site import ProxySite


def shown(monkeypatch: pytest.MonkeyPatch, proxy: str, site: ProxySite | None) -> tuple[list[Any], list[str]]:
    """The directories that were to be shown, each time that was asked for; and what is told of it."""
    asked: list[Any] = []

    def provide(_: object, wanted: Any) -> list[str]:
        asked.append(wanted)
        raise OSError(1, "no mounts here")

    monkeypatch.setattr(visitors.media, "provide", provide)
    ctx: Any = SimpleNamespace(
        settings=SimpleNamespace(proxy=proxy, site=site), paths=Path("/srv"), emit=lambda *_, **__: None
    )
    return asked, visitors.show_media(ctx)


def test_media_that_cannot_be_shown_are_told_and_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is returned."""
    asked, told = shown(monkeypatch, "nginx", ProxySite(media=(("/media/", "media"),)))
    assert asked == [("media",)]
    assert "no mounts here" in told[0]


def test_media_of_another_versions_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that this version cannot read names no media: that is no reason to unmount what there is."""
    assert shown(monkeypatch, "nginx", None) == ([], [])


def test_media_go_with_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is set up without a proxy has none to show."""
    assert shown(monkeypatch, "", None)[0] == [()]
