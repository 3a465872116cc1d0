"""A sample of ``make test-faults``: each command with each accident, before the switch and after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost
from tests.support.faults.bench import Bench, bench_on
from tests.support.faults.case import Case
from tests.support.faults.matrix import problems

pytestmark = pytest.mark.acceptance
SAMPLE = (
    ("deploy", "phase.started build", "laptop"),
    ("deploy", "phase.started migrate", "job"),
    ("deploy", "switched", "job"),
    ("deploy", "phase.started switch", "network"),
    ("deploy", "phase.done check", "plug"),
    ("deploy", "switched", "plug"),
    ("reload", "switched", "laptop"),
    ("reload", "phase.done check", "job"),
    ("reload", "phase.done drain", "network"),
    ("reload", "phase.done start", "plug"),
    ("rollback", "phase.done install", "laptop"),
    ("rollback", "phase.done switch", "job"),
    ("rollback", "switched", "session"),
    ("deploy", "phase.started drain", "abort"),
    ("rollback", "phase.started watch", "plug"),
)


@pytest.fixture(scope="module")
def bench(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_on(bookworm, tmp_path_factory.mktemp("whole")) as made:
        yield made


@pytest.mark.parametrize(("command", "boundary", "fault"), SAMPLE)
def test_one_whole_release_serves(bench: Bench, command: str, boundary: str, fault: str) -> None:
    """Whatever ends in the middle of a command, the host sees to the rest by itself, and nobody notices."""
    cell = Case(bench, command, boundary, fault).run()
    assert not cell.problems, problems([cell])


def test_nothing_looks_after_a_host_at_rest(bench: Bench) -> None:
    """The dead-man's switch ends when there is nothing left to look after, and so does all else of a deploy."""
    bench.ready()
    assert bench.rests() == []
