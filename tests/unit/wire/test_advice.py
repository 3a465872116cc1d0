"""What to do next is a value: it reads as text, crosses the wire, and gives scripts its commands."""

from __future__ import annotations

import json

import pytest

from deployer.errors import Busy
from deployer.events import Failed, failure, parse
from deployer.wire.advice import NOTHING, Next, Step, do, run
from deployer.wire.cause import Cause
from deployer.wire.protocol import dumps

STEPS = do("make room on the disk") + run("fab deploy", "goes on where it stopped") + run("fab status")


def test_it_reads_as_one_line_for_each_step() -> None:
    """A command comes with its reason in brackets, what is done by hand as it is, nothing as nothing."""
    assert str(STEPS) == "make room on the disk\nfab deploy   (goes on where it stopped)\nfab status"
    assert (str(NOTHING), bool(NOTHING), bool(STEPS)) == ("", False, True)


def test_its_commands_can_be_typed_as_they_stand() -> None:
    """Neither reasons nor what is done by hand are among them."""
    assert STEPS.commands == ("fab deploy", "fab status")


def test_it_crosses_the_wire() -> None:
    """An event carries it as text for an older half, and as pairs for this one."""
    message = json.loads(dumps({"event": "failed", "exit": 5, "message": "no", **STEPS.fields()}))
    assert message["next"] == str(STEPS)
    event = parse(message, "web1")
    assert isinstance(event, Failed) and event.next == STEPS


@pytest.mark.parametrize("steps", [5, None, [1], [["a"]], [["a", "b", "c"]], {"a": "b"}])
def test_what_makes_no_sense_says_nothing(steps: object) -> None:
    """A host that sends something else than pairs gets no traceback out of us."""
    assert Next.told({"message": "no", "steps": steps}) == NOTHING


@pytest.mark.parametrize(
    "advice",
    [
        {"next": "rm -rf /"},
        {"steps": [["rm -rf /", ""]]},
        {"steps": [["", "rm -rf /"]]},
        {"steps": [["fab deploy; rm -rf /", "again"]]},
        {"steps": [["fab logs $(rm -rf /)", ""]]},
        {"next": "sudo rm -rf /   (mends it)"},
        {"steps": [["", "/bin/rm -rf /"]]},
    ],
)
def test_a_host_cannot_have_a_foreign_command_typed(advice: dict[str, object]) -> None:
    """Whatever is none of ours is told as the host's own words, and is no command for scripts either."""
    told = Next.told({"message": "no", **advice})
    assert told.commands == ()
    assert all(line.startswith("the host says: ") for line in str(told).splitlines())


def test_a_failure_without_a_message_names_the_host_and_advises_nothing() -> None:
    """What a host says to do next belongs to what it says went wrong."""
    told = parse({"event": "failed", "exit": 5, "message": " ", **STEPS.fields()}, "web1")
    assert isinstance(told, Failed)
    assert told.message == "web1 says that it failed, and not why (exit code 5)"
    assert told.next == NOTHING


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("fab deploy   (again)", ("fab deploy",)),
        ("fab deploy", ("fab deploy",)),
        ("make room, then fab deploy", ()),
        ("fab attach, or fab status", ()),
        ("", ()),
    ],
)
def test_text_of_an_older_host_is_read(text: str, commands: tuple[str, ...]) -> None:
    """Text is kept as it is; what is plainly one command is one."""
    advice = Next.told({"message": "no", "next": text})
    assert (str(advice), advice.commands) == (text, commands)


def test_machines_get_the_text_and_the_commands() -> None:
    """``--json`` says both, of an error as of an event."""
    told = failure("web1", Busy(message="no", next=STEPS)).as_json()
    assert (told["next"], told["commands"]) == (str(STEPS), ["fab deploy", "fab status"])


def test_a_change_leaves_reasons_alone() -> None:
    """Commands, and steps that name one, are changed; why a command is typed is not."""
    changed = (run("fab deploy", "fab deploy again") + do("then fab deploy")).change(
        lambda text: text.replace("fab", "F")
    )
    assert tuple(changed) == (Step("F deploy", "fab deploy again"), Step("", "then F deploy"))


def test_a_cause_is_filled_in_where_it_is_told() -> None:
    """Names in its message and its steps are replaced; values with braces stay as they are."""
    cause = Cause("app.thing", "x", "{what} failed", do("look at {what}") + run("fab logs {more}", "{why}"))
    told = cause.told(what="{a}", more="-f", why="all of it")
    assert told == {"message": "{a} failed", "next": do("look at {a}") + run("fab logs -f", "all of it")}
