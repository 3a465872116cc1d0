"""The journal, read as ``journalctl -o json`` prints it. Apps write it: nothing in it is trusted.

A field that occurs once is a string; a list of numbers if it is not UTF-8; a list of values if it occurs several times;
null if it is longer than journalctl was asked to show (systemd's JOURNAL_EXPORT_FORMATS). Parsing an entry never
raises, and takes no more memory than LONGEST.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

from deployer.host.errors import HostError
from deployer.host.system import runner, systemd
from deployer.wire import advice
from deployer.wire.lazydata import dataclass

SHOWN = "MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID,_HOSTNAME,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,INVOCATION_ID"
COMMAND = ("journalctl", "--no-pager", "-q", "-a", "-o", "json", f"--output-fields={SHOWN}")
LONGEST = 1 << 20
"""The most bytes of an entry that are read. A line that a process prints is at most 48 KiB (journald's LineMax=)."""
MESSAGE = 64 * 1024
"""The most characters of a message that are kept."""
_NAME = 200
_READING = 90.0
"""Seconds that journalctl may take to print what it was asked for."""
_LOOK = 1.0
"""Seconds between two checks whether to stop following."""
_TOO_LONG = f"(an entry of more than {LONGEST >> 10} KiB is left out)"


@dataclass(frozen=True)
class JournalEntry:
    """One entry. ``at`` is in seconds since 1970, ``who`` its SYSLOG_IDENTIFIER, ``cursor`` its place in the journal.

    ``unit`` is the unit whose process wrote it, ``start`` the invocation of that unit; for systemd's own messages
    (``pid`` 1) the invocation that they are about.
    """

    lines: tuple[str, ...] = ()
    at: float = 0.0
    who: str = ""
    comm: str = ""
    pid: str = ""
    host: str = ""
    cursor: str = ""
    unit: str = ""
    start: str = ""

    def formatted(self) -> Iterator[str]:
        """Its lines as ``-o short-iso`` prints them: time, host, identifier, message."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.at))
        pid = f"[{self.pid}]" if self.pid else ""
        head = f"{moment} {self.host} {self.who or self.comm or 'unknown'}{pid}: "
        first, *more = self.lines or ("",)
        yield head + first
        yield from (" " * len(head) + line for line in more)


def parse(line: bytes) -> JournalEntry | None:
    """The entry in one line; None if there is none. Never raises."""
    if len(line) > LONGEST:
        return JournalEntry(lines=(_TOO_LONG,))
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    pid = _name(fields, "_PID")
    return JournalEntry(
        lines=tuple("\n".join(_texts(fields.get("MESSAGE")))[:MESSAGE].splitlines()),
        at=_moment(fields.get("__REALTIME_TIMESTAMP")),
        who=_name(fields, "SYSLOG_IDENTIFIER"),
        comm=_name(fields, "_COMM"),
        pid=pid,
        host=_name(fields, "_HOSTNAME"),
        cursor=_name(fields, "__CURSOR"),
        unit=_name(fields, "_SYSTEMD_UNIT"),
        start=_name(fields, "INVOCATION_ID" if pid == "1" else "_SYSTEMD_INVOCATION_ID"),
    )


def _texts(value: Any) -> list[str]:
    """The values of a field: none, one or several."""
    if isinstance(value, str):
        return [value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")]
    if not isinstance(value, list):
        return []
    if all(type(one) is int for one in value):
        return [bytes(one & 255 for one in value).decode("utf-8", "replace")]
    return [text for one in value if not isinstance(one, int) for text in _texts(one)]


def _name(fields: Mapping[str, Any], key: str) -> str:
    """A field for the head of a line: it must not contain a line end."""
    text = " ".join(_texts(fields.get(key)))[:_NAME]
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def _moment(value: Any) -> float:
    text = value if isinstance(value, str) else ""
    return int(text) / 1e6 if text.isascii() and text.isdigit() and len(text) <= 17 else 0.0


def of_latest_start(records: Sequence[JournalEntry], unit: str, start: str, restarted: bool) -> list[JournalEntry]:
    """The entries of the latest ``start`` of a unit; if systemd ``restarted`` it, those of the start before, too. What
    a unit wrote in earlier starts says nothing about this one."""
    wanted = {start}
    if restarted:
        of_unit = [one.start for one in records if one.start and (one.unit == unit or one.pid == "1")]
        wanted.update([one for one in of_unit if one != start][-1:])
    return [one for one in records if one.start in wanted]


def last_lines(records: Sequence[JournalEntry], count: int) -> list[str]:
    """The last ``count`` lines of a service's own processes; if there are none, of what systemd said about it.

    Lines are grouped by process, the one that wrote last comes last: workers that fail at the same time interleave
    their tracebacks.
    """
    own = [one for one in records if one.lines and one.pid != "1" and one.who != "systemd"]
    said: dict[str, list[JournalEntry]] = {}
    for one in own or records:
        of_process = said.pop(one.pid, [])
        of_process.append(one)
        said[one.pid] = of_process
    return [text for of_process in said.values() for one in of_process for text in one.lines][-count:]


def own_lines(unit: str, count: int) -> list[str]:
    """The last ``count`` lines that a unit's own processes wrote since its last start, or what systemd said of it if
    they wrote none; for a unit that systemd has forgotten, the last lines it ever wrote.

    Whatever is in them, raises nothing: it is asked when something has failed. HostError if journalctl is missing.
    """
    found = list(entries(["-u", unit, "-n", str(count * 3)]))
    shown = systemd.properties_if_known(unit, "InvocationID", "NRestarts")
    if shown.get("InvocationID"):
        restarted = shown.get("NRestarts", "0") not in ("", "0")
        found = of_latest_start(found, unit, shown["InvocationID"], restarted)
    return last_lines(found, count)


def entries(arguments: Sequence[str]) -> Iterator[JournalEntry]:
    """The entries that ``journalctl ARGUMENTS`` prints, oldest first; at most 90 s. Raises HostError without it."""
    argv = [*COMMAND, *arguments]
    try:
        yield from filter(None, map(parse, lines(argv, runner.ENVIRONMENT, seconds=_READING)))
    except FileNotFoundError:
        raise HostError(f"the host lacks the command {argv[0]}", next=advice.do("install systemd's journal")) from None


def tell(unit: str, text: str) -> None:
    """Add a line to the journal of another ``unit``: ``journalctl -u`` and ``systemctl status`` show it. Best effort.

    ``OBJECT_SYSTEMD_UNIT=`` is what attributes it (systemd.journal-fields(7)).
    """
    line = " ".join(text.split())
    fields = {"MESSAGE": line, "PRIORITY": "6", "SYSLOG_IDENTIFIER": "deployer", "OBJECT_SYSTEMD_UNIT": unit}
    message = "".join(f"{name}={value}\n" for name, value in fields.items()).encode("utf-8", "replace")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.settimeout(1.0)  # a journald that does not read must not hold us up
        sending.sendto(message, "/run/systemd/journal/socket")


def lines(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    over: Optional[Callable[[], bool]] = None,  # noqa: UP045  (Python 3.9)
    seconds: float = 0.0,
) -> Iterator[bytes]:
    """Each line that a command prints; arguments as for :func:`portions`."""
    for portion in portions(argv, environment, over=over, seconds=seconds):
        yield from portion


def portions(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    over: Optional[Callable[[], bool]] = None,  # noqa: UP045  (Python 3.9)
    seconds: float = 0.0,
) -> Iterator[list[bytes]]:
    """The lines that a command prints, without newlines, in groups as they arrive; of a line longer than LONGEST only
    the beginning.

    Ends with the command, after ``seconds`` (0: no limit), or when ``over()``, asked once a second, is true. A followed
    command (``over`` given) that ends early is given a second, so that the caller does not restart it in a tight loop.
    """
    nothing, began = subprocess.DEVNULL, time.monotonic()
    with subprocess.Popen(list(argv), stdin=nothing, stdout=subprocess.PIPE, env=dict(environment)) as process:
        assert process.stdout is not None
        outlet, rest, look = process.stdout.fileno(), b"", began + _LOOK
        try:
            while not seconds or time.monotonic() - began < seconds:
                if over is not None and time.monotonic() >= look:
                    if over():
                        return
                    look = time.monotonic() + _LOOK
                if not select.select([outlet], [], [], _LOOK)[0]:
                    continue
                part = os.read(outlet, 65536)
                *whole, rest = (rest + part).split(b"\n")
                if whole:
                    yield whole
                rest = rest[: LONGEST + 1]
                if not part:
                    if over is not None:
                        time.sleep(_LOOK)
                    return
        finally:
            process.terminate()
