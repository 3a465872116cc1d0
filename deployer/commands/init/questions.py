"""What is asked before the files are written: three questions at most, each with an answer that Enter takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from deployer.commands.init.mistakes import chosen, refuse_place
from deployer.commands.init.text import ENV_FILE
from deployer.commands.init.write import seen
from deployer.project.detect import Project, inspect
from deployer.wire.release.health import HOST_HEADER, HOST_LENGTH

__all__ = ["Asking", "Defaults", "Interview", "interview"]

_NO = ("n", "no")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Interview:
    """The project with what was answered; ``secrets``: a file for them is to be written."""

    project: Project
    secrets: bool


def interview(root: Path, asking: Asking | None, *, wsgi: str = "", asgi: str = "", directory: str = "") -> Interview:
    """The project in a directory, and what its user says of it. ``asking`` is None where nothing may be guessed that
    only its user can know: which of several apps it is. Raises ConfigError where no project can be."""
    refuse_place(root)
    project = inspect(root, directory=directory)
    project = chosen(project, wsgi=wsgi, asgi=asgi)
    if (root / "deploy.toml").exists():
        return Interview(project=project, secrets=False)
    if asking is not None and project.elsewhere:
        directory = asking.choose("Which of these apps is to be deployed?", project.elsewhere)
        project = chosen(inspect(root, directory=directory), wsgi=wsgi, asgi=asgi)
    elif asking is not None and project.choices:
        key, _, target = asking.choose("Which of these applications is to be served?", project.choices).partition(" = ")
        wsgi, asgi = (target.strip('"'), "") if key == "wsgi" else ("", target.strip('"'))
        project = chosen(project, wsgi=wsgi, asgi=asgi)
    if not project.is_python:
        return Interview(project=project, secrets=False)
    someone = asking or Defaults()
    someone.tell([*seen(project), ""])
    found = (project.django.host if project.django else None) or ""
    host = someone.ask("The host name of the site, such as shop.example.com (Enter: later)", found, _host_problem)
    if host != found:
        project = chosen(inspect(root, directory=directory, host=host), wsgi=wsgi, asgi=asgi)
    project = replace(project, confirmed=bool(host) and someone.present)
    return Interview(project=project, secrets=_wants_secrets(project, someone))


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
