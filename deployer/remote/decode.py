"""Decodes what a host sends, and takes nothing else. A host may be broken, or somebody else's by now.

Each line is decoded by the type of its event; an answer by the type that the question asks for. What a type does not
have is ignored, and so is an event that this version does not know: a newer host may tell more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from threading import Lock
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from deployer import events
from deployer.errors import BadAnswer, Exit
from deployer.remote.answers import Version
from deployer.remote.answers.values import JOB_ID, MOST_COUNT, MOST_SECONDS
from deployer.wire.advice import NOTHING, Next
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import MOST_MOMENT, RELEASE
from deployer.wire.release.command import AHEAD

__all__ = ["EVENTS", "Answer", "answer", "event", "version"]

Answer = TypeVar("Answer", bound=Struct)


@dataclass(frozen=True, kw_only=True)
class Following(events.Event):
    """The host names the job whose events follow."""

    job: str


@dataclass(frozen=True, kw_only=True)
class Taken(events.Event):
    """The command has taken so many bytes of its input."""

    bytes: int


@dataclass(frozen=True, kw_only=True)
class _Bare(events.Event):
    """An event that only says that it is one."""


@dataclass(frozen=True, kw_only=True)
class PreviewPiece(events.Event):
    """A piece of what a release answers, in base64; empty at the end of that connection."""

    number: int
    data: str = ""


_TOLD = (
    "phase.started", "phase.done", "phase.skipped", "phase.failed", "waiting", "output", "logs", "switched", "ready",
    "note", "warn", "failed", "finished",
)  # fmt: skip
EVENTS: Mapping[str, type[events.Event]] = {
    **{name: events.TYPES[name] for name in _TOLD},
    "following": Following,
    "data": events.Data,
    "taken": Taken,
    "recovering": _Bare,
    "holding": _Bare,
    "preview": PreviewPiece,
}
"""What a host tells without being asked, by the name of the event: the types that are shown."""


class _Advice(Struct, frozen=True):
    """How an event carries advice: as pairs, and as text for an older half."""

    next: str = ""
    steps: list[tuple[str, str]] = []


def _name(value: Any) -> bool:
    return not value or RELEASE.fullmatch(value) is not None


def _moment(value: Any) -> bool:
    return bool(0 <= value <= MOST_MOMENT)


_BOUNDS: Mapping[str, Callable[[Any], bool]] = {
    "at": _moment,
    "since": _moment,
    "seconds": lambda value: -MOST_SECONDS <= value <= MOST_SECONDS,
    "bytes": lambda value: 0 <= value <= AHEAD,
    "stream": ("", "out", "err").__contains__,
    "ahead": lambda value: 0 <= value <= MOST_COUNT,
    "exit": frozenset(Exit).__contains__,
    "release": _name,
    "serving": _name,
    "to": _name,
    "previous": _name,
    "job": lambda value: re.match(JOB_ID, value) is not None,
}
"""What a host may say in a field of an event, beside its type. The laptop's own events have other exit codes."""

_OURS = pattern(rb'\s*\{\s*"event"')


class _Head(Struct, frozen=True):
    event: str


def _custom(kind: type, value: Any) -> Any:
    """``next`` of an event is filled in from :class:`_Advice`."""
    if kind is Next and isinstance(value, str):
        return NOTHING
    raise ValueError(f"Expected `str`, got `{type(value).__name__}`")


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}
_MAKING = Lock()
"""msgspec 0.22 reads the hints of a type as it makes a decoder: threads that do so at once have crashed in it."""


def _decoder(kind: type) -> msgspec.json.Decoder[Any]:
    """The decoder of a type, made when it is first needed: a command hears a few of the forty."""
    with _MAKING:
        if kind not in _DECODERS:
            _DECODERS[kind] = msgspec.json.Decoder(kind, dec_hook=_custom)
        return _DECODERS[kind]


def event(line: bytes, host: str, *, begun: bool) -> dict[str, Any] | None:
    """The event of a line, as a dict of what it may hold. An answer comes with its ``line``, to be read by
    :func:`answer`; of an event that this version does not know there is the name alone.

    None for a login banner: what is no event, before the host has said anything (``begun``). Raises BadAnswer.
    """
    if not begun and not _OURS.match(line):
        return None
    name = _decode(line, _Head, "what it sent is no event", host).event
    if name == "answer":
        return {"event": name, "line": line}
    kind = EVENTS.get(name)
    return {"event": name, **(_fields(line, kind, name, host) if kind else {})}


def _fields(line: bytes, kind: type[events.Event], name: str, host: str) -> dict[str, Any]:
    """What an event says, without what it leaves to its type's defaults."""
    told = _decode(line, kind, name, host)
    for field in fields(kind):
        within = _BOUNDS.get(field.name)
        if within is not None and not within(getattr(told, field.name)):
            raise BadAnswer.of(host, f"{name}: {field.name} is not what it can be: {getattr(told, field.name)!r}")
    said = {one.name: getattr(told, one.name) for one in fields(kind) if getattr(told, one.name) != one.default}
    said.pop("host", None)
    if "next" in {one.name for one in fields(kind)}:
        said.update(msgspec.structs.asdict(_decode(line, _Advice, name, host)))
    return said


def answer(line: bytes, kind: type[Answer], op: str, host: str) -> Answer:
    """What a host answers to the question ``op``. Raises BadAnswer."""
    found: Answer = _decode(line, kind, f"its answer to {op!r}", host)
    return found


def version(line: bytes, host: str) -> int:
    """The protocol of a host that answers ``ask``: one of another version may say all else in another way."""
    found: Version = _decode(line, Version, "its answer to 'ask'", host)
    return found.protocol


def _decode(line: bytes, kind: Any, what: str, host: str) -> Any:
    try:
        return (_DECODERS.get(kind) or _decoder(kind)).decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer.of(host, f"{what}: {error}") from None
