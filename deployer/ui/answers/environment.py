"""The answer of ``fab env``, on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import Environment, VariableRow
from deployer.ui.answers.table import begin, light_table, say_unreachable, write_answer
from deployer.ui.plain.jsonlines import write_object
from deployer.ui.stream import safe
from deployer.ui.style import paint
from deployer.ui.style.fit import put
from deployer.ui.style.names import Names
from deployer.ui.style.text import age, clean, counted
from deployer.wire.environment import HOST, PLAIN

__all__ = ["show_difference", "show_environment", "show_pulled", "show_value"]

MASK = "****"
_LONGEST = 60
"""Columns of a value."""
_SHOWN = {PLAIN: "[env]"}


def show_environment(
    found: Mapping[str, Environment],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """Every variable of the app, in the order of their names; with ``json`` one object. No secret value is among them.

    Of several hosts, those that differ in a variable have a row each.
    """
    if json:
        objects = [{"app": app, **_as_object(one)} for one in found.values()]
        return write_answer(objects, unreachable, stream)
    now = time.time() if now is None else now
    hosts = [*found, *(end.host for end in unreachable)]
    console, names = begin(app, hosts, stream), Names(hosts)
    rows = list(_rows(found))
    if found:
        paint.say(console, "  ", _serving(found))
    if rows:
        many = len(hosts) > 1
        table = light_table("variable", "~value", "~from", "~", *(["~hosts"] if many else []))
        for row, on in rows:
            one = found[on[0]]
            where = [Text("all" if len(on) == len(found) else names.few(on))] if many else []
            table.add_row(clean(row.name), _value(row), _source(row, now), _state(row, one.current), *where)
        put(console, table)
    elif found:
        paint.say(console, "no variables yet; set one: fab env.set NAME")
    say_unreachable(console, unreachable, names)
    return None


def show_difference(
    found: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]],
    *,
    json: bool = False,
    stream: TextIO | None = None,
) -> None:
    """How a file differs from what each host keeps, a name a line: what only the file has (+), what only the host has
    (-), what has another value (~). ``found`` has these three of each host; with ``json`` an object a line."""
    out = safe(stream or sys.stdout)
    for host, (added, removed, changed) in found.items():
        if json:
            write_object(out, {"host": host, "added": added, "removed": removed, "changed": changed})
            continue
        marks = {**dict.fromkeys(added, "+"), **dict.fromkeys(removed, "-"), **dict.fromkeys(changed, "~")}
        where = f"{clean(host)}: " if len(found) > 1 else ""
        out.write("".join(f"{where}{marks[name]} {clean(name)}\n" for name in sorted(marks)))


def show_value(name: str, value: str, *, json: bool = False, stream: TextIO | None = None) -> None:
    """A value as it is, and a newline; with ``json`` an object."""
    out = stream or sys.stdout
    if json:
        return write_object(safe(out), {"name": name, "value": value})
    out.buffer.write(f"{value}\n".encode())
    out.flush()
    return None


def show_pulled(
    values: Mapping[str, str], text: str, file: str, *, json: bool = False, stream: TextIO | None = None
) -> None:
    """The text that was asked for on standard output; else which file has it, on standard error."""
    out = stream or sys.stdout
    if json:
        told = {"variables": values} if file == "-" else {"file": file, "variables": sorted(values)}
        return write_object(safe(out), told)
    if file == "-":
        out.buffer.write(text.encode())
        out.flush()
        return None
    sys.stderr.write(f"{counted(len(values), 'variable')} in {file}, which only you can read\n")
    return None


def state_of(row: VariableRow) -> str:
    """How what serves differs from what the host keeps: ``staged`` is not in it yet, ``changed`` has another value
    there, ``removed`` is in it still. Empty when they agree."""
    if row.kept and row.kept != row.serves:
        return "changed" if HOST in row.sources else "staged"
    return "removed" if HOST in row.sources and not row.kept else ""


def _as_object(found: Environment) -> dict[str, object]:
    return {
        "host": found.host,
        "current": found.current or None,
        "variables": [
            {
                "name": row.name,
                "from": list(row.sources),
                "secret": row.secret,
                "value": None if row.secret else row.value,
                "state": state_of(row),
                "by": row.by,
                "at": row.at,
            }
            for row in found.variables
        ],
    }


def _rows(found: Mapping[str, Environment]) -> Iterator[tuple[VariableRow, list[str]]]:
    """Each variable, with the hosts on which it is the same."""
    alike: dict[tuple[object, ...], tuple[VariableRow, list[str]]] = {}
    for host, one in found.items():
        for row in one.variables:
            key = (row.name, row.sources, row.serves, row.kept)
            alike.setdefault(key, (row, []))[1].append(host)
    yield from sorted(alike.values(), key=lambda pair: pair[0].name)


def _serving(found: Mapping[str, Environment]) -> str:
    releases = sorted({one.current or "nothing" for one in found.values()})
    waiting = sorted({row.name for one in found.values() for row in one.variables if one.current and state_of(row)})
    text = f"{' and '.join(map(clean, releases))} serves" if len(releases) == 1 else f"{', '.join(releases)} serve"
    if not waiting:
        return text
    return f"{text}; {counted(len(waiting), 'variable')} changed since: the next deploy or reload takes what is kept"


def _value(row: VariableRow) -> Text:
    if row.secret:
        return Text(MASK, style="dim")
    text = Text(clean(row.value))
    text.truncate(_LONGEST, overflow="ellipsis")
    return text


def _source(row: VariableRow, now: float) -> Text:
    """``host, ada@laptop 3 days ago, over env_file``."""
    kept = HOST if row.kept and HOST not in row.sources else ""
    first, *hidden = (kept, *row.sources) if kept else row.sources or ("",)
    text = Text(_SHOWN.get(first, first))
    if row.kept and row.by:
        text.append(f" {clean(row.by)} {age(row.at, now)}", style="dim")
    if hidden:
        text.append(f", over {', '.join(_SHOWN.get(one, clean(one)) for one in hidden)}", style="yellow")
    return text


def _state(row: VariableRow, current: str) -> Text:
    told = {
        "staged": f"not in {current} yet" if current else "for the first deploy",
        "changed": f"another value in {current}",
        "removed": f"removed, still in {current}",
    }
    return Text(told.get(state_of(row), ""), style="yellow")
