"""Words behind a task that are values of its option, before Invoke parses them."""

from __future__ import annotations

import pytest
from invoke.parser.context import ParserContext

from deployer.cli.usage.words import with_options
from deployer.tasks import namespace

CONTEXTS = {one.name: one for one in namespace.to_contexts()}
INITIAL = ParserContext()


def words(line: str) -> str:
    option = {"env.set": "--variable", "env.push": "--file"}
    return " ".join(with_options(line.split(), CONTEXTS, INITIAL, lambda name: option.get(name, "")))


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("env.set A=1", "env.set --variable A=1"),
        ("env.set A=1 B", "env.set --variable A=1 --variable B"),
        ("env.set --stage A=1 --json B=2", "env.set --stage --variable A=1 --json --variable B=2"),
        ("env.set --file x A=1", "env.set --file x --variable A=1"),
        ("env.set -e staging A=1", "env.set -e staging --variable A=1"),
        ("env.set --file - A", "env.set --file - --variable A"),
        ("env.set --variable A=1", "env.set --variable A=1"),
        ("env.push -", "env.push --file -"),
        ("env.set A=1 status", "env.set --variable A=1 status"),
        ("status A=1", "status A=1"),
        ("deploy --ref main", "deploy --ref main"),
    ],
)
def test_each_word_gets_its_option(typed: str, parsed: str) -> None:
    """But not the value of another option, nor another task, nor what stands behind a task that takes none."""
    assert words(typed) == parsed
