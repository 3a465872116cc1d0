"""A Procfile: which processes a project runs elsewhere, and what they are here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import PROCESS_LENGTH

__all__ = ["Procfile", "parse_procfile"]

_LINE = pattern(r"(?P<name>[A-Za-z0-9_-]+)\s*:\s*(?P<command>\S.*)")
_CHDIR = pattern(r"cd\s+(?P<directory>[A-Za-z0-9._/-]+?)/?\s*&&\s*(?P<rest>.+)", re.DOTALL)
_TARGET = pattern(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\(\))?")
_SHELL = pattern(r"[|&;<>$`*?(]")
_VARIABLE = pattern(r"[A-Za-z_][A-Za-z0-9_]*=")
_SERVERS = {"gunicorn": "wsgi", "uvicorn": "asgi", "hypercorn": "asgi", "daphne": "asgi"}
_DEVELOPMENT = pattern(r"\brunserver\b|\bflask\b.* run\b|--reload\b|^make\s")
_SERVING = pattern(r"\b(?:gunicorn|uvicorn|hypercorn|daphne|waitress|uwsgi|granian)\b")
_BEAT = pattern(r"\s(?:beat|--beat|-B)(?:\s|\Z)")
"""Celery's own scheduler, by itself or within a worker: two of it would queue all twice."""
_ANSWERS = pattern(r"""(?:(?<=\A)|(?<=&&)|(?<=;))\s*(?:yes|echo|printf)(?:\s+(?:'[^']*'|"[^"]*"|[^\s|&;]+))*\s*\|\s*""")
_BUILDS = pattern(r"\b(?:collectstatic|compilemessages|compress|npm|yarn)\b")
_ONCE = ("beat", "clock", "scheduler", "cron")


@dataclass(frozen=True, kw_only=True)
class Procfile:
    """``kind`` and ``target`` are those of the web process, empty when its command names none that is known; ``web`` is
    that command then. ``processes`` have a command each; those ``once`` run on one host; those ``serving``
    take requests, and are no processes here. ``build`` is what of ``release`` writes into the code; ``answered``
    what fed it answers, and was left out. ``directory`` is where all of it runs."""

    kind: str = ""
    target: str = ""
    args: tuple[str, ...] = ()
    web: str = ""
    release: str = ""
    build: tuple[str, ...] = ()
    answered: str = ""
    processes: Mapping[str, str] = field(default_factory=dict)
    once: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()
    directory: str = ""


def parse_procfile(text: str) -> Procfile:
    """What a Procfile asks for. Lines that are none are left out.

    One for a laptop, with a server that reloads, asks for nothing.
    """
    lines = (line.strip() for line in text.splitlines() if not line.lstrip().startswith("#"))
    commands = {match["name"].lower(): match["command"] for match in map(_LINE.fullmatch, lines) if match}
    if _DEVELOPMENT.search(commands.get("web", "")):
        return Procfile()
    places = {match["directory"] for match in map(_CHDIR.match, commands.values()) if match}
    commands = {name: _here(command) for name, command in commands.items()}
    found = _web(commands.pop("web", ""))
    migrate, build, answered = _release(commands.pop("release", ""))
    serving = tuple(name for name, command in commands.items() if _SERVING.search(command))
    processes = {_name(name): _command(command) for name, command in commands.items() if name not in serving}
    once = tuple(name for name in processes if any(word in name for word in _ONCE) or _is_beat(processes[name]))
    directory = found.directory or (places.pop() if len(places) == 1 else "")
    return replace(
        found,
        release=migrate,
        build=build,
        answered=answered,
        processes=processes,
        once=once,
        serving=serving,
        directory=directory,
    )


def _is_beat(command: str) -> bool:
    return "celery" in command and _BEAT.search(command) is not None


def _release(command: str) -> tuple[str, tuple[str, ...], str]:
    """What of it migrates, what builds, and what answered its questions: here nobody is asked. A build is sealed before
    a migration, which can write none of the code."""
    answers = _ANSWERS.search(command)
    if answers is not None:
        command = _ANSWERS.sub("", command)
        command = re.sub(r"(manage\.py\s+migrate\b)(?!.*--no-?input)", r"\1 --noinput", command)
    steps = re.split(r"\s*&&\s*", command)
    build = tuple(step for step in steps if _BUILDS.search(step))
    if build and not any(_SHELL.search(step) for step in steps):
        command = " && ".join(step for step in steps if step not in build)
    else:
        build = ()
    return command.strip(), build, answers[0].strip().rstrip("|").strip() if answers else ""


def _here(command: str) -> str:
    match = _CHDIR.match(command)
    return match["rest"].strip() if match else command


def _name(name: str) -> str:
    fitting = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:PROCESS_LENGTH]
    return fitting if fitting and fitting != "web" else "process"


def _command(command: str) -> str:
    """The command as no shell needs to read it."""
    if _SHELL.search(command):
        return shlex.join(["/bin/sh", "-c", command if "&&" in command or ";" in command else f"exec {command}"])
    return f"/usr/bin/env {command}" if _VARIABLE.match(command) else command


def _web(command: str) -> Procfile:
    """The application that the web process serves; the last of several commands is the one that goes on."""
    last = re.split(r"&&|;", command)[-1]
    try:
        words = shlex.split(last)
    except ValueError:
        words = last.split()
    server = next((word for word in words if word.rpartition("/")[2] in _SERVERS), "")
    target = next((word for word in words if _TARGET.fullmatch(word)), "")
    if not server or not target:
        return Procfile(web=command)
    kind = _SERVERS[server.rpartition("/")[2]]
    if any("uvicorn" in word.lower() for word in words if word != server and word != target):
        kind = "asgi"
    if kind == "asgi":
        target = target.removesuffix("()")
    return Procfile(kind=kind, target=target, args=_args(words), directory=_chdir(words))


def _args(words: Sequence[str]) -> tuple[str, ...]:
    """What of the server's options cannot be left out."""
    return ("--factory",) if "--factory" in words else ()


def _chdir(words: Sequence[str]) -> str:
    for index, word in enumerate(words):
        option, _, value = word.partition("=")
        if option in ("--chdir", "--app-dir"):
            return (value or "".join(words[index + 1 : index + 2])).strip("/")
    return ""
