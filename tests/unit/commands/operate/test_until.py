"""Times as people type them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from deployer.commands.operate.until import moment
from deployer.errors import ConfigError

ZONE = timezone(timedelta(hours=1))
NOW = datetime(2026, 11, 29, 17, 30, 15, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("45s", NOW + timedelta(seconds=45)),
        ("30m", NOW + timedelta(minutes=30)),
        ("2 h", NOW + timedelta(hours=2)),
        ("3d", NOW + timedelta(days=3)),
        ("1w", NOW + timedelta(weeks=1)),
        ("18:00", datetime(2026, 11, 29, 18, 0, tzinfo=ZONE)),
        (" 9:05 ", datetime(2026, 11, 30, 9, 5, tzinfo=ZONE)),
        ("17:30", datetime(2026, 11, 30, 17, 30, tzinfo=ZONE)),
        ("2026-12-01T09:00+00:00", datetime(2026, 12, 1, 9, 0, tzinfo=timezone.utc)),
    ],
)
def test_what_people_type(text: str, wanted: datetime) -> None:
    """A duration counts from now; a time of day is the next one."""
    assert moment(text, NOW) == wanted


def test_a_date_is_local() -> None:
    """Without an offset a date is that of the clock on the wall here."""
    wanted = datetime(2026, 12, 1).astimezone()
    assert moment("2026-12-01", NOW) == wanted
    assert moment("2026-12-01 09:30", NOW) == wanted + timedelta(hours=9, minutes=30)


@pytest.mark.parametrize("text", ["", "soon", "Monday", "2", "2y", "25:00", "9", "-2h", "0h", "0s", "2020-01-01",
                                  "99999w", "4000-01-01", "2026-13-01", "1" * 5000 + "h", "١h"])  # fmt: skip
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    """The error shows what was typed, and how a time may be written."""
    with pytest.raises(ConfigError) as caught:
        moment(text, NOW)
    assert "--until" in caught.value.message and caught.value.next
