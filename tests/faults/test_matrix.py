"""Every accident at every boundary of every command that makes a release: one whole release serves, by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.faults.accident import FAULTS
from tests.support.faults.bench import COMMANDS, Bench
from tests.support.faults.case import Case
from tests.support.faults.matrix import problems

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_accident_at_every_boundary(
    bench: Bench, command: str, fault: str, show: Any, request: pytest.FixtureRequest
) -> None:
    """Whatever ends, and whenever: the site serves on, the lock is free, and the next deploy just works."""
    wanted = request.config.getoption("--boundary")
    found = bench.boundaries(command)
    chosen = [one for one in found if not wanted or any(text in one for text in wanted)]
    cells = []
    for boundary in chosen:
        cells.append(Case(bench, command, boundary, fault).run())
        show(cells)
    wrong = problems(cells) or "\n".join(bench.rests())
    if wrong:
        pytest.fail(wrong, pytrace=False)
