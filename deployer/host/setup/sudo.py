"""The one sudo rule of an app: the deploy user may start the host program for it, and nothing else."""

from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import files, runner
from deployer.wire.advice import do
from deployer.wire.protocol import PROGRAM

_OPTIONS = "!requiretty, !noexec, !log_input, !log_output, !command_timeout"
"""What a host's other rules may ask of every command, and this one cannot bear: it is started without a terminal,
starts others, takes as long as a deploy, and what goes in and out holds the app's secrets."""


def text_of(app: str, deploy: str, options: str = _OPTIONS) -> str:
    """The text of the app's sudoers file."""
    return (
        f"# Written by deployer: all that {deploy} may do as root for {app}.\n"
        + (f"Defaults!{PROGRAM} {options}\n" if options else "")
        + f"{deploy} ALL=(root) NOPASSWD: {PROGRAM} session {app}\n"
    )


def ensure(app: str, deploy: str, private: Path) -> list[str]:
    """The rule is there, and sudo reads it; what was written. ``private`` is a directory of root's.

    Raises HostError.
    """
    path = Path(f"/etc/sudoers.d/deployer-{app}")
    texts = [text_of(app, deploy), text_of(app, deploy, "")]
    there = path.exists() and files.read_text(path) in texts
    changed = [] if there else _install(path, texts, private / "sudoers")
    if not lets(deploy, PROGRAM, "session", app):
        raise HostError(
            f"sudo does not read {path}, so {deploy} could not deploy",
            next=do("add the line @includedir /etc/sudoers.d to /etc/sudoers (visudo)"),
        )
    return changed


def _install(path: Path, texts: Sequence[str], trial: Path) -> list[str]:
    """Install the first of the texts that this host's sudo understands: not each knows all options."""
    for text in texts:
        files.write_file(trial, text.encode(), 0o440)
        done = runner.run(["visudo", "-c", "-q", "-f", str(trial)])
        trial.unlink()
        if done.ok:
            path.parent.mkdir(mode=0o750, exist_ok=True)
            files.write_file(path, text.encode(), 0o440)
            return [str(path)]
    raise HostError("visudo refuses the sudoers file; it was not installed", logs=done.tail())


def lets(user: str, *command: str) -> bool:
    """Whether sudo lets ``user`` run a command as root."""
    argv = ["sudo", "-n", "-l", "-U", user, *command]
    return runner.run(argv).ok or _runs_with_terminal(argv)  # it may tell nobody without one (requiretty)


def _runs_with_terminal(argv: Sequence[str]) -> bool:
    """Whether a command succeeds that is given a terminal of its own. What it prints is dropped."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.execvpe(argv[0], list(argv), runner.ENVIRONMENT)  # noqa: S606
        finally:
            os._exit(127)
    with contextlib.suppress(OSError):  # EIO is its end
        while os.read(terminal, 4096):
            pass
    os.close(terminal)
    return os.waitpid(child, 0)[1] == 0
