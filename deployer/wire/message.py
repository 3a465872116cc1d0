"""One request of a laptop: a line of JSON that is bounded and checked before it costs anything.

The host answers anyone with a deploy key, as root. So a line is read only up to its longest length, its structure is
counted before it is parsed, and what two parsers could read differently is refused.
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

from deployer.wire.lazyre import pattern

SHORT = 512 * 1024
"""Bytes of a request. Only a ``release`` and a ``stage`` may be longer, which must begin with their ``op``."""
LONGEST = 32 * 1024 * 1024
"""Bytes of a ``release``: it lists every file that the host lacks. About 200,000 files."""
DEPTH = 16
"""Lists and objects within each other. A release has 6."""
LISTS, OBJECTS, VALUES, KEYS = 300_000, 5_000, 1_500_000, 20_000
"""How many a request may hold. Each file of a release is a list of four values."""

_LONG = pattern(rb'\s*\{\s*"op"\s*:\s*"(?:release|stage)"\s*,')
_STRING = pattern(rb'"[^"]*"')
_BRACKET = pattern(rb"[\[\]{}]")
_HUGE = pattern(rb"[0-9]{401}")


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message of ``stream``, or None at its end. Raises ValueError saying why a line is no message."""
    line = stream.readline(SHORT + 1)
    if len(line) > SHORT and not line.endswith(b"\n") and _LONG.match(line):
        line += stream.readline(LONGEST + 1 - len(line))
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise ValueError("the stream ended in the middle of a message, or the message is too long")
    _check_structure(line)
    text, line = line.decode("utf-8"), b""
    message = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    if not isinstance(message, dict):
        raise ValueError("a message must be a JSON object")
    return message


def _check_structure(text: bytes) -> None:
    """What the parser would spend memory on: counted on what is left when all strings are taken out."""
    bare = _STRING.sub(b"", text.replace(b"\\\\", b"").replace(b'\\"', b""))
    for sign, most, what in ((b"[", LISTS, "lists"), (b"{", OBJECTS, "objects"), (b",", VALUES, "values")):
        if bare.count(sign) > most:
            raise ValueError(f"more than {most:,} {what}")
    if bare.count(b":") > KEYS:
        raise ValueError(f"more than {KEYS:,} keys")
    if _HUGE.search(bare):
        raise ValueError("a number of more than 400 digits")
    depth = 0
    for found in _BRACKET.finditer(bare):
        depth += 1 if found[0] in b"[{" else -1
        if depth > DEPTH:
            raise ValueError(f"nested more than {DEPTH} deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number without bounds")
    return value
