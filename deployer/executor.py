"""Puts a task's whole fleet into its hands: what ``tasks.executor_class`` names in ``fabric.yaml``.

Loaded at every ``fab`` run: it imports what Fabric has loaded already, and nothing else before it is needed.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fabric.connection import Connection
from fabric.executor import Executor
from fabric.tasks import ConnectionCall, Task
from invoke.context import Context
from invoke.exceptions import Exit as Quit
from invoke.exceptions import ParseError, UnexpectedExit
from invoke.tasks import Call, task
from invoke.tasks import Task as AnyTask

from deployer.errors import ConfigError, DeployerError, Exit, Interrupted
from deployer.host.advice import Next, do, run

if TYPE_CHECKING:
    from deployer.ssh import SshOptions

__all__ = [
    "FleetExecutor",
    "FleetTask",
    "fleet_task",
    "hosts_of",
    "print_error",
    "remainder_of",
    "ssh_options_of",
]

ErrorPrinter = Callable[[DeployerError], None]

SETTING = "tasks:\n  executor_class: deployer.executor.FleetExecutor"


class FleetContext(Context):
    """A plain context that also carries the fleet."""

    def __init__(self, config: Any, hosts: tuple[str, ...], remainder: tuple[str, ...]) -> None:
        super().__init__(config)
        self._set(_fleet_hosts=hosts, _fleet_remainder=remainder)


def hosts_of(context: Context) -> tuple[str, ...]:
    """The hosts that ``-H`` named, each once, in its order; none when it was not given."""
    if isinstance(context, Connection):
        raise _wrong_executor()
    return tuple(context._fleet_hosts) if isinstance(context, FleetContext) else ()


def remainder_of(context: Context) -> tuple[str, ...]:
    """The arguments after ``--``, as they were typed."""
    return tuple(context._fleet_remainder) if isinstance(context, FleetContext) else ()


def ssh_options_of(context: Context) -> SshOptions:
    """What ``-S``, ``-i``, ``-t`` and ``--prompt-for-…`` said. Asks at the terminal when there is one."""
    from dataclasses import replace

    from deployer.ssh.connection import options_of
    from deployer.ssh.prompt import Prompt

    return replace(options_of(context.config), password_prompt=Prompt() if sys.stdin.isatty() else None)


def print_error(error: DeployerError) -> None:
    """The plainest printer: what failed, the state, what to type next, on stderr."""
    lines = [f"deployer: {error.message}", *(f"  {line}" for line in error.logs)]
    lines += [f"state: {error.state}"] if error.state else []
    lines += [f"next: {step}" for step in Next.of(error.next)]
    sys.stderr.write("\n".join(lines) + "\n")


class FleetTask(Task):  # type: ignore[misc]
    """A task that is called once for all hosts, and whose errors end the process as errors should.

    ``on_error`` prints a DeployerError; the process then exits with the error's code.
    """

    def __init__(self, *args: Any, on_error: ErrorPrinter = print_error, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_error = on_error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with explained(self.on_error):
            if args and isinstance(args[0], Connection):
                raise _wrong_executor()
            return super().__call__(*args, **kwargs)


def fleet_task(*args: Any, **kwargs: Any) -> Any:
    """``@task`` for a FleetTask: takes what Fabric's takes, and ``on_error``."""
    return task(*args, klass=FleetTask, **kwargs)


@contextmanager
def explained(on_error: ErrorPrinter, *, ours: bool = True) -> Iterator[None]:
    """Ends the process, by Invoke's Exit, on a DeployerError; for ``ours`` also on Ctrl-C and bugs."""
    try:
        yield
    except DeployerError as error:
        on_error(error)
        raise Quit(code=int(error.exit)) from error
    except KeyboardInterrupt as error:
        if not ours:
            raise
        state = "what a host had begun, if anything, it finishes or undoes by itself"
        on_error(Interrupted(message="interrupted", state=state, next=run("fab status")))
        raise Quit(code=int(Exit.INTERRUPTED)) from error
    except (Quit, UnexpectedExit, ParseError):
        raise
    except OSError as error:
        from deployer.local import local_failure

        failed = local_failure(error)
        on_error(failed)
        raise Quit(code=int(failed.exit)) from error
    except Exception as error:
        if not ours:
            raise
        traceback.print_exc()
        sys.stderr.write("this is a bug of deployer: please report it, with the lines above\n")
        raise Quit(code=int(Exit.BUG)) from error


def _wrong_executor() -> ConfigError:
    return ConfigError(
        message="this task needs all its hosts at once, but Fabric's own executor called it for one of them",
        state="nothing was touched",
        next=do(f"put these two lines into fabric.yaml, beside the fabfile:\n{SETTING}"),
    )


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
    """A call of a user's own task for one host, with a connection that checks whom it talks to."""

    def __init__(self, *args: Any, opened: list[Connection], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened = opened

    def make_context(self, config: Any) -> Connection:
        from dataclasses import replace

        from deployer.ssh.connection import StrictConnection, options_of
        from deployer.ssh.prompt import Prompt, to_stderr

        prompt = Prompt() if sys.stdin.isatty() else None
        options = replace(options_of(config), password_prompt=prompt, report=to_stderr)
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
        """Fabric's, but errors are explained and connections are closed."""
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
        """Beside a FleetTask, what follows ``--`` is the FleetTask's: no command to run on each host."""
        remainder, self.core.remainder = self.core.remainder, ""
        try:
            expanded: list[Any] = super().expand_calls([call], apply_hosts)
            return expanded
        finally:
            self.core.remainder = remainder

    def _hosts(self, task: FleetTask) -> tuple[str, ...]:
        given = self.core[0].args.hosts.value
        names = given.split(",") if given else [str(host) for host in task.hosts or ()]
        return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))

    def _remainder(self) -> tuple[str, ...]:
        """Invoke joins them with blanks; the command line still has them apart."""
        joined = self.core.remainder
        typed = tuple(sys.argv[sys.argv.index("--") + 1 :]) if "--" in sys.argv else ()
        return typed if " ".join(typed) == joined else tuple(joined.split())


def _is_fleet(call: Any) -> bool:
    return isinstance(call, FleetTask) or isinstance(getattr(call, "task", None), FleetTask)
