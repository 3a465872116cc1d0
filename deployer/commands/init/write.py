"""The files of a project are written, and none is overwritten; then what was found and what is missing is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from deployer.commands.init.text import ENV_FILE, deploy_toml, secrets_text, server, unread
from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.detect import Project
from deployer.project.detect.locks import lock_text

__all__ = ["FABFILE", "FABRIC", "plan_init", "would_write", "write"]

FABFILE = "from deployer.tasks import namespace  # noqa: F401\n"
FABRIC = "tasks:\n  executor_class: deployer.executor.FleetExecutor\n"
FABRIC_FILES = ("fabric.yaml", "fabric.yml", "fabric.json", "fabric.py")
"""Fabric reads the first of these and no other: where one exists, none may be added before it."""


def plan_init(project: Project, *, secrets: bool = True) -> dict[Path, str]:
    """The files of a project that has none of them yet, by path relative to its root.

    Without ``secrets`` the file that has them is left to its user.
    """
    there = secrets or (project.root / ENV_FILE).exists()
    toml = deploy_toml(project, secrets=there)
    plan = {Path("deploy.toml"): toml, Path("fabfile.py"): FABFILE, Path("fabric.yaml"): FABRIC}
    text = secrets_text(project) if secrets else ""
    return {**plan, Path(ENV_FILE): text} if text else plan


def write(project: Project, plan: Mapping[Path, str], *, told: bool = False) -> list[str]:
    """Write those files of the plan that do not exist, and tell what was done and what to type next.

    ``told``: what was found has been said. Raises OSError when the directory cannot be written to.
    """
    lines = [write_one(project.root, path, text) for path, text in plan.items()]
    ignored = list(_ignored(project, plan))
    found = [] if told else list(seen(project))
    return [*found, *lines, *ignored, *hints(project), "", *next_steps(project, ignored=bool(ignored))]


def would_write(project: Project, plan: Mapping[Path, str]) -> list[str]:
    """What :func:`write` would do with each file."""
    return [
        f"would keep {there}: it exists" if (there := _taken(project.root, path)) else f"would write {path}"
        for path in plan
    ]


def _taken(root: Path, path: Path) -> str:
    """The file that keeps one from being written; empty when there is none."""
    taken = FABRIC_FILES if path.name == "fabric.yaml" else (path.name,)
    return next((name for name in taken if (root / name).exists()), "")


def write_one(root: Path, path: Path, text: str) -> str:
    """Write one file, unless it (or another that takes its place) exists; one line on what was done."""
    if there := _taken(root, path):
        return kept(root / there)
    mode = 0o600 if path.name == ENV_FILE else 0o666
    with os.fdopen(os.open(root / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    return f"wrote {path}" + (", which only you can read" if path.name == ENV_FILE else "")


def kept(path: Path) -> str:
    """What to add to a file of the project's own, which is left as it is."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.name == "fabfile.py" and "deployer.tasks" not in text:
        return (
            "kept fabfile.py; add this line to it:\n"
            f"    {FABFILE.strip()}\n"
            "and for each task of its own, below it: namespace.add_task(NAME)"
        )
    if path.name in FABRIC_FILES and "FleetExecutor" not in text:
        return f"kept {path.name}; add this setting to it:\n    " + FABRIC.strip().replace("\n", "\n    ")
    return f"kept {path.name}: it exists"


def _ignored(project: Project, plan: Mapping[Path, str]) -> Iterator[str]:
    """Keep the file with secrets out of git, where nothing does so yet."""
    if Path(ENV_FILE) not in plan or not project.git or _is_ignored(project.root):
        return
    path = project.root / ".gitignore"
    before = path.read_bytes() if path.exists() else b""
    with path.open("ab") as file:
        file.write((b"\n" if before and not before.endswith(b"\n") else b"") + f"/{ENV_FILE}\n".encode())
    yield f"added /{ENV_FILE} to .gitignore"


