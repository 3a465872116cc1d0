"""A task that is called once for all hosts: its arguments, ``--dry``, and its errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabric.connection import Connection
from fabric.tasks import Task
from invoke.context import Context
from invoke.exceptions import Exit as Quit
from invoke.tasks import task

from deployer.cli.ending import ErrorPrinter, explained, print_error
from deployer.errors import ConfigError
from deployer.wire.advice import do

if TYPE_CHECKING:
    from deployer.ssh.options import SshOptions

__all__ = [
    "Dry",
    "DryRun",
    "FleetContext",
    "FleetTask",
    "fleet_task",
    "hosts_of",
    "is_at_terminal",
    "is_dry",
    "remainder_of",
    "split_hosts",
    "ssh_options_of",
    "wrong_executor",
]


SETTING = "tasks: {executor_class: deployer.executor.FleetExecutor}"
_FABRIC_FILES = ("fabric.yaml", "fabric.yml")
_NOTHING = "dry run: nothing was touched\n"


class Dry(Enum):
    """What ``--dry`` does with a task that has no dry-run function."""

    SAME = "it changes nothing, and does what it always does"
    REFUSED = "it does not say what it would do, and is refused"


DryRun = Dry | Callable[..., Any]
"""How a task handles ``--dry``. A function is called instead of the task, with the same options; it only reports."""


class FleetContext(Context):
    """A context that also carries the hosts and the words after ``--``."""

    def __init__(self, config: Any, hosts: tuple[str, ...], remainder: tuple[str, ...]) -> None:
        super().__init__(config)
        self._set(_fleet_hosts=hosts, _fleet_remainder=remainder)


def split_hosts(given: str) -> tuple[str, ...]:
    """The names in a value of ``-H``, each once, in its order. An empty one stays, for hosts_of to refuse."""
    return tuple(dict.fromkeys(name.strip() for name in given.split(",")))


def hosts_of(context: Context) -> tuple[str, ...]:
    """The hosts that ``-H`` named, each once, in its order; none when it was not given.

    Raises ConfigError when a name is empty, as that of a shell variable that is not set: it must never mean the hosts
    of deploy.toml.
    """
    if isinstance(context, Connection):
        return (_only_host(),)  # as it was typed: the connection has it without its user and port
    hosts = tuple(context._fleet_hosts) if isinstance(context, FleetContext) else ()
    if "" in hosts:
        given = ",".join(hosts)
        raise ConfigError(
            message=f"-H {given!r} names a host that is empty" if given else "-H was given, and names no host",
            next=do("name each host, with a comma between two of them: -H deploy@web1,deploy@web2"),
        )
    return hosts


def remainder_of(context: Context) -> tuple[str, ...]:
    """The arguments after ``--``, as they were typed.

    Raises ConfigError under Fabric's own executor: that would run them a second time, in a shell on the host.
    """
    if isinstance(context, Connection):
        raise wrong_executor()
    return tuple(context._fleet_remainder) if isinstance(context, FleetContext) else ()


def ssh_options_of(context: Context) -> SshOptions:
    """The values of ``-S``, ``-i``, ``-t`` and ``--prompt-for-…``. Does not prompt."""
    from deployer.ssh.connection import options_of

    return options_of(context.config)


def is_at_terminal() -> bool:
    """Whether a person can be asked. ``sys.stdin`` is None when standard input was closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_dry(context: Context) -> bool:
    """Whether nothing may be touched: ``--dry``, ``-R``, ``run.dry`` in a file of Fabric's, or its variable."""
    return bool(context.config.run.dry) or os.environ.get("INVOKE_RUN_DRY", "0") not in ("", "0")


class FleetTask(Task):  # type: ignore[misc]
    """A task that is called once for all hosts, and whose errors end the process as errors should.

    ``on_error`` prints a DeployerError; the process then exits with the error's code. ``dry`` is how it answers
    ``--dry``: a task that does not say is refused then. ``short`` names the options that have a letter, too. ``bare``
    is the option whose values may stand behind the task by themselves.
    """

    def __init__(
        self,
        *args: Any,
        on_error: ErrorPrinter = print_error,
        dry: DryRun = Dry.REFUSED,
        short: Mapping[str, str] | None = None,
        bare: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.on_error = on_error
        self.dry = dry
        self.short = dict(short or {})
        self.bare = bare

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with explained(self.printer(kwargs)):
            if args and isinstance(args[0], Connection):
                _only_host()
            if args and is_dry(args[0]) and self.dry is not Dry.SAME:
                return self._dry_run(*args, **kwargs)
            return super().__call__(*args, **kwargs)

    def printer(self, _: Mapping[str, Any]) -> ErrorPrinter:
        """What shows an error of a call with these options."""
        return self.on_error

    def _dry_run(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.dry, Dry):
            text = f"{self.name} cannot tell what it would do, so it does not run with --dry"
            raise ConfigError(message=text, next=do(f"leave out --dry to run it: fab {self.name}"))
        try:
            result = self.dry(*args, **kwargs)
        except Quit:
            sys.stderr.write(_NOTHING)
            raise
        sys.stderr.write(_NOTHING)
        return result

    def __deepcopy__(self, _: dict[int, Any]) -> FleetTask:
        """A definition, of which Invoke copies every one whenever it lists some."""
        return self

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Invoke's, and the letter that was chosen for the option."""
        opts: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if name in self.short:
            opts["names"] = [*opts["names"], self.short[name]]
        return opts


def fleet_task(*args: Any, **kwargs: Any) -> Any:
    """``@task`` for a FleetTask: takes what Fabric's takes, and ``on_error``, ``dry`` and ``short``."""
    return task(*args, **{"klass": FleetTask, **kwargs})


def _only_host() -> str:
    """The host that ``-H`` names, where Fabric's own executor calls a task for one after the other.

    Raises ConfigError unless it is the only one.
    """
    program = _program()
    given = program.core[0].args.hosts.value if program else None
    names = split_hosts(given) if given else ()
    if len(names) != 1:
        raise wrong_executor()
    return names[0]


def _program() -> Any:
    """The ``fab`` that runs; None when it is another program."""
    main = sys.modules.get("fabric.main")
    program = getattr(main, "program", None)
    return program if getattr(program, "core", None) else None


def wrong_executor() -> ConfigError:
    """The error that names the line to add, and the settings file beside the fabfile (existing or to be created)."""
    program = _program()
    beside = getattr(getattr(program, "collection", None), "loaded_from", None)
    found = [Path(beside, name) for name in _FABRIC_FILES] if beside else []
    file = next((path for path in found if path.exists()), found[0] if found else None)
    where = file or "fabric.yaml, beside the fabfile"
    return ConfigError(
        message="this task needs all its hosts at once, but Fabric's own executor called it for one of them",
        next=do(f"put this line into {where}: {SETTING}"),
    )
