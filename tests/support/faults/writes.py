"""What goes wrong at one write operation of a job: the disk is full from there on, or the job is killed there."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from tests.support.faults.accident import Aftermath, Scene, running
from tests.support.faults.bench import COMMANDS, Bench
from tests.support.faults.case import Case, Cell

NOT_SERVING = ("failed", "interrupted", "rolled back")


def writes_of(bench: Bench, command: str) -> list[str]:
    """The writes of a clean run, in their order: those of every run, as what is left to prune differs."""
    first, second = _writes_of_one(bench, command), _writes_of_one(bench, command)
    return [what for what in first if what in second]


def _writes_of_one(bench: Bench, command: str) -> list[str]:
    before = bench.ready()
    parts = bench.prepare(command, before)
    bench.faults.write("")
    bench.site.expect(0, *COMMANDS[command])
    bench.note(bench.survey(), parts)
    found = bench.faults.writes()
    bench.deploy()
    return found


def at_write(bench: Bench, command: str, what: str, do: str, *, at_once: bool | None = None) -> Cell:
    """One case; ``what`` is from :func:`writes_of`, ``do`` is full or kill."""
    states = NOT_SERVING if do == "full" else ("interrupted",)
    at_once = do == "full" if at_once is None else at_once
    accident = _accident(what, do)
    return Case(bench, command, what, do, accident=accident, states=states, either=True, at_once=at_once).run()


def _accident(what: str, do: str) -> Callable[[Scene], Aftermath]:
    def accident(scene: Scene) -> Aftermath:
        faults = scene.faults
        faults.write(what, do="kill" if do == "kill" else "fail", error=errno.ENOSPC, sticky=do == "full")
        with running(scene.site, *scene.command) as fab:
            exit, said = fab.end(), fab.said
        assert faults.has_broken(), f"there was no such write: exit {exit}\n{said}"
        faults.clear()
        return Aftermath(exit, said)

    return accident


def spread(every: Sequence[str], count: int) -> list[str]:
    """So many of them, from the first to the last."""
    return [every[round(index * (len(every) - 1) / (count - 1))] for index in range(count)]
