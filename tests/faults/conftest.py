"""Each worker has a host of its own, on which accidents can be ordered. The matrix is shown when all is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deployer.sandbox import SandboxHost, sweep, up
from tests.support.faults.bench import COMMANDS, Bench, bench_on
from tests.support.faults.case import Cell
from tests.support.faults.matrix import line, markdown


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fault matrix")
    group.addoption("--matrix", metavar="FILE", help="write the fault matrix to this file, as Markdown")
    group.addoption("--progress", metavar="FILE", help="add a line to this file for each case, as it ends")
    group.addoption("--boundary", action="append", default=[], metavar="TEXT", help="only boundaries that hold TEXT")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    cells = [
        Cell(**value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, values in getattr(report, "user_properties", ())
        if name == "cells" and getattr(report, "when", "") == "call"
        for value in json.loads(values)
    ]
    if not cells:
        return
    order = list(COMMANDS)
    text = markdown(sorted(cells, key=lambda cell: order.index(cell.command)))
    terminalreporter.section("fault matrix")
    terminalreporter.write_line(text)
    path = config.getoption("--matrix")
    if path:
        Path(path).write_text(text)


@pytest.fixture(scope="session")
def host() -> Iterator[SandboxHost]:
    sweep()
    with up(distribution="bookworm") as host:
        yield host


@pytest.fixture(scope="session")
def bench(host: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """An app that is set up, and accidents that can be ordered for it."""
    with bench_on(host, tmp_path_factory.mktemp("whole")) as made:
        yield made


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[list[Cell]], None]:
    """Hand cells to the table at the end, all those of a test each time."""

    progress = request.config.getoption("--progress")

    def take(cells: list[Cell]) -> None:
        if progress:
            with Path(progress).open("a") as file:
                file.write(line(cells[-1]))
        request.node.user_properties[:] = [("cells", json.dumps([asdict(cell) for cell in cells]))]

    return take
