"""Every single write of a job: the disk is full from there on, or the job is killed right before it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.faults.bench import COMMANDS, Bench
from tests.support.faults.matrix import problems
from tests.support.faults.writes import at_write, writes_of

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("do", ["full", "kill"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_accident_at_every_write(bench: Bench, command: str, do: str, show: Any, request: Any) -> None:
    """One whole release serves, the command says which, and with room on the disk the next deploy just works."""
    wanted = request.config.getoption("--boundary")
    chosen = [one for one in writes_of(bench, command) if not wanted or any(text in one for text in wanted)]
    cells = []
    for what in chosen:
        cells.append(at_write(bench, command, what, do))
        show(cells)
    wrong = problems(cells) or "\n".join(bench.rests())
    if wrong:
        pytest.fail(wrong, pytrace=False)
