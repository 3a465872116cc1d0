"""Why Caddy got no certificate, as its log says it."""

from __future__ import annotations

import json

import pytest

from deployer.host.proxy.caddylog import refusals

FAILED = {
    "level": "error", "ts": 100.5, "logger": "tls.obtain", "msg": "will retry", "attempt": 1, "retrying_in": 60,
    "error": "[shop.test] Obtain: [shop.test] solving challenges: refused (order=https://x)",
}  # fmt: skip


def lines(*records: object) -> list[str]:
    return ["not JSON", "[1]", *(json.dumps(record) for record in records)]


def test_the_last_reason_for_each_name_is_found() -> None:
    """Only what ends a try counts: of several authorities the last one may still have succeeded."""
    later = {**FAILED, "ts": 101.5, "error": "[shop.test] Obtain: timeout"}
    other = {**FAILED, "error": "[www.shop.test] Obtain: no such host"}
    one_authority = {**FAILED, "error": "x"}
    del one_authority["retrying_in"]
    assert refusals(lines(one_authority, FAILED, other, later), 100) == {
        "shop.test": "timeout",
        "www.shop.test": "no such host",
    }


@pytest.mark.parametrize(
    "record",
    [
        {**FAILED, "ts": 99},
        {**FAILED, "ts": "soon"},
        {**FAILED, "level": "info"},
        {**FAILED, "error": "nothing in brackets"},
        {**FAILED, "error": None},
    ],
)
def test_earlier_tries_and_other_lines_say_nothing(record: object) -> None:
    """An error of before this set-up may be what has been put right."""
    assert refusals(lines(record), 100) == {}
