"""The figures of ``deployer demo``, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.text import Text

from deployer.ui.answers.table import console_for, light_table
from deployer.ui.style.fit import put
from deployer.ui.style.text import clean, seconds
from deployer.wire.lazydata import dataclass

__all__ = ["DemoStep", "demo_table"]


@dataclass(frozen=True, kw_only=True)
class DemoStep:
    """One step of the demo under load. Latencies in milliseconds; ``outcome`` is a remark (``refused``)."""

    step: str
    seconds: float
    release: str
    sent: int
    failed: int
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    outcome: str = ""


def demo_table(steps: Sequence[DemoStep], *, stream: TextIO | None = None) -> None:
    """Each step under load, and the sum of requests. Fits into 80 columns."""
    table = light_table("~step", ">time", "serves", ">sent", ">failed", ">p50", ">p99", ">max")
    for step in steps:
        name = Text(clean(step.step))
        name.append(f"\n{clean(step.outcome)}" if step.outcome else "", style="dim italic")
        times = [f"{value:.0f} ms" if step.sent else "" for value in (step.p50, step.p99, step.max)]
        table.add_row(name, seconds(step.seconds), clean(step.release), f"{step.sent:,}", _lost(step.failed), *times)
    table.add_section()
    sent, failed = sum(step.sent for step in steps), sum(step.failed for step in steps)
    whole = seconds(sum(step.seconds for step in steps))
    table.add_row(Text("all of it", style="bold"), whole, "", f"{sent:,}", _lost(failed))
    put(console_for(stream), table)


def _lost(failed: int) -> Text:
    return Text(f"{failed:,}", style="bold red" if failed else "bold green")
