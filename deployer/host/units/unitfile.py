"""What every unit of an app has, and how a unit file is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from deployer.host.state.paths import AppPaths

Lines = Sequence[tuple[str, str]]


def own_environment(paths: AppPaths, number: int) -> dict[str, str]:
    """The variables that deployer sets for every process of a release."""
    return {
        "DEPLOYER_APP": paths.app,
        "DEPLOYER_RELEASE": f"v{number}",
        "HOME": f"/var/lib/{paths.app}",
        "PATH": f"{paths.release(number)}/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "SHELL": "/bin/sh",  # the user has none
        "VIRTUAL_ENV": f"{paths.release(number)}/venv",
    }


def service_lines(paths: AppPaths, number: int, process: str, directory: str = "") -> list[tuple[str, str]]:
    """User, directories and variables: the same for every kind of process of a release.

    ``directory`` is the one of the code that it runs in (empty: its root).
    """
    release = paths.release(number)
    own = {**own_environment(paths, number), "DEPLOYER_PROCESS": process}
    return [
        ("User", paths.app),
        ("Group", paths.app),
        ("WorkingDirectory", str(paths.code(number, directory))),
        *state_lines(paths.app),
        *(("Environment", quote(f"{name}={value}")) for name, value in own.items()),
        ("EnvironmentFile", f"{release}/env"),
        ("SyslogIdentifier", f"{paths.app}-{process.partition('.')[0]}"),
        ("KillMode", "mixed"),
    ]


def state_lines(app: str) -> list[tuple[str, str]]:
    """The directory that the app itself may write."""
    return [("StateDirectory", app), ("StateDirectoryMode", "0700")]


def exec_line(argv: Sequence[str], name: str = "ExecStart") -> tuple[str, str]:
    """The line for a command."""
    return (name, " ".join(quote(word) for word in argv))


def quote(argument: str) -> str:
    """One argument of an Exec line (systemd.service(5)), without specifiers, variables or word splitting."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
    escaped = escaped.replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", escaped) else f'"{escaped}"'


def properties(lines: Iterable[tuple[str, str]]) -> list[str]:
    """The lines as ``systemd-run -p`` takes them."""
    return [f"{name}={value}" for name, value in lines]


def unit_text(what: str, *sections: tuple[str, Sequence[tuple[str, str]]]) -> str:
    """A unit file with these sections. ``what`` goes into its first comment."""
    parts = [f"# Written by deployer: {what}.\n"]
    for title, lines in sections:
        parts.append(f"\n[{title}]\n" + "".join(f"{name}={value}\n" for name, value in lines))
    return "".join(parts)
