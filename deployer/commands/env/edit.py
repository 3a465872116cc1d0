"""``fab env.edit``: what the hosts keep, in an editor."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deployer import events
from deployer.commands.env.change import carry_out, changes_of
from deployer.commands.env.looking import difference, look
from deployer.commands.env.values import kept
from deployer.config.environment.dotenv import read_env_file, written
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError, Interrupted
from deployer.fleet.hosts import Fleet
from deployer.rollout import Strategy
from deployer.ssh.options import Question
from deployer.wire.advice import do, run
from deployer.wire.environment import mark

__all__ = ["edit", "editor", "refuse_edit"]

_HEADER = """\
# The variables that the hosts of {app} keep: {hosts}
# Save and leave to release them; leave them as they are to change nothing.
"""
_WHAT = "the file that was edited"


def refuse_edit() -> None:
    """Raises ConfigError where no editor can be used."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            message="an editor needs a terminal",
            next=run("fab env.pull FILE", "then edit it, and") + run("fab env.push FILE"),
        )
    editor()


def editor() -> list[str]:
    """The words of the editor: VISUAL, else EDITOR, else the first of sensible-editor, nano, vi that is there."""
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(chosen)
    except ValueError:
        words = []
    found = words or [name for name in ("sensible-editor", "nano", "vi") if shutil.which(name)][:1]
    if not found or not shutil.which(found[0]):
        which = f"{found[0]!r} is not a program on this machine" if found else "there is no editor on this machine"
        raise ConfigError(message=which, next=do("set VISUAL or EDITOR to the one that you want: EDITOR=nano"))
    return found


def edit(fleet: Fleet, *, stage: bool, wait: bool, strategy: Strategy) -> int:
    """Have a person edit what the hosts keep, and make it so; the exit code. Raises ConfigError, Mixed, NoAnswer.

    The text lies in a file that only this user can read, and is removed, however this ends; but it is kept, and that is
    said, when it could not be made so.
    """
    refuse_edit()
    before = kept(fleet, quiet=True)
    with _private(fleet) as draft:
        path = draft.path
        header = _HEADER.format(app=fleet.config.app, hosts=", ".join(fleet.hosts))
        _write(path, header + written({name: value.reveal() for name, value in before.items()}))
        after = _edited(fleet, path)
        put = {name: value for name, value in after.items() if before.get(name) != value}
        remove = tuple(name for name in before if name not in after)
        if not put and not remove:
            text = "nothing was changed (an editor with a window of its own must wait: VISUAL='code --wait')"
            fleet.report(events.Note(text=text))
            return 0
        try:
            exit = _make_so(fleet, before, put, remove, stage=stage, wait=wait, strategy=strategy)
        except BaseException:  # a Ctrl-C, too: it is not known what becomes of the release
            draft.keep(fleet)
            raise
        if exit:
            draft.keep(fleet)
        return exit


def _make_so(
    fleet: Fleet,
    before: Mapping[str, Secret],
    put: Mapping[str, Secret],
    remove: tuple[str, ...],
    *,
    stage: bool,
    wait: bool,
    strategy: Strategy,
) -> int:
    found = look(fleet)
    if found.exit:
        return found.exit
    for one in found.hosts.values():
        now = {row.name: row.kept for row in one.variables if row.kept}
        then = {name: mark(found.salt, value.reveal()) for name, value in before.items()}
        both = sorted(name for name in (*put, *remove) if now.get(name) != then.get(name))
        if both:
            raise ConfigError(
                message=f"somebody else has changed {', '.join(both)} on {one.host} while you edited",
                next=run("fab env", "shows who, and when"),
            )
    return carry_out(
        fleet,
        found,
        changes_of(found, put, dict.fromkeys(found.hosts, remove), exact=True),
        {host: difference(one, put, remove, found.salt) for host, one in found.hosts.items()},
        again="fab env.edit",
        stage=stage,
        wait=wait,
        strategy=strategy,
    )


def _edited(fleet: Fleet, path: Path) -> dict[str, Secret]:
    """What the person has made of the file. Raises ConfigError when the editor fails, Interrupted when a text that
    cannot be read is given up."""
    words = editor()
    while True:
        with fleet.sites[0].ssh.terminal():
            status = subprocess.run([*words, str(path)]).returncode
        if status:
            raise ConfigError(message=f"{words[0]} ended with exit status {status}: nothing is taken over")
        try:
            return read_env_file(path, _WHAT)
        except ConfigError as error:
            fleet.report(events.Warn(text=error.message.replace(f"{path}:", "line ")))
        ask = fleet.sites[0].ssh.password_prompt
        answer = ask(Question(text="edit it again? [Y/n]", secret=False, once=False)) if ask else None
        if answer is None or answer.strip().lower() in ("n", "no"):
            raise Interrupted(message="given up", state="nothing was touched, and the text is gone")


class _Draft:
    """The file that is edited. A text that could not be made so is not lost."""

    def __init__(self, path: Path) -> None:
        self.path, self.kept = path, False

    def keep(self, fleet: Fleet) -> None:
        """Leave the text, and nothing that an editor left beside it; say where it is."""
        self.kept = True
        for other in self.path.parent.iterdir():
            if other != self.path:
                other.unlink()
        push = fleet.advise(f"fab env.push {self.path}")
        where = f"your text is kept in {self.path}, which only you can read"
        fleet.report(events.Warn(text=f"{where}: {push} makes it so; then delete {self.path.parent}"))


@contextmanager
def _private(fleet: Fleet) -> Iterator[_Draft]:
    """A file in a directory of its own, which only this user can enter; removed with all that an editor leaves there.

    In memory, where the system has such a place for the user.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = Path(
        tempfile.mkdtemp(prefix="deployer-env-", dir=runtime if runtime and Path(runtime).is_dir() else None)
    )
    draft = _Draft(directory / f"{fleet.config.app}.env")
    with _signals():
        try:
            yield draft
        finally:
            if not draft.kept:
                shutil.rmtree(directory, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


@contextmanager
def _signals() -> Iterator[None]:
    """In the block, signals that would end this program without any clean-up end it as Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
