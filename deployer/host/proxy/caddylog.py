"""What Caddy's log says of certificates that it could not get."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from deployer.wire.lazyre import pattern

_ABOUT = pattern(r"\[(?P<name>[^\]]+)\] (?:Obtain: |Renew: )?(?P<why>.*)", re.DOTALL)


def refusals(lines: Iterable[str], since: float) -> dict[str, str]:
    """Why the last try for each name failed, of tries after ``since`` (seconds since 1970): what Caddy itself says when
    no authority is left to ask, and it will try again later. Pure; never raises."""
    found: dict[str, str] = {}
    for record in filter(None, map(_parse, lines)):
        if record.get("level") != "error" or "retrying_in" not in record or not _after(record.get("ts"), since):
            continue
        match = _ABOUT.fullmatch(str(record.get("error", "")))
        if match:
            found[match["name"]] = match["why"]
    return found


def _after(moment: object, since: float) -> bool:
    return isinstance(moment, (int, float)) and moment >= since


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
