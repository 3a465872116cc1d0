"""The next command to type fits the command line that failed."""

from __future__ import annotations

import pytest

from deployer.cli.advice import Typed

HERE = Typed(program="fab", target="deploy@web1", hosts="deploy@web1")


@pytest.mark.parametrize(
    ("advice", "adapted"),
    [
        ("fab status", "fab status -H deploy@web1"),
        ("fab attach   (follows it)", "fab attach -H deploy@web1   (follows it)"),
        ("fab phase.build", "fab phase.build -H deploy@web1"),
        ("fab rollback --to v3 --yes", "fab rollback -H deploy@web1 --to v3 --yes"),
        ("make room, then fab deploy", "make room, then fab deploy -H deploy@web1"),
        ("fab attach, or fab status", "fab attach -H deploy@web1, or fab status -H deploy@web1"),
        ("fab setup -H root@HOST --allow-unit Slice", "fab setup -H root@web1 --allow-unit Slice"),
        ("fab setup -H root@web1   (once)", "fab setup -H root@web1   (once)"),
        ("look at the fabric of things", "look at the fabric of things"),
        ("", ""),
    ],
)
def test_commands_name_the_host_that_was_typed(advice: str, adapted: str) -> None:
    """A command that names no host gets the one that was typed; one that names another keeps it."""
    assert HERE.adapt(advice) == adapted


def test_hosts_of_the_configuration_are_not_repeated() -> None:
    """What deploy.toml says need not be typed; the place of a host in a text is filled in all the same."""
    typed = Typed(program="fab", target="deploy@web1:2222")
    assert typed.adapt("fab status") == "fab status"
    assert typed.adapt("fab setup -H root@HOST") == "fab setup -H root@web1:2222"


def test_program_environment_and_configuration_come_along() -> None:
    """The command is one that does the same: of the program that was typed, for the environment that was named."""
    typed = Typed(program="deployer", target="web1", hosts="web1", env="my staging", config="../deploy.toml")
    assert typed.adapt("fab status") == "deployer status -H web1 --env 'my staging' --config ../deploy.toml"
