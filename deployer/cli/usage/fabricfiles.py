"""Errors in Fabric's own settings files, and in ssh_config as Fabric reads it, reported with the file's name."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit as Quit
from paramiko.ssh_exception import ConfigParseError

from deployer.cli.fleettask import SETTING
from deployer.errors import ConfigError, DeployerError
from deployer.wire.advice import do, run

__all__ = ["explained", "refuse_executor", "refuse_missing"]

_LONGEST = 300


def refuse_missing(program: Any) -> None:
    """Raises ConfigError for a named file that does not exist: it might contain ``run: {dry: true}``."""
    named = {
        f"-{min(program.args[name].names, key=len)}": program.args[name].value for name in ("config", "ssh-config")
    }
    if named["-f"] is None:
        named["INVOKE_RUNTIME_CONFIG:"] = os.environ.get("INVOKE_RUNTIME_CONFIG")
    for option, path in named.items():
        place = Path(path).expanduser() if path else None
        if path is not None and (place is None or not place.exists() or place.is_dir()):
            raise ConfigError(message=f"{option} {path}: there is no such file")


@contextmanager
def explained(program: Any) -> Iterator[None]:
    """Any exception of Fabric's settings reader becomes a ConfigError that names the file."""
    try:
        yield
    except (DeployerError, Quit):
        raise
    except ConfigParseError as error:
        raise _bad_ssh_config(program, error) from None
    except EOFError:
        raise ConfigError(
            message="there is nobody to type the password that --prompt-for-… asks for",
            next=do("leave the option out, or run it in a terminal"),
        ) from None
    except Exception as error:  # a .py file may raise anything, and a list in place of a table does as well
        raise ConfigError(
            message=f"Fabric cannot read its settings: {_told(program, error)}",
            next=do("correct the file; fab needs no more in it than: " + SETTING),
        ) from error


def refuse_executor(program: Any) -> None:
    """Raises ConfigError when ``tasks.executor_class`` cannot be imported."""
    named = program.config.tasks.executor_class
    if named is None:
        return
    module, _, name = str(named).rpartition(".")
    try:
        getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ConfigError(
            message=f"tasks.executor_class in {_project_file(program) or 'the settings of Fabric'} names {named}, "
            "which is not there",
            next=do(f"put this line in its place: {SETTING}"),
        ) from None


def _told(program: Any, error: Exception) -> str:
    """The file, the line if YAML reports it, and the problem."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{mark.name}:{mark.line + 1}: {getattr(error, 'problem', '') or 'this is not YAML'}"
    text = " ".join(str(error).split())[:_LONGEST]
    file = _runtime_file(program) or _project_file(program)
    return f"{file}: {text}" if file and file not in text else text


def _runtime_file(program: Any) -> str:
    return str(getattr(program.config, "_runtime_path", None) or "")


def _project_file(program: Any) -> str:
    """The settings file beside the fabfile that Fabric reads (the first that exists), or ""."""
    config = program.config
    prefix = getattr(config, "_project_prefix", None)
    paths = [f"{prefix}fabric.{suffix}" for suffix in config._file_suffixes] if prefix else []
    return next((path for path in paths if os.path.exists(path)), "")  # noqa: PTH110  (as Fabric has it)


def _bad_ssh_config(program: Any, error: ConfigParseError) -> ConfigError:
    """Fabric has Paramiko read ssh_config before any task, and Paramiko knows less than OpenSSH."""
    words = shlex.join(program.argv[1:])
    return ConfigError(
        message=f"Fabric cannot read your ssh_config: {error}",
        next=run(f"deployer {words}", "leaves it to OpenSSH") + do("or load_ssh_configs: false in fabric.yaml"),
    )
