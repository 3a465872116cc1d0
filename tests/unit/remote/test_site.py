"""What a host is asked first, and what of the answer is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deployer import events
from deployer.remote import site


@pytest.mark.parametrize("theirs", ["ours", "another"])
def test_the_program_is_packed_while_the_host_s_starts(monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
    """Not once it has answered: nobody waits for that. One of another version is warned of."""
    steps: list[str] = []

    def packed() -> Any:
        steps.append("packed")
        return SimpleNamespace(digest="ours")

    def answer() -> Any:
        steps.append("answered")
        return SimpleNamespace(program=theirs, current="v1")

    told: list[events.Event] = []
    monkeypatch.setattr(site, "host_program", packed)
    where: Any = SimpleNamespace(host="web1", target=SimpleNamespace(host="web1"), report=told.append)
    remote: Any = SimpleNamespace(ask=answer)
    assert site.ask(where, remote, 0.0).current == "v1"
    assert steps == ["packed", "answered"]
    assert [type(one) for one in told] == [events.Connected, *([events.Warn] if theirs == "another" else [])]
