"""``deployer sandbox up|down|list|ssh``: throwaway systemd hosts on this machine."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from deployer.cli.standalone import Parser, answer, ended, is_dry, say, words_after_dashes, would
from deployer.errors import ConfigError, Exit, Unreachable
from deployer.sandbox import hosts
from deployer.sandbox.backends.choice import BACKENDS
from deployer.sandbox.contents.content import DISTRIBUTIONS
from deployer.sandbox.records import registry, survey
from deployer.sandbox.records.survey import Seen
from deployer.ui.steps import Steps
from deployer.wire.advice import run

__all__ = ["SUMMARY", "main", "parser", "table"]

SUMMARY = {
    "sandbox up": "Boot a throwaway host with systemd and sshd on this machine.",
    "sandbox down": "Remove throwaway hosts and all they hold.",
    "sandbox list": "List the throwaway hosts.",
    "sandbox ssh": "Log in to a throwaway host as root, or run a command there.",
}
_INTERRUPTED = {
    "up": "no host was made, and nothing of it is left",
    "down": "deployer sandbox list shows the hosts that are left",
    "list": "nothing was changed",
    "ssh": "nothing was changed",
}


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands; its exit code."""
    before, after = words_after_dashes(arguments)
    asked = "--json" in before

    def body() -> int:
        given = parser().parse_args(before)
        if after and given.command != "ssh":
            given.parser.error(f"no words are expected after --: {' '.join(after)}")
        given.words = after
        given.dry = is_dry(given.dry)
        return int(given.does(given))

    state = next((_INTERRUPTED[word] for word in before if word in _INTERRUPTED), "")
    return ended(body, json=asked, interrupted=state)


def parser() -> Parser:
    """What the commands take."""
    top = Parser(
        prog="deployer sandbox",
        description="Throwaway hosts on this machine: real systemd, journald, sshd, sudo, nginx.",
    )
    commands = top.commands = top.add_subparsers(dest="command", metavar="up|down|list|ssh", required=True)

    def add(name: str, does: Any, *, json: bool = True) -> Parser:
        text = SUMMARY[f"sandbox {name}"]
        one: Parser = commands.add_parser(name, help=text, description=text)
        one.set_defaults(does=does, parser=one, json=False, dry=False)
        if json:
            one.add_argument("--json", "-j", action="store_true", help="answer with one line of JSON on stdout")
        if name != "list":
            one.add_argument("--dry", "-R", action="store_true", help="tell what would be done, and do nothing")
        return one

    up = add("up", _up)
    up.add_argument("name", nargs="?", metavar="NAME", help="what to call it (default: box1, box2 …)")
    up.add_argument("--distribution", default="bookworm", choices=DISTRIBUTIONS, help="default: bookworm")
    up.add_argument("--backend", choices=BACKENDS, help="default: nspawn where it works, else docker")
    down = add("down", _down)
    down.add_argument("name", nargs="?", metavar="NAME", help="which host")
    down.add_argument("--all", action="store_true", help="every host, but those of a demo or a program that still runs")
    down.add_argument(
        "--force", action="store_true", help="forget the host, even when its Docker engine does not answer"
    )
    add("list", _list)
    ssh = add("ssh", _ssh, json=False)
    ssh.add_argument("name", metavar="NAME", help="which host")
    ssh.usage = "deployer sandbox ssh [--dry] NAME [-- COMMAND]"
    return top


def _up(given: argparse.Namespace) -> int:
    if given.dry:
        kind = f" by {given.backend}" if given.backend else ""
        return would(f"boot a throwaway host of {given.distribution}{kind}, called {given.name or 'box1, box2 or so'}")
    with Steps() as steps:
        registry.refuse_name(given.name)
        if not survey.has_image(given.distribution, given.backend):
            say(f"The {given.distribution} image is made first: one to two minutes, once.")
        host = hosts.up(given.name, distribution=given.distribution, backend=given.backend, progress=steps, owned=False)
    if given.json:
        answer(_row(Seen(host=host, condition="on")))
    else:
        say(f"{host.name} is up at {host.address}. Next:")
        say(f"  deployer sandbox ssh {host.name}     (logs in as root)")
        say(f"  deployer sandbox down {host.name}    (removes it)")
        say(f"  ssh, fab: -F or -S {host.ssh_config}, -i {host.identity}")
    return int(Exit.OK)


