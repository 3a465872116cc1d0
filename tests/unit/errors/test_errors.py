"""Errors are values: made once, the same for everybody who has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from deployer.errors import Busy, ConfigError, DeployerError, Exit
from deployer.errors.bug import Bug, explained
from deployer.errors.local import LocalError
from deployer.host.errors import BadRequest, HostError, bug
from deployer.wire.advice import run
from deployer.wire.errors import ExplainedError


@pytest.mark.parametrize("error", [Busy(message="busy"), ConfigError(message="no"), HostError("no"), BadRequest("no")])
@pytest.mark.parametrize("name", ["message", "state", "next", "logs"])
def test_an_error_does_not_change(error: ExplainedError, name: str) -> None:
    """Of either half: a second thread, or a caller further up, sees what was raised."""
    with pytest.raises(AttributeError, match="set once"):
        setattr(error, name, "other")


def test_an_error_passes_through_all_that_python_does_to_it() -> None:
    """Context managers set its traceback and its context; notes can be added."""

    @contextmanager
    def around() -> Iterator[None]:
        try:
            yield
        except Busy as error:
            raise replace(error, next=run("fab attach")) from error.__cause__

    with pytest.raises(Busy) as caught, ExitStack() as stack:
        stack.enter_context(around())
        stack.enter_context(around())
        raise Busy(message="busy", host="web1")
    assert (caught.value.next, caught.value.host, str(caught.value)) == (run("fab attach"), "web1", "busy")
    caught.value.__notes__ = ["a note"]


def test_a_config_error_says_that_nothing_was_touched() -> None:
    """Unless told otherwise."""
    assert ConfigError(message="no").state == "nothing was touched"
    assert ConfigError(message="no", state="half").state == "half"


@pytest.mark.parametrize(
    ("error", "kind"), [(Busy(message="x"), Busy), (OSError(5, "I/O"), LocalError), (KeyError("x"), Bug)]
)
def test_any_exception_becomes_an_error_for_people(error: Exception, kind: type[DeployerError]) -> None:
    """One that is already stays what it is; this machine's is told as that; what is left is a bug."""
    assert type(explained(error)) is kind


def test_an_exception_that_cannot_be_shown_is_a_bug_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """On the host the traceback goes to the journal, without what ``clean`` takes out, and its end with the error."""

    def fails(lines: list[str]) -> list[str]:
        raise ValueError

    assert bug(KeyError("x"), "looking", fails).message == "a bug of deployer: KeyError"
    try:
        raise KeyError("hunter2")
    except KeyError as error:
        told = bug(error, "looking", lambda lines: [line.replace("hunter2", "****") for line in lines])
    assert (told.exit, told.logs[-1]) == (Exit.BUG, "KeyError: '****'")
    assert "hunter2" not in capsys.readouterr().err
