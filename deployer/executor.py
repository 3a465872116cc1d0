"""Calls a task once with all its hosts: what ``tasks.executor_class`` names in ``fabric.yaml``.

Loaded at every ``fab`` run, so it imports only what Fabric has already loaded; other imports are deferred.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from fabric.connection import Connection
from fabric.executor import Executor
from fabric.tasks import ConnectionCall
from invoke.tasks import Call
from invoke.tasks import Task as AnyTask

from deployer.cli.ending import ErrorPrinter, explained, print_error
from deployer.cli.fleettask import (
    Dry,
    FleetContext,
    FleetTask,
    fleet_task,
    hosts_of,
    remainder_of,
    split_hosts,
    ssh_options_of,
)

__all__ = [
    "Dry",
    "FleetExecutor",
    "FleetTask",
    "fleet_task",
    "hosts_of",
    "print_error",
    "remainder_of",
    "ssh_options_of",
]


class FleetCall(Call):
    """A call of a FleetTask, with its hosts."""

    def __init__(self, *args: Any, hosts: tuple[str, ...], remainder: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hosts = hosts
        self.remainder = remainder

    def clone_data(self) -> dict[str, Any]:
        return {**super().clone_data(), "hosts": self.hosts, "remainder": self.remainder}

    def make_context(self, config: Any) -> FleetContext:
        return FleetContext(config, self.hosts, self.remainder)


class StrictCall(ConnectionCall):  # type: ignore[misc]
    """A call of a user's own task for one host, with a connection that checks the host key."""

    def __init__(self, *args: Any, opened: list[Connection], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened = opened

    def make_context(self, config: Any) -> Connection:
        from dataclasses import replace

        from deployer.ssh.connection import StrictConnection, options_of
        from deployer.ssh.login.prompt import prompt, to_stderr

        options = replace(options_of(config), password_prompt=prompt(), report=to_stderr)
        connection = StrictConnection(**{**self.init_kwargs, "config": config}, options=options)
        self.opened.append(connection)
        return connection


class FleetExecutor(Executor):  # type: ignore[misc]
    """Calls a FleetTask once with its whole fleet, and other tasks once for each host, as Fabric does."""

    on_error: ErrorPrinter = staticmethod(print_error)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened: list[Connection] = []

    def execute(self, *tasks: Any) -> Any:
        """Like Fabric's, but errors are explained and connections are closed."""
        try:
            with explained(self.on_error, ours=False):
                return super().execute(*tasks)
        finally:
            for connection in self.opened:
                connection.close()

    def expand_calls(self, calls: Sequence[Any], apply_hosts: bool = True) -> list[Any]:
        if not any(_is_fleet(call) for call in calls):
            expanded: list[Any] = super().expand_calls(calls, apply_hosts)
            return expanded
        found: list[Any] = []
        for call in calls:
            found += self._fleet(call) if _is_fleet(call) else self._of_others(call, apply_hosts)
        return found

    def parameterize(self, call: Any, connection_init_kwargs: dict[str, Any]) -> StrictCall:
        kwargs = {"init_kwargs": connection_init_kwargs, "opened": self.opened}
        strict: StrictCall = call.clone(into=StrictCall, with_=kwargs)
        return strict

    def _fleet(self, call: Any) -> list[Any]:
        call = Call(call) if isinstance(call, AnyTask) else call
        carried = {"hosts": self._hosts(call.task), "remainder": self._remainder()}
        before = self._around(call.pre)
        return [*before, call.clone(into=FleetCall, with_=carried), *self._around(call.post)]

    def _around(self, calls: Sequence[Any]) -> list[Any]:
        return [found for call in calls for found in self.expand_calls([call], apply_hosts=False)]

    def _of_others(self, call: Any, apply_hosts: bool) -> list[Any]:
        """Expand another task beside a FleetTask: the words after ``--`` belong to the FleetTask."""
        remainder, self.core.remainder = self.core.remainder, ""
        try:
            expanded: list[Any] = super().expand_calls([call], apply_hosts)
            return expanded
        finally:
            self.core.remainder = remainder

    def _hosts(self, task: FleetTask) -> tuple[str, ...]:
        given = self.core[0].args.hosts.value
        return tuple(dict.fromkeys(map(str, task.hosts or ()))) if given is None else split_hosts(given)

    def _remainder(self) -> tuple[str, ...]:
        """The words after ``--``, from sys.argv: Invoke has joined them with spaces."""
        joined = self.core.remainder
        typed = tuple(sys.argv[sys.argv.index("--") + 1 :]) if "--" in sys.argv else ()
        return typed if " ".join(typed) == joined else tuple(joined.split())


def _is_fleet(call: Any) -> bool:
    return isinstance(call, FleetTask) or isinstance(getattr(call, "task", None), FleetTask)