def _down(given: argparse.Namespace) -> int:
    if bool(given.name) == given.all:
        given.parser.error("name one host, or say --all")
    if given.all and given.force:
        given.parser.error("--force takes the name of one host")
    if given.all:
        return _down_all(given)
    survey.get(given.name)
    if given.dry:
        return would(f"remove {given.name} and all it holds")
    with Steps() as steps:
        steps(f"removing {given.name}")
        registry.down(given.name, force=given.force)
    if given.json:
        answer({"removed": [given.name], "kept": {}, "failed": {}})
    return int(Exit.OK)


def _down_all(given: argparse.Namespace) -> int:
    if given.dry:
        names = [seen.host.name for seen in survey.survey() if seen.owner is None]
        return would(f"remove {', '.join(names) or 'no host: there is none'}")
    with Steps() as steps:
        steps("removing all hosts")
        done = hosts.down_all()
    if given.json:
        failed = {name: error.problem for name, error in done.failed.items()}
        answer({"removed": list(done.removed), "kept": done.kept, "failed": failed})
    else:
        say(f"removed: {', '.join(done.removed) or 'none'}")
        for name, pid in done.kept.items():
            say(f"left alone: {name} belongs to process {pid}, which runs; deployer sandbox down {name} removes it")
        for error in done.failed.values():
            say(f"{error.problem} Next: {error.hint}")
    return int(Exit.UNREACHABLE if done.failed else Exit.OK)


def _list(given: argparse.Namespace) -> int:
    found = survey.survey()
    if given.json:
        answer({"hosts": [_row(seen) for seen in found]})
    elif found:
        sys.stdout.write(f"{table(found)}\n")
    else:
        say("There are no throwaway hosts. Next: deployer sandbox up")
    for problem in dict.fromkeys(seen.problem for seen in found if seen.problem):
        names = ", ".join(seen.host.name for seen in found if seen.problem == problem)
        say(f"{problem} So it is unknown whether {names} {'run' if ', ' in names else 'runs'}.")
    return int(Exit.UNREACHABLE if any(seen.problem for seen in found) else Exit.OK)


def _ssh(given: argparse.Namespace) -> int:
    host = survey.get(given.name)
    command = given.words[0] if len(given.words) == 1 else shlex.join(given.words)
    argv = ["ssh", "-F", str(host.ssh_config), host.name, *(["--", command] if command else [])]
    if given.dry:
        return would(f"run: {shlex.join(argv)}")
    if not host.is_on():
        raise Unreachable(
            message=f"{host.name} is not running",
            state="nothing was touched",
            next=run(f"deployer sandbox down {host.name}", "removes it")
            + run(f"deployer sandbox up {host.name} --distribution {host.distribution}", "boots a fresh one"),
            logs=host.console().splitlines(),
        )
    if shutil.which("ssh") is None:
        raise ConfigError(message="the program ssh is not installed here, or not in PATH")
    sys.stdout.flush()
    return _become(argv)


def _become(argv: list[str]) -> NoReturn:
    """Go on as ssh: it has the terminal, and its exit code is the command's."""
    os.execvp(argv[0], argv)  # noqa: S606


def table(found: Sequence[Seen]) -> str:
    """The hosts as plain text, a line each, under a heading; at most 80 columns unless a name is long."""
    cells = [("NAME", "ADDRESS", "SSH", "HTTP", "DISTRIBUTION", "BACKEND", "STATE")]
    for seen in found:
        host = seen.host
        ports = (str(host.ssh_port), str(host.http_port))
        cells.append((host.name, host.address, *ports, host.distribution, host.backend, seen.condition))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _row(seen: Seen) -> dict[str, Any]:
    host = seen.host
    return {
        "name": host.name,
        "address": host.address,
        "ssh_port": host.ssh_port,
        "http_port": host.http_port,
        "distribution": host.distribution,
        "backend": host.backend,
        "state": seen.condition,
        "owner": seen.owner,
        "problem": seen.problem,
        "ssh_config": str(host.ssh_config),
        "identity": str(host.identity),
    }
