"""``deployer init``: the three files a project needs, from what it says about itself. Overwrites nothing.

It checks first, and writes nothing outside a project directory.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from deployer.errors import ConfigError
from deployer.project.detect import DiskFiles, Project
from deployer.wire.advice import Advice, Next, run

FABFILE = "from deployer.tasks import namespace  # noqa: F401\n"
FABRIC = "tasks:\n  executor_class: deployer.executor.FleetExecutor\n"
FABRIC_FILES = ("fabric.yaml", "fabric.yml", "fabric.json", "fabric.py")
"""Fabric reads the first of these and no other: where one exists, none may be added before it."""


def refuse_mistake(project: Project) -> None:
    """Raises ConfigError for a directory that is not a project, before anything is written."""
    root = project.root.absolute()
    if (root / "deploy.toml").exists():
        return  # typed again: what is missing is added
    for why, next in mistakes(project, root):
        raise ConfigError(message=why, state="nothing was written", next=Next.of(next))


def mistakes(project: Project, root: Path) -> Iterator[tuple[str, Advice]]:
    """What speaks against this directory, and what to type instead."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() raises where the user is unknown)
    if root in (Path(root.anchor), Path(home)):
        yield f"{root} is no project's directory", "cd to the project, then deployer init"
    above = next((place for place in root.parents if (place / "deploy.toml").exists()), None)
    if above is not None:
        yield (
            f"{root} belongs to {above / 'deploy.toml'}, which is used in all directories below it",
            "edit that file; or move this app out of that directory, then deployer init in its own",
        )
    if project.choices:
        yield (
            f"several applications were found: {', '.join(project.choices)}",
            f"deployer init --{project.choices[0].replace(' = ', '=')}   (or one of the others)",
        )
    if project.elsewhere and not (project.wsgi or project.asgi):
        found = f"{len(project.elsewhere)} Django projects are" if project.elsewhere[1:] else "a Django project is"
        yield (
            f"{found} below this directory, and none is in it: {', '.join(project.elsewhere)}",
            run(f"cd {shlex.quote(str(Path(project.elsewhere[0]).parent))} && deployer init"),
        )
    manage = next((place for place in root.parents[:3] if (place / "manage.py").is_file()), None)
    if manage is not None and not (project.manage or project.wsgi or project.asgi):
        yield (
            f"the Django project is above {root}: {manage / 'manage.py'}",
            run(f"cd {shlex.quote(str(manage))} && deployer init"),
        )
    if not (project.manage or project.wsgi or project.asgi or project.lock or has_python(root)):
        yield f"there is no Python project in {root}", "cd to the project, then deployer init"


def has_python(root: Path) -> bool:
    """Whether there is anything of Python at the top, or a package one level down."""
    patterns = ("*.py", "pyproject.toml", "*/__init__.py", "src/*/__init__.py")
    return any(place.name != "fabfile.py" for pattern in patterns for place in root.glob(pattern))


def chosen(project: Project, *, wsgi: str, asgi: str) -> Project:
    """The project with what its user says of the application."""
    if not wsgi and not asgi:
        return project
    return replace(project, wsgi=wsgi or None, asgi=asgi or None, choices=())


def seen(project: Project) -> str:
    """What was found, in one line."""
    known = (
        "Django" if project.manage else "",
        f"settings {project.settings}" if project.settings else "",
        project.wsgi or project.asgi or "no WSGI or ASGI application (name it under [web] in deploy.toml)",
        project.lock or "no lock file",
        "a git repository" if project.git else "no git repository",
    )
    return f"found: {', '.join(word for word in known if word)}"


def plan_init(project: Project) -> dict[Path, str]:
    """The files of a project that has none of them yet, by path relative to its root. Pure."""
    return {
        Path("deploy.toml"): deploy_toml(project),
        Path("fabfile.py"): FABFILE,
        Path("fabric.yaml"): FABRIC,
    }


