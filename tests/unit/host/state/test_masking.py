"""Secret values never pass into an event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import Damaged
from deployer.host.state.masking import Secrets, clean, masked, secret_values, stored_names
from deployer.host.state.paths import AppPaths


def heard(values: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    masked(lambda name, **given: found.update(given), values)("output", **fields)
    return found


def test_a_secret_is_masked_wherever_it_stands() -> None:
    """In a line, in a list of log lines, several times over."""
    values = secret_values({"TOKEN": "hunter22", "PLAIN": "visible-value"}, ["TOKEN"])
    assert heard(values, line="hunter22, hunter22", logs=["x=hunter22", "visible-value"], seconds=1.5) == {
        "line": "****, ****",
        "logs": ["x=****", "visible-value"],
        "seconds": 1.5,
    }


def test_an_event_stays_what_it_is() -> None:
    """Masked or not, it has its name; without a secret nothing stands between it and whoever hears it."""
    heard: list[str] = []

    def emit(name: str, **_: Any) -> None:
        heard.append(name)

    masked(emit, ("hunter22",))("phase.done", line="x")
    assert heard == ["phase.done"]
    assert masked(emit, ()) is emit


def test_each_line_of_a_long_secret_is_masked() -> None:
    """A private key is printed line by line."""
    values = secret_values({"KEY": "first line\nsecond line"}, ["KEY"])
    assert heard(values, line="> second line") == {"line": "> ****"}


def test_a_secret_that_contains_another_is_masked_whole() -> None:
    """The longer one first, or its rest would stay."""
    values = secret_values({"A_KEY": "abcdef", "B_KEY": "abcdef-and-more"}, ["A_KEY", "B_KEY"])
    assert heard(values, line="abcdef-and-more") == {"line": "****"}


def test_short_values_are_left_alone() -> None:
    """Hiding every `on` would hide nothing and spoil the line."""
    assert heard(secret_values({"A": "on"}, ["A"]), line="it is on") == {"line": "it is on"}


def keep(paths: AppPaths, number: int, secret: str) -> None:
    """A release with one secret."""
    directory = paths.release(number)
    directory.mkdir(parents=True)
    (directory / "env.json").write_text(json.dumps({"TOKEN": secret, "PLAIN": "visible-value"}))
    (directory / "secret.json").write_text(json.dumps(["TOKEN"]))


def test_the_secrets_of_every_release_are_known_also_of_one_that_comes_later(tmp_path: Path) -> None:
    """The journal holds what older releases printed; who follows it hears the newer ones, too."""
    paths = AppPaths("shop", tmp_path)
    keep(paths, 1, "firstsecret")
    keep(paths, 2, "secondsecret")
    secrets = Secrets(paths)
    assert clean("firstsecret secondsecret visible-value", secrets.values()) == "**** **** visible-value"
    keep(paths, 3, "thirdsecret")
    assert clean("thirdsecret", secrets.values()) == "****"
    (paths.release(1) / "env.json").write_text("torn{")
    assert clean("secondsecret", Secrets(paths).values()) == "****"


def test_a_secret_is_masked_at_any_depth_of_an_answer() -> None:
    """In lists and objects within each other; what is no text stays as it is."""
    given = {"a": [{"b": "x hunter22"}, ("hunter22", 1)], "c": {"d": {"e": "hunter22"}}, "f": None, "g": 1.5}
    assert clean(given, ("hunter22",)) == {
        "a": [{"b": "x ****"}, ["****", 1]], "c": {"d": {"e": "****"}}, "f": None, "g": 1.5,
    }  # fmt: skip


def test_a_secret_that_is_not_set_is_none() -> None:
    """Its name alone gives nothing to look for."""
    assert secret_values({"A_KEY": "hunter22"}, ["A_KEY", "B_KEY"]) == ("hunter22",)
    assert secret_values({}, ["B_KEY"]) == ()


@pytest.mark.parametrize("text", ['{"TOKEN": 1}', '["TOKEN", 1]', '"TOKEN"', "7", "torn["])
def test_names_of_secrets_that_are_not_as_they_were_written_are_damage(tmp_path: Path, text: str) -> None:
    """The file is named; a release without one has no secrets, as one without any."""
    paths = AppPaths("shop", tmp_path)
    assert Secrets(paths).values() == ()
    paths.release(1).mkdir(parents=True)
    assert stored_names(paths, 1) == ()
    (paths.release(1) / "secret.json").write_text(text)
    with pytest.raises(Damaged, match=r"v1/secret\.json"):
        stored_names(paths, 1)
