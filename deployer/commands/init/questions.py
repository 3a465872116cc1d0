"""What is asked before the files are written: three questions at most, each with an answer that Enter takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from deployer.commands.init.mistakes import chosen, refuse_place
from deployer.commands.init.text import ENV_FILE
from deployer.commands.init.write import seen
from deployer.project.detect import DiskFiles, Project, inspect
from deployer.project.detect.locks import choose_lock
from deployer.wire.lazydata import dataclass
from deployer.wire.release.health import HOST_HEADER, HOST_LENGTH

__all__ = ["Asking", "Defaults", "Interview", "interview"]

_NO = ("n", "no")
_MOST = 3
"""Questions of one ``deployer init``."""


class Asking(Protocol):
    """Somebody who answers; ``present``: a person. ``fits`` says what is wrong with an answer, or nothing."""

    present: bool

    def tell(self, lines: Sequence[str]) -> None: ...

    def ask(self, question: str, default: str, fits: Callable[[str], str]) -> str: ...

    def choose(self, question: str, choices: Sequence[str]) -> str: ...


class Defaults:
    """Nobody is there, or everything is agreed to: the default of each question."""

    present = False

    def tell(self, _: Sequence[str]) -> None:
        """Nobody listens."""

    def ask(self, _: str, default: str, fits: Callable[[str], str]) -> str:  # noqa: ARG002
        return default

    def choose(self, _: str, choices: Sequence[str]) -> str:
        return choices[0]


@dataclass(frozen=True, kw_only=True)
class Interview:
    """The project with what was answered; ``secrets``: a file for them is to be written."""

    project: Project
    secrets: bool


def interview(root: Path, asking: Asking | None, *, wsgi: str = "", asgi: str = "", directory: str = "") -> Interview:
    """The project in a directory, and what its user says of it. ``asking`` is None where nothing may be guessed that
    only its user can know: which of several apps it is. Raises ConfigError where no project can be."""
    refuse_place(root)
    known = _Known(DiskFiles(root), wsgi=wsgi, asgi=asgi, directory=directory)
    project = known.project()
    if (root / "deploy.toml").exists():
        return Interview(project=project, secrets=False)
    someone = _Counting(asking or Defaults())
    if asking is not None and (project.elsewhere or project.choices):
        _choose_app(known, project, someone)
        project = known.project()
    if not project.is_python:
        return Interview(project=project, secrets=False)
    if project.lock.beside:
        locks = (project.lock.path, *project.lock.beside)
        known.lock = someone.choose("Several lock files are here. Which one has what a host is to install?", locks)
        project = known.project()
    someone.tell([*seen(project), ""])
    found = (project.django.host if project.django else None) or ""
    host = someone.ask("The host name of the site, such as shop.example.com (Enter: later)", found, _host_problem)
    if host != found:
        known.host = host
        project = known.project()
    project = replace(project, confirmed=bool(host) and someone.present)
    return Interview(project=project, secrets=_wants_secrets(project, someone))


@dataclass
class _Known:
    """What its user has said of a project so far; with each answer the project is read again."""

    files: DiskFiles
    wsgi: str
    asgi: str
    directory: str
    lock: str = ""
    host: str = ""

    def project(self) -> Project:
        found = inspect(self.files, directory=self.directory, host=self.host)
        if self.lock:
            lock = choose_lock(self.files, found.directory, self.lock)
            found = replace(found, lock=lock)
        return chosen(found, wsgi=self.wsgi, asgi=self.asgi)


class _Counting:
    """Asks at most three questions; after them the default of each is taken."""

    def __init__(self, asking: Asking) -> None:
        self._asking, self._left = asking, _MOST
        self.present = asking.present

    def tell(self, lines: Sequence[str]) -> None:
        self._asking.tell(lines)

    def ask(self, question: str, default: str, fits: Callable[[str], str]) -> str:
        return self._next().ask(question, default, fits)

    def choose(self, question: str, choices: Sequence[str]) -> str:
        return self._next().choose(question, choices)

    def _next(self) -> Asking:
        self._left -= 1
        return self._asking if self._left >= 0 else Defaults()


def _choose_app(known: _Known, project: Project, someone: Asking) -> None:
    if project.elsewhere:
        known.directory = someone.choose("Which of these apps is to be deployed?", project.elsewhere)
        return
    key, _, target = someone.choose("Which of these applications is to be served?", project.choices).partition(" = ")
    target = target.strip('"')
    known.wsgi, known.asgi = (target, "") if key == "wsgi" else ("", target)


def _wants_secrets(project: Project, asking: Asking) -> bool:
    if project.django is None or not project.django.secret or (project.root / ENV_FILE).exists():
        return False
    question = f"{project.django.secret} comes from the environment. Write a new one to {ENV_FILE}?"
    return asking.ask(question, "yes", _yes_or_no).lower() not in _NO


def _host_problem(text: str) -> str:
    if not text or (HOST_HEADER.fullmatch(text) and len(text) <= HOST_LENGTH and re.search("[a-z]", text)):
        return ""
    return "a host name has letters, digits, dots and dashes, and no https:// in front"


def _yes_or_no(text: str) -> str:
    return "" if text.lower() in ("y", "yes", *_NO) else "please type yes or no"
