"""The requests of a session: each ``op`` and how its keys are read. Everything else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from deployer.host.build.upload import upload_size
from deployer.host.deployment.request import PhasesRequest, Request
from deployer.host.errors import BadRequest
from deployer.host.job import prune
from deployer.host.processes.run import RunRequest
from deployer.host.state.jobs import JOB
from deployer.wire import deploylock
from deployer.wire.advice import run
from deployer.wire.environment import Change, parse_names
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.maintenance import MaintenanceRequest
from deployer.wire.protocol import BARRIERS, DIGEST, MOST_BY, MOST_NUMBER, PROCESS, PROCESS_LENGTH
from deployer.wire.reader import Reader
from deployer.wire.release.processes import CALENDAR, MOST_PROCESSES

Parse = Callable[[dict[str, Any]], Any]
"""Reads the keys beside ``op``. Raises ValueError or BadRequest."""

_BASE64 = pattern(r"[A-Za-z0-9+/]*={0,2}\Z")
_SALT = pattern(r"[0-9a-f]{32,64}\Z")
_PROCESS_OR_ALL = pattern(rf"(?:{PROCESS.pattern})?\Z")


@dataclass(frozen=True)
class LogsRequest:
    """Lines of one process (empty: of all); with ``follow``, also each new one."""

    process: str
    lines: int
    follow: bool


@dataclass(frozen=True)
class StageRequest:
    """A change of the variables that the host keeps, and who makes it."""

    change: Change
    by: str


@dataclass(frozen=True)
class UploadRequest:
    """A new release. ``length`` bytes of its upload follow the request, from ``offset`` on."""

    request: Request
    offset: int
    length: int


@dataclass(frozen=True)
class AbortRequest:
    """Who aborts a job, and which one (empty: the running one). ``why`` is reported instead of ``by``."""

    by: str
    job: str = ""
    why: str = ""


@dataclass(frozen=True)
class DiscardRequest:
    """The held candidate to discard, and who wants that."""

    release: int
    by: str


@dataclass(frozen=True)
class MaintenanceOn:
    """Maintenance begins on these terms, or goes on with them; ``by`` is who wants it."""

    terms: MaintenanceRequest
    by: str


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
    """``job`` may be missing: then it is the running job, or the last one."""
    return {"job": "", **message}


def _upload(message: dict[str, Any]) -> UploadRequest:
    offset, length = upload_size(message)
    return UploadRequest(Request.parse(message), offset, length)


_read_discard = _of(
    "discard", lambda read: DiscardRequest(read.integer("release", 1, MOST_NUMBER), read.text("by", length=MOST_BY))
)
_read_attach = _of("attach", lambda read: read.text("job", JOB))
_read_abort = _of("abort", lambda read: AbortRequest(read.text("by", length=MOST_BY), read.text("job", JOB)))

REQUESTS: Mapping[str, Parse] = {
    **{op: _nothing(op) for op in ("ask", "status", "releases", "history", "hold")},
    "base": _of("base", lambda read: read.text("key", DIGEST)),
    "release": _upload,
    "phases": PhasesRequest.parse,
    "attach": lambda message: _read_attach(_job(message)),
    "abort": lambda message: _read_abort(_job(message)),
    "discard": _read_discard,
    "preview": _of("preview", lambda read: read.integer("release", 1, MOST_NUMBER)),
    "lock": deploylock.request_of,
    "unlock": _nothing("unlock"),
    "stop": _nothing("stop"),
    "start": _nothing("start"),
    "restart": _of("restart", lambda read: read.text("process", PROCESS, PROCESS_LENGTH)),
    "timer": _of("timer", lambda read: read.text("name", PROCESS, PROCESS_LENGTH)),
    "prune": prune.parse,
    "wait": _of("wait", lambda read: read.boolean("queue")),
    "doctor": _of("doctor", lambda read: read.boolean("fix")),
    "logs": _of("logs", lambda read: LogsRequest(
        process=read.text("process", _PROCESS_OR_ALL, PROCESS_LENGTH),
        lines=read.integer("lines", 0, 100_000),
        follow=read.boolean("follow"),
    )),
    "calendars": _of("calendars", lambda read: read.texts("calendars", CALENDAR, MOST_PROCESSES)),
    "run": RunRequest.parse,
    "maintenance.on": _of("maintenance", lambda read: MaintenanceOn(
        terms=MaintenanceRequest.read(read), by=read.text("by", length=MOST_BY)
    )),
    "maintenance.off": _nothing("maintenance"),
    "environment": _of("environment", lambda read: read.text("salt", _SALT)),
    "variables": _of("variables", lambda read: parse_names(read.raw("names"), "names")),
    "stage": _of("stage", lambda read: StageRequest(
        change=Change.parse(read.raw("change")),
        by=read.text("by", length=MOST_BY),
    )),
}  # fmt: skip
"""What starts something, or is answered."""

PREVIEW: Mapping[str, Parse] = {
    "hold": _of("hold", lambda _: (0, "")),
    "open": _of("open", lambda read: (read.integer("number", 1, MOST_NUMBER), "")),
    "close": _of("close", lambda read: (read.integer("number", 1, MOST_NUMBER), "")),
    "data": _of("data", lambda read: (read.integer("number", 1, MOST_NUMBER), read.text("data", _BASE64, 100_000))),
    "file": _of("file", lambda read: (read.integer("number", 1, MOST_NUMBER), read.text("path"))),
}
"""What a laptop sends that looks at a release."""

SIGNALS: Mapping[str, Parse] = {
    "hold": _nothing("hold"),
    "go": _of("go", lambda read: read.choice("barrier", BARRIERS)),
    "undo": _of("undo", lambda read: AbortRequest(read.text("by", length=MOST_BY), why=_one_line(read.raw("why")))),
}
"""What the laptop of a fleet sends to the job that the session follows."""


def _one_line(why: Any) -> str:
    """Why a fleet undoes a release. It quotes an error of another host: odd characters are no reason to refuse it."""
    text = why if isinstance(why, str) else ""
    return "".join(one if one.isprintable() else " " for one in text[:2000]).strip()
