"""The options of the tasks: what all take, those of waves, what each means in --help, and the letters."""

from __future__ import annotations

import inspect
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["COMMON", "HELP", "LETTERS", "WAVES", "strategy_of"]

HELP = {
    "env": "the [environments.NAME] of deploy.toml to use",
    "config": "another deploy.toml",
    "accept_new": "accept and record the key of an unknown host (a changed key is always refused)",
    "json": "print one JSON event a line on standard output, for machines",
    "verbose": "show everything that builds and migrations print",
    "parallel": "how many hosts are connected to and prepared at the same time (default: 20)",
    "ref": "the branch, tag or commit to deploy (default: HEAD)",
    "dirty": "ship the working tree as it is, committed or not; the release's record says so",
    "wsgi": "the WSGI application, where several are found or none: MODULE:NAME",
    "asgi": "the ASGI application, where several are found or none: MODULE:NAME",
    "directory": "the directory of the project that the app runs in, where several are found or none",
    "init.yes": "ask nothing: take the default answer to each question",
    "strict": "refuse requirements that are not pinned to a version, a commit or a hash",
    "no_migrate": "leave out the migration",
    "wait": "when another deploy runs, queue behind it instead of ending with exit code 4",
    "batch": "how many hosts switch at a time: a number, or a share such as 25% (default: all at once)",
    "canary": "how many hosts switch before all others",
    "bake": "how long the canary serves before the others follow, such as 60s or 5m",
    "keep_going": "when a later wave fails, leave the healthy hosts on the new release",
    "to": "the release to go back to, such as v40 (default: the good one before the current one)",
    "yes": "go back even if migrations were applied since",
    "all": "every attempt, including those whose release has been removed",
    "fix": "have the host repair what it can",
    "lines": "how many lines",
    "process": "one process or timer of the app, such as worker (default: all of them)",
    "restart.process": "restart this background process alone, such as worker: no release is made",
    "name": "the timer, as deploy.toml names it",
    "scale.count": "how many of a process, such as worker=3; worker= takes the number of deploy.toml again",
    "keep": "how many good releases stay (default: release.keep of what serves)",
    "follow": "keep printing new lines until Ctrl-C",
    "key": "a file with a public key that may deploy (may be given several times; default: those ssh would use)",
    "allow_unit": "a systemd directive that deploy.toml may set under [web.unit] besides the usual ones",
    "upgrade": "bring uv, and a Python that setup has installed, up to date",
    "data": "remove what the app has written, too, and the databases that setup made for it, with their dumps",
    "destroy.yes": "the app's name: do not ask for it",
    "message": "why deploys are locked: whom it stops reads it",
    "until": "when the lock ends by itself: 2h, 3d, 18:00, 2026-12-01, '2026-12-01 09:00' (default: fab unlock)",
    "page": "an HTML file for visitors (default: a plain page of deployer's)",
    "allow": "an address or network that sees the app all the same, such as 203.0.113.7 (may be given several times)",
    "retry_after": "when visitors are told to come again, such as 600 or 10m (default: 10m)",
    "stop_workers": "stop processes and timers, too; off starts them again",
    "preview.release": "another release that runs there, such as v40 (default: the one that is held)",
    "port": "the port of this machine (default: 8000)",
    "hold": "stop before the switch: fab promote goes on, fab abort discards it",
    "variable": "NAME=value; or NAME alone: its value is asked for, or read from standard input",
    "get.name": "the name of a variable",
    "file": "a dotenv file; - is standard input",
    "pull.file": "the file to write, which only you can read; - (the default) is standard output",
    "pull.yes": "write to a terminal, or over a file that is there",
    "push.yes": "do not ask",
    "stage": "only store it: the next deploy or reload takes it",
    "release": "the unfinished release (default: the newest)",
    "timeout": "stop the command after this long, such as 90s, 30m or 12h (default: 24h)",
    **{
        f"{task}.{option}": text
        for task in ("run", "shell", "manage")
        for option, text in {
            "release": "the release to run in, such as v12 (default: the one that serves)",
            "process": "run it in the place of this process or timer of the app, such as worker",
        }.items()
    },
}
"""The text of each option; ``TASK.option`` is for one task."""


LETTERS = {
    "env": "e",
    "config": "c",
    "json": "j",
    "verbose": "v",
    "parallel": "p",
    "ref": "r",
    "wait": "w",
    "batch": "b",
    "lines": "n",
    "follow": "f",
    "message": "m",
}
"""The options with a letter, the same in every task. Options that weaken a safeguard or trust a key have none."""


def _common(
    *,
    env: str = "",
    config: str = "",
    accept_new: bool = False,
    json: bool = False,
    verbose: bool = False,
    parallel: str = "",
) -> None:
    """The options of every task on a host: this signature is added to the task's own."""


COMMON = inspect.signature(_common).parameters


def _waves(*, batch: str = "", canary: str = "", bake: str = "", keep_going: bool = False) -> None:
    """What a task takes in place of a parameter ``strategy``."""


WAVES = inspect.signature(_waves).parameters


def strategy_of(given: MutableMapping[str, Any], fleet: Fleet) -> Strategy:
    """The waves, by the options of WAVES, which are taken out of ``given``, else by deploy.toml. Raises ConfigError."""
    from deployer.rollout import Strategy, number, seconds, waves

    usual = fleet.config.fleet
    batch, canary, bake, keep_going = (given.pop(name) for name in WAVES)
    first = number("--canary", canary) if canary else usual.canary
    strategy = Strategy(
        batch=batch or usual.batch,
        canary=first,
        bake=seconds(bake) if bake else usual.bake if first else 0.0,
        keep_going=keep_going,
    )
    waves(fleet.hosts, strategy)  # errors are reported for a single host, too
    return strategy
