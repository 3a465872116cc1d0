"""``fab env`` on the screen and for machines: where variables come from, what is to change, and no secret."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from deployer.events import HostEnd
from deployer.remote.answers import Environment, VariableRow
from deployer.ui.answers.environment import show_difference, show_environment, show_pulled, show_value
from tests.support.screen import ANSI, Terminal

NOW = 1_000_000.0
PLAIN = VariableRow(name="DEBUG", sources=("env",), value="0", serves="m1")
KEY = VariableRow(
    name="KEY", sources=("host", "env_file"), secret=True, serves="m2", kept="m2", by="ada@laptop", at=NOW - 180
)
STAGED = VariableRow(name="NEW", secret=True, kept="m3", by="bob@desk", at=NOW)
CHANGED = VariableRow(name="OLD", sources=("host",), secret=True, serves="m4", kept="m5", by="bob@desk", at=NOW)
REMOVED = VariableRow(name="PAST", sources=("host",), secret=True, serves="m6")


def host(name: str, *rows: VariableRow, current: str = "v3") -> Environment:
    return Environment(host=name, current=current, version=1, variables=rows)


def shown(*found: Environment, **options: Any) -> str:
    stream = io.StringIO()
    show_environment({one.host: one for one in found}, app="shop", stream=stream, now=NOW, **options)
    return stream.getvalue()


def test_each_variable_has_its_value_its_source_and_what_becomes_of_it() -> None:
    """A secret is masked; what it hides is told; what the next release changes is counted above."""
    text = shown(host("web1", PLAIN, KEY, STAGED, CHANGED, REMOVED))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:2] == [
        "shop → web1", "v3 serves; 3 variables changed since: the next deploy or reload takes what is kept",
    ]  # fmt: skip
    assert "DEBUG 0 [env]" in lines
    assert "KEY **** host ada@laptop 3 min ago, over env_file" in lines
    assert "NEW **** host bob@desk just now not in v3 yet" in lines
    assert "OLD **** host bob@desk just now another value in v3" in lines
    assert "PAST **** host removed, still in v3" in lines


def test_before_the_first_deploy() -> None:
    """What is kept waits for it; nothing at all is said with the command that sets a variable."""
    assert "for the first deploy" in shown(host("web1", STAGED, current=""))
    assert "nothing serves" in shown(host("web1", current=""))
    assert "fab env.set NAME" in shown(host("web1", current=""))


def test_several_hosts_are_together_where_they_are_the_same() -> None:
    """Each difference has a line of its own; a host that gave no answer is named."""
    other = VariableRow(name="KEY", sources=("host",), secret=True, serves="m9", kept="m9", by="ada@laptop", at=NOW)
    gone = HostEnd(host="web4", result="unreachable", detail="no route")
    stream = io.StringIO()
    found = {one.host: one for one in (host("web1", PLAIN, KEY), host("web2", PLAIN, KEY), host("web3", PLAIN, other))}
    show_environment(found, [gone], app="shop", stream=stream, now=NOW)
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert "DEBUG 0 [env] all" in lines
    assert "KEY **** host ada@laptop 3 min ago, over env_file web1, web2" in lines
    assert "KEY **** host ada@laptop just now web3" in lines
    assert "✗ web4: no route" in lines


def test_machines_get_the_same_without_marks() -> None:
    """Marks compare values; they are for this program."""
    (one,) = [json.loads(shown(host("web1", PLAIN, KEY, STAGED), json=True))]
    assert (one["app"], one["host"], one["current"]) == ("shop", "web1", "v3")
    told = {row["name"]: (row["from"], row["value"], row["state"]) for row in one["variables"]}
    assert told == {
        "DEBUG": (["env"], "0", ""), "KEY": (["host", "env_file"], None, ""), "NEW": ([], None, "staged"),
    }  # fmt: skip
    assert "m2" not in json.dumps(one)


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_into_the_window(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A long value is cut, a narrow window gets a list."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    long = VariableRow(name="LONG", sources=("env",), value="x" * 500, serves="m")
    terminal = Terminal()
    show_environment({"web1": host("web1", KEY, long, STAGED)}, app="shop", stream=terminal, now=NOW)
    text = ANSI.sub("", terminal.getvalue())
    assert max(map(len, text.splitlines()[2:])) <= columns  # sentences are broken by the terminal
    assert "LONG" in text and "…" in text


def test_nothing_of_a_host_touches_the_terminal() -> None:
    """Names are checked; values of [env] may hold anything printable or not."""
    nasty = VariableRow(name="A", sources=("env",), value="\x1b]0;evil\x07\nb", serves="m")
    assert "\x1b" not in shown(host("web1", nasty))


def test_a_difference_is_told_by_name() -> None:
    """As diff does, a line each; of several hosts with their names."""
    stream = io.StringIO()
    show_difference({"web1": (("A",), ("C",), ("B",))}, stream=stream)
    assert stream.getvalue() == "+ A\n~ B\n- C\n"
    stream = io.StringIO()
    show_difference({"web1": ((), (), ()), "web2": (("A",), (), ())}, stream=stream)
    assert stream.getvalue() == "web2: + A\n"


def test_a_value_is_printed_as_it_is() -> None:
    """And a newline; nothing is added to what was asked for on standard output."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show_value("A", "h\u00e9 'x'\n", stream=out)
    show_pulled({"A": "1"}, "A=1\n", "-", stream=out)
    assert out.buffer.getvalue() == "h\u00e9 'x'\n\nA=1\n".encode()  # type: ignore[attr-defined]