def _is_ignored(root: Path) -> bool:
    return git.run(root, "check-ignore", "--quiet", ENV_FILE).returncode == 0


def seen(project: Project) -> Iterator[str]:
    """What was found, in one line; and why these settings."""
    site = project.django
    known = (
        "Django" if project.manage else "",
        f"in {project.directory}/" if project.directory else "",
        f"settings {site.settings}" if site else "",
        project.wsgi or project.asgi or "no WSGI or ASGI application (name it under [web] in deploy.toml)",
        project.lock.path or "no lock file",
        "a git repository" if project.git else "no git repository",
    )
    yield f"found: {', '.join(word for word in known if word)}"
    if site:
        yield f"settings {site.settings}: {site.why}"
    if site and site.unused:
        yield f"{site.unused} is there, too, and no program names it: if it is what serves, write it under [env]"
    if project.lock.beside:
        yield f"{project.lock.path} is used, and not {', '.join(project.lock.beside)}: dependencies = … chooses another"


def hints(project: Project) -> Iterator[str]:
    """What is missing for a deploy."""
    yield from _about_dependencies(project)
    site = project.django
    for doubt in site.doubts if site else ():
        line = f"; change it to\n    {doubt.line}" if doubt.line else ""
        yield f"{site.settings if site else ''}: {doubt.what}{line}"
    if site and site.hosts_variable:
        what = f"nobody can visit the site before {site.hosts_variable} names it"
        yield f"{site.settings}: {what}: see [env] in deploy.toml"
    if site and site.required:
        where = ENV_FILE if site.secret else "the file that env_file names"
        yield f"{site.settings} reads variables that have no default; set them in {where}: {', '.join(site.required)}"
    yield from unread(project)
    if project.procfile.answered:
        yield (
            f"the Procfile's release answers questions ({project.procfile.answered} | …): left out of migrate, as no "
            "command on a host is asked anything"
        )
    if project.procfile.build:
        steps = ", ".join(project.procfile.build)
        yield f"of the Procfile's release, {steps} runs at the build: the code is read-only later"
    if not project.git:
        yield "this is not a git repository: type `git init`, or deploy with --dirty"


def _about_dependencies(project: Project) -> Iterator[str]:
    if project.lock.other is not None:
        path, other = project.lock.other
        yield f"{path} is {other.tool}'s, which no host reads: in its directory, type ({other.why})"
        yield f"    {other.command}"
    elif not project.lock.path:
        yield "no uv.lock, pylock.toml or requirements.txt: type `uv lock` or `pip freeze > requirements.txt`"
    elif (missing := missing_server(project)) is not None:
        yield f"{project.lock.path} does not name {missing}: add it to the dependencies"
    if project.lock.path:
        yield from _not_pinned(project)


def _not_pinned(project: Project) -> Iterator[str]:
    """What a deploy would say of the lock: what is not pinned, what it warns of, or why it cannot be used."""
    from deployer.config import DependenciesConfig
    from deployer.project.locks.lockfile import find_lock

    lock = project.lock
    chosen = DependenciesConfig(file=lock.path if lock.named else None, groups=lock.groups, extras=lock.extras)
    try:
        found = find_lock(project.files, required=False, directory=project.directory, chosen=chosen)
    except ConfigError as error:
        yield f"a deploy will refuse this: {error.message}"
    except OSError:
        return
    else:
        yield from filter(None, [found.loose, *found.warnings])


def missing_server(project: Project) -> str | None:
    """The server that the app needs, when the lock does not name it."""
    _, name = server(project)
    return name if name and name not in lock_text(project.files, project.lock.path) else None


def next_steps(project: Project, *, ignored: bool = False) -> Iterator[str]:
    yield "Next, after a look at deploy.toml:"
    if project.git:
        more = " .gitignore" if ignored else ""
        yield f"    git add deploy.toml fabfile.py fabric.yaml{more} && git commit -m 'Deploy with deployer'"
    yield "    fab setup -H root@HOST"
    yield "    fab deploy -H deploy@HOST"
