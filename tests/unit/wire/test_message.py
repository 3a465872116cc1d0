"""One line of a laptop: the last that is taken, the first that is not, and why."""

from __future__ import annotations

import io
import json

import pytest

from deployer.wire import message
from deployer.wire.message import read_message

LIMITS: dict[str, tuple[str, str, str]] = {
    "lists": ("[1,2,[3]]", "[1,[2],[3]]", "more than 2 lists"),
    "objects": ("[{},{}]", "[{},{},{}]", "more than 2 objects"),
    "values": ("[1,2,3]", "[1,2,3,4]", "more than 2 values"),
    "keys": ('{"a":1,"b":2}', '{"a":1,"b":{"c":0}}', "more than 2 keys"),
    "depth": ("[{},{}]", "[[[]]]", "nested more than 2 deep"),
    "depth of a second one": ("[[],[]]", "[[],[[]]]", "nested more than 2 deep"),
    "an object within": ('[{"a":1},{}]', '[{"a":[]}]', "nested more than 2 deep"),
    "digits": ("1" * 400, "1" * 401, "a number of more than 400 digits"),
    "twice": ('{"a":1}', '{"a":1,"a":1}', "a key stands twice in one object"),
    "bounds": ("1e308", "-1e309", "a number without bounds"),
    "numbers": ("0", "Infinity", "Infinity is no JSON"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_up_to_its_limit_a_message_is_taken(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one more is refused by what there is too much of, before it is parsed; whatever is written in a string is
    none."""
    most, more, why = LIMITS[limit]
    name = "DEPTH" if "deep" in why else limit.upper()
    if hasattr(message, name):
        monkeypatch.setattr(message, name, 2)
    assert refusal_of(most) == ("a message must be a JSON object" if most[0] != "{" else "")
    assert refusal_of(more) == why
    for value in (more, "\\" + more, '"' + more, more + '\\"', ["\\", more], [more + "\\", more]):
        assert refusal_of(json.dumps({"a": value})) == "", value


def refusal_of(text: str) -> str:
    try:
        read_message(io.BytesIO(text.encode() + b"\n"))
    except ValueError as error:
        return str(error)
    return ""


def test_limits_are_told_in_thousands() -> None:
    """As people read them."""
    assert refusal_of("[" + "{}," * 6000 + "{}]") == "more than 5,000 objects"
    assert refusal_of("{" + ",".join(f'"{one}":0' for one in range(20_001)) + "}") == "more than 20,000 keys"


@pytest.mark.parametrize(("head", "most"), [(b'{"op":"ask","x":"', 60), (b' { "op" : "release" , "x":"', 200)])
def test_a_line_is_read_as_far_as_it_may_be_long(head: bytes, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its length, to the last byte of its kind and no further; the next message begins behind it."""
    monkeypatch.setattr(message, "SHORT", 60)
    monkeypatch.setattr(message, "LONGEST", 200)

    def one(length: int) -> bytes:
        return head + b"x" * (length - len(head) - 2) + b'"}\n'

    for length in range(len(head) + 2, most + 1):
        stream = io.BytesIO(one(length) + b"{}\n")
        assert read_message(stream) == json.loads(one(length))
        assert (read_message(stream), read_message(stream)) == ({}, None)
    stream = io.BytesIO(one(most + 1) + b"x" * 500)
    with pytest.raises(ValueError, match=r"^the stream ended in the middle of a message, or the message is too long$"):
        read_message(stream)
    assert stream.tell() == most + 1
