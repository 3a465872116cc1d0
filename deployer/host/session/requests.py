"""What may be asked in a session: each request, by its ``op``, with the keys that it has. All else is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from deployer.host.build.upload import upload_size
from deployer.host.deployment.request import Phases, Request
from deployer.host.errors import BadRequest
from deployer.host.processes.run import RunRequest
from deployer.host.state.jobs import JOB
from deployer.wire.advice import run
from deployer.wire.processes import CALENDAR
from deployer.wire.protocol import BARRIERS, PROCESS, PROCESS_LENGTH
from deployer.wire.reader import Reader

Parse = Callable[[dict[str, Any]], Any]
"""Reads what stands beside ``op``. Raises ValueError or BadRequest."""

_PROCESS_OR_ALL = re.compile(rf"(?:{PROCESS.pattern})?\Z")
_BY = 256


@dataclass(frozen=True)
class Logs:
    """Lines of one process, or (empty) of all; and (``follow``) of what comes."""

    process: str
    lines: int
    follow: bool


@dataclass(frozen=True)
class Upload:
    """A release to make, and the bytes that come behind it: ``length`` from ``offset`` on."""

    request: Request
    offset: int
    length: int


@dataclass(frozen=True)
class Abort:
    """Who has a job end, and which one (empty: the one that runs). ``why`` is told in place of who it was."""

    by: str
    job: str = ""
    why: str = ""


def parse(message: dict[str, Any], known: Mapping[str, Parse]) -> tuple[str, Any]:
    """The op of a message and what it asks for. Raises BadRequest."""
    op = message.pop("op", None)
    if not isinstance(op, str) or op not in known:
        raise BadRequest(
            "this host's program does not know that request", next=run("fab setup -H root@HOST", "updates it")
        )
    try:
        return op, known[op](message)
    except ValueError as error:
        raise BadRequest(f"the request is not acceptable: {error}") from None


def _of(where: str, take: Callable[[Reader], Any]) -> Parse:
    def read(message: dict[str, Any]) -> Any:
        reader = Reader(message, where)
        value = take(reader)
        reader.done()
        return value

    return read


def _nothing(where: str) -> Parse:
    return _of(where, lambda _: None)


def _job(message: dict[str, Any]) -> dict[str, Any]:
    """Which job: that it is the one that runs, or ran last, may be left unsaid."""
    return {"job": "", **message}


def _upload(message: dict[str, Any]) -> Upload:
    offset, length = upload_size(message)
    return Upload(Request.parse(message), offset, length)


_read_attach = _of("attach", lambda read: read.text("job", JOB))
_read_abort = _of("abort", lambda read: Abort(read.text("by", length=_BY), read.text("job", JOB)))

REQUESTS: Mapping[str, Parse] = {
    **{op: _nothing(op) for op in ("ask", "status", "releases", "history", "hold")},
    "release": _upload,
    "phases": Phases.parse,
    "attach": lambda message: _read_attach(_job(message)),
    "abort": lambda message: _read_abort(_job(message)),
    "wait": _of("wait", lambda read: read.boolean("queue")),
    "doctor": _of("doctor", lambda read: read.boolean("fix")),
    "logs": _of("logs", lambda read: Logs(
        process=read.text("process", _PROCESS_OR_ALL, PROCESS_LENGTH),
        lines=read.integer("lines", 0, 100_000),
        follow=read.boolean("follow"),
    )),
    "calendars": _of("calendars", lambda read: read.texts("calendars", CALENDAR, 50)),
    "run": RunRequest.parse,
}  # fmt: skip
"""What begins something, or is answered."""

WORDS: Mapping[str, Parse] = {
    "hold": _nothing("hold"),
    "go": _of("go", lambda read: read.choice("barrier", BARRIERS)),
    "undo": _of("undo", lambda read: Abort(read.text("by", length=_BY), why=_one_line(read.raw("why")))),
}
"""What a fleet's laptop says to the job that the session follows."""


def _one_line(why: Any) -> str:
    """Why a fleet gives up. It quotes what failed on another host: no undo is refused for what is in it."""
    text = why if isinstance(why, str) else ""
    return "".join(one if one.isprintable() else " " for one in text[:2000]).strip()