def deploy_toml(project: Project) -> str:
    """A small ``deploy.toml``: what was found, and as comments what must or may be chosen."""
    parts = [top(project), web(project), release(project), proxy(project), env(project)]
    return "\n".join("\n".join(lines) + "\n" for lines in map(list, parts) if lines)


def top(project: Project) -> Iterator[str]:
    yield "# What `fab deploy` does with this project. An unknown key is refused, with its nearest match."
    yield f"app = {quoted(project.name)}"
    yield '# hosts = ["deploy@web1.example.com"]   # used when -H is not given'


def web(project: Project) -> Iterator[str]:
    yield "[web]"
    if project.wsgi:
        yield f"wsgi = {quoted(project.wsgi)}"
    if project.asgi:
        yield f"{'# ' if project.wsgi else ''}asgi = {quoted(project.asgi)}"
    if not project.wsgi and not project.asgi:
        yield '# Choose one: no WSGI or ASGI application was found.\n# wsgi = "shop.wsgi:application"'
    yield "workers = 4"
    yield from health(project)


def health(project: Project) -> Iterator[str]:
    known = {"path": project.health or "/", "host": project.host}
    table = ", ".join(f"{key} = {quoted(value)}" for key, value in known.items() if value)
    yield f"health = {{ {table} }}   # must answer with 200 to 399 before a release gets traffic"
    if project.manage and not project.host:
        yield '# health = { path = "/", host = "shop.example.com" }   # host: one that ALLOWED_HOSTS accepts'


def release(project: Project) -> Iterator[str]:
    if project.manage and (project.static_root or project.migrations):
        yield "[release]"
    if project.manage and project.static_root:
        yield 'build = ["python manage.py collectstatic --noinput"]   # on each host, before it is sealed'
    if project.manage and project.migrations:
        yield 'migrate = "python manage.py migrate --noinput"         # once, before it gets traffic'


def proxy(project: Project) -> Iterator[str]:
    yield "# [proxy]                     # let `fab setup` write the site: HTTPS, by Caddy or nginx"
    yield f"# domains = {quoted(project.host or 'shop.example.com')}"
    if project.static_root and project.static_url:
        yield f"# static = {{ {quoted(project.static_url)} = {quoted(project.static_root)} }}"


def env(project: Project) -> Iterator[str]:
    if project.settings:
        yield "[env]                         # not secret; secrets go into the file that env_file names"
        yield f"DJANGO_SETTINGS_MODULE = {quoted(project.settings)}"


def write(project: Project, plan: Mapping[Path, str]) -> list[str]:
    """Write those files of the plan that do not exist, and tell what was done and what to type next.

    Raises OSError when the directory cannot be written to.
    """
    lines = [write_one(project.root, path, text) for path, text in plan.items()]
    return [seen(project), *lines, *hints(project), "", *next_steps(project)]


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
    with (root / path).open("x", encoding="utf-8") as file:
        file.write(text)
    return f"wrote {path}"


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


def hints(project: Project) -> Iterator[str]:
    """What is missing for a deploy."""
    if not project.lock:
        yield "no uv.lock, pylock.toml or requirements.txt: type `uv lock` or `pip freeze > requirements.txt`"
    elif (server := missing_server(project)) is not None:
        yield f"{project.lock} does not name {server}: add it to the dependencies"
    for doubt in project.doubts:
        yield f"{project.settings}: {doubt}"
    if not project.git:
        yield "this is not a git repository: type `git init`, or deploy with --dirty"


def missing_server(project: Project) -> str | None:
    """The server that the app needs, when the lock does not name it."""
    server = "gunicorn" if project.wsgi else "uvicorn" if project.asgi else None
    text = DiskFiles(project.root).read_text(project.lock or "") or ""
    return server if server and server not in text.lower() else None


def next_steps(project: Project) -> Iterator[str]:
    yield "Next, after a look at deploy.toml:"
    if project.git:
        yield "    git add deploy.toml fabfile.py fabric.yaml && git commit -m 'Deploy with deployer'"
    yield "    fab setup -H root@HOST"
    yield "    fab deploy -H deploy@HOST"


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text)
