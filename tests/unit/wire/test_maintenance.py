"""The terms of maintenance: what a host takes of them, and whom they let through."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.wire.maintenance import MOST_ALLOWED, MOST_PAGE, MaintenanceRequest
from deployer.wire.message import SHORT
from deployer.wire.protocol import dumps
from deployer.wire.reader import Reader

GOOD = MaintenanceRequest(page="<p>é\t\r\n", allow=("10.0.0.0/8", "2001:db8::1"), retry_after=60, stop_workers=True)


def read(**changes: Any) -> MaintenanceRequest:
    return MaintenanceRequest.read(Reader({**GOOD.as_json(), **changes}, "maintenance"))


def test_what_was_written_is_read_again() -> None:
    """As it was, and the largest page fits into a request, all of it in need of an escape."""
    assert read() == GOOD
    largest = MaintenanceRequest(page='"' * MOST_PAGE, allow=("10.0.0.0/8",) * MOST_ALLOWED)
    assert len(dumps({"op": "maintenance.on", "by": "x" * 256, **largest.as_json()})) < SHORT


@pytest.mark.parametrize(
    "changes",
    [
        {"page": "x" * (MOST_PAGE + 1)},
        {"page": "é" * MOST_PAGE},
        {"page": "\0"},
        {"page": "\x1b[31m"},
        {"page": None},
        {"allow": ["10.0.0.1/8"]},
        {"allow": ["localhost"]},
        {"allow": ["10.0.0.0/8"] * (MOST_ALLOWED + 1)},
        {"retry_after": 0},
        {"retry_after": 604_801},
        {"retry_after": True},
        {"stop_workers": 1},
    ],
    ids=str,
)
def test_what_no_laptop_sends_is_refused(changes: dict[str, Any]) -> None:
    """The host answers anyone with a deploy key."""
    with pytest.raises(ValueError, match="maintenance"):
        read(**changes)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "2001:0db8:0::1"])
def test_addresses_are_compared_as_addresses(address: str) -> None:
    """However they are written."""
    assert GOOD.allows(address)


@pytest.mark.parametrize("address", ["", "11.0.0.1", "2001:db8::2", "unknown", "10.0.0.1, ", "10.0.0.256", "_hidden"])
def test_what_is_no_such_address_gets_the_page(address: str) -> None:
    """Also what a proxy writes for a client that it does not know."""
    assert not GOOD.allows(address)
