"""The text of deploy.toml and of the file with secrets, from what was found. Pure, but for the new key."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping

from deployer.project.detect import Project
from deployer.project.detect.locks import lock_text
from deployer.project.django import SETTINGS, STATE
from deployer.project.django.site import Doubt

__all__ = ["ENV_FILE", "deploy_toml", "secrets_text", "server", "unread"]

ENV_FILE = ".env.production"
_ASGI_SERVERS = ("uvicorn", "hypercorn")
_EXAMPLE = "shop.example.com"
_KEY_BYTES = 50
_SHOWN = 4
_UNREAD = {
    "DEBUG": "DEBUG is off",
    "SECRET_KEY": "SECRET_KEY comes from a file or a variable that is not in git",
    "ALLOWED_HOSTS": "ALLOWED_HOSTS has the name of the site (fab doctor tells)",
    "DATABASES": "the database is one that a host has; SQLite outside the code, in STATE_DIRECTORY",
    "STATIC_ROOT": "STATIC_ROOT is in the code, and static of [proxy] names it",
    "MEDIA_ROOT": "MEDIA_ROOT is outside the code, or shared of [release] names it",
}


def deploy_toml(project: Project, *, secrets: bool = True) -> str:
    """A small ``deploy.toml``: what was found, and as comments what must or may be chosen.

    ``secrets``: there is a file with secrets.
    """
    parts = [
        top(project, secrets=secrets),
        web(project),
        release(project),
        processes(project),
        services(project),
        proxy(project),
        env(project),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in map(list, parts) if lines)


def secrets_text(project: Project) -> str:
    """The dotenv file: a new SECRET_KEY, and the names of what else the settings need. Empty when that is nothing."""
    if project.django is None or not project.django.secret:
        return ""
    lines = [f"# Secrets of {project.name}, read by fab deploy. They stay out of git and of all output."]
    lines.append(f"{project.django.secret}={secrets.token_urlsafe(_KEY_BYTES)}")
    lines += [f"# {name}=          # the settings need it" for name in project.django.required]
    return "".join(f"{line}\n" for line in lines)


def top(project: Project, *, secrets: bool) -> Iterator[str]:
    yield "# What `fab deploy` does with this project. An unknown key is refused, with its nearest match."
    yield from _doubts(project)
    yield f"app = {quoted(project.name)}"
    yield '# hosts = ["deploy@web1.example.com"]   # used when -H is not given'
    if project.directory:
        yield f"directory = {quoted(project.directory)}   # where everything of the app runs"
    yield from _dependencies(project)
    site = project.django
    if site and (site.secret or site.required):
        needed = [name for name in (site.secret, *site.required) if name]
        names = ", ".join(needed[:_SHOWN]) + (f" and {len(needed) - _SHOWN} more" if needed[_SHOWN:] else "")
        mark = "" if secrets and site.secret else "# "
        yield f"{mark}env_file = {quoted(ENV_FILE)}   # on this machine, not in git; with {names}"


def unread(project: Project) -> Iterator[str]:
    """The settings that could not be read, and what to see to."""
    names = project.django.unread if project.django else ()
    if project.django and names:
        yield f"{project.django.settings}: not read here: {', '.join(names)}. Before visitors come, see that"
        yield from (f"    {_UNREAD[name]}" for name in names)


def _doubts(project: Project) -> Iterator[str]:
    yield from (f"# {line}" for line in unread(project))
    doubts: tuple[Doubt, ...] = project.django.doubts if project.django else ()
    if doubts and project.django:
        yield f"# To change in {project.django.settings} before visitors come (no setting here can do it):"
    for doubt in doubts:
        yield f"# - {doubt.what}"
        if doubt.line:
            yield f"#     {doubt.line}"
    if project.django and any("os." in doubt.line for doubt in doubts) and "os" not in project.django.values.names:
        yield "# - and at its top: import os"


def _dependencies(project: Project) -> Iterator[str]:
    lock = project.lock
    file = {"file": quoted(lock.path)} if lock.named else {}
    chosen = {key: listed(names) for key, names in (("groups", lock.groups), ("extras", lock.extras)) if names}
    if file or chosen:
        yield f"dependencies = {{ {', '.join(f'{key} = {value}' for key, value in {**file, **chosen}.items())} }}"


def server(project: Project) -> tuple[str, str]:
    """``wsgi`` or ``asgi`` and its server: as the application and the lock have them; empty when there is none."""
    text = lock_text(project.files, project.lock.path) if project.lock.path else ""
    asynchronous = next((name for name in _ASGI_SERVERS if name in text), "")
    if project.wsgi and not (project.asgi and asynchronous and "gunicorn" not in text):
        return "wsgi", "gunicorn"
    return ("asgi", asynchronous or "uvicorn") if project.asgi else ("", "")


def web(project: Project) -> Iterator[str]:
    kind, program = server(project)
    callables = {"wsgi": project.wsgi, "asgi": project.asgi}
    yield "[web]"
    for name, target in sorted(callables.items(), key=lambda pair: pair[0] != kind):
        if target:
            yield f"{'' if name == kind else '# '}{name} = {quoted(target)}"
    if not kind:
        yield from _no_callable(project)
    if program == "hypercorn":
        yield 'server = "hypercorn"'
    if project.args and kind == "asgi":
        yield f"args = {listed(project.args)}"
    yield "workers = 4"
    yield from health(project)


def _no_callable(project: Project) -> Iterator[str]:
    if project.procfile.web:
        yield f"# The Procfile's web process: {project.procfile.web}"
        yield "# It has to serve on the socket that systemd hands it (docs/how-to/servers.md). Choose one:"
        yield '# command = "…"'
    else:
        yield "# Choose one: no WSGI or ASGI application was found."
    yield '# wsgi = "shop.wsgi:application"'


def health(project: Project) -> Iterator[str]:
    host = project.django.host if project.django else None
    path = project.health or "/"
    known = {"path": path, "host": host}
    table = ", ".join(f"{key} = {quoted(value)}" for key, value in known.items() if value)
    guess = "" if project.health else "; a guess: name a page that does"
    yield f"health = {{ {table} }}   # must answer with 200 to 399 before a release gets traffic{guess}"
    if project.django and not host:
        table = f'{{ path = {quoted(path)}, host = "{_EXAMPLE}" }}'
        yield f"# health = {table}   # host: one that ALLOWED_HOSTS accepts"


def release(project: Project) -> Iterator[str]:
    collects = project.django is not None and project.django.collects
    migrate = migration(project)
    shared = project.django.shared if project.django else {}
    build = _build(project, collects=collects)
    if build or migrate or shared:
        yield "[release]"
    if build:
        yield f"build = {listed(build)}   # on each host, before it is sealed"
    if migrate:
        yield f"migrate = {quoted(migrate)}   # once, before it gets traffic"
    if shared:
        table = ", ".join(f"{quoted(path)} = {quoted(place)}" for path, place in shared.items())
        yield f"shared = {{ {table} }}   # the app writes these: kept in /var/lib/{project.name}, across releases"


def _build(project: Project, *, collects: bool) -> list[str]:
    """What writes into the code: Django's own command, and those of the Procfile."""
    more = [one for one in project.procfile.build if not (collects and "collectstatic" in one)]
    return [*(["python manage.py collectstatic --noinput"] if collects else []), *more]


def migration(project: Project) -> str:
    """The command that migrates the database; empty when there is none that is known."""
    if project.procfile.release:
        return project.procfile.release
    if project.manage and (project.django is None or project.django.migrates):
        return "python manage.py migrate --noinput"
    files = project.files
    text = lock_text(files, project.lock.path) if project.lock.path else ""
    prefix = f"{project.directory}/" if project.directory else ""
    if f"{prefix}alembic.ini" in files.paths and "alembic" in text:
        return "alembic upgrade head"
    if f"{prefix}migrations/alembic.ini" in files.paths and "flask-migrate" in text and project.wsgi:
        return f"flask --app {project.wsgi.removesuffix('()')} db upgrade"
    return ""


def processes(project: Project) -> Iterator[str]:
    procfile = project.procfile
    for name in procfile.serving:
        yield f"# {name} of the Procfile is left out: only [web] takes requests here"
    for index, (name, command) in enumerate(procfile.processes.items()):
        yield from ([""] if index else [])
        yield f"[processes.{name}]"
        yield f"command = {quoted(command)}"
        if name in procfile.once:
            yield "once = true                  # on one host, and never twice at a time"
            yield "overlap = false"
    if project.celery and not procfile.processes:
        yield f"# [processes.worker]          # {project.celery}.celery is there: a worker needs its broker"
        yield f'# command = "celery -A {project.celery} worker"'


def services(project: Project) -> Iterator[str]:
    """The databases that `fab setup` can give the app on the host itself, where it reads their URL."""
    site = project.django
    asked = site.values.asked if site else ()
    if "DATABASE_URL" in asked and site and "DATABASE_URL" not in site.env:
        yield "# [host.postgresql]           # a database on the host: made by `fab setup`, named by DATABASE_URL"
    if "REDIS_URL" in asked:
        yield "# [host.redis]                # the same for Redis, and REDIS_URL"


def proxy(project: Project) -> Iterator[str]:
    """The site: asked for where somebody said what it is called, else as comments."""
    site, mark = project.django, "" if project.confirmed else "# "
    yield f"{mark}[proxy]                     # let `fab setup` write the site: HTTPS, by Caddy or nginx"
    yield f"{mark}domains = {quoted(project.host or _EXAMPLE)}"
    if site and site.static_root and site.static_url:
        why = "   # else WhiteNoise serves them" if site.whitenoise else ""
        yield f"{mark}static = {{ {quoted(site.static_url)} = {quoted(site.static_root)} }}{why}"
    if site and site.media_state and site.media_url:
        yield f"{mark}media = {{ {quoted(site.media_url)} = {quoted(site.media_state)} }}"


def env(project: Project) -> Iterator[str]:
    site = project.django
    found = {SETTINGS: site.settings, **_on_host(project, site.env)} if site else {}
    if project.path:
        found["PYTHONPATH"] = project.path
    if found:
        yield "[env]                         # not secret; secrets go into the file that env_file names"
    for name, value in found.items():
        why = f"   # {site.why}" if site and name == SETTINGS else ""
        why = "   # where its modules are, below where it runs" if name == "PYTHONPATH" else why
        yield f"{name} = {quoted(value)}{why}"
    if site and site.hosts_variable:
        yield f"# {site.hosts_variable} = {quoted(site.hosts_form)}   # the names that the site answers to: needed"


def _on_host(project: Project, values: Mapping[str, str]) -> dict[str, str]:
    """Variables with the directory that the app may write in the place of what stands for it."""
    return {name: text.replace(STATE, f"/var/lib/{project.name}") for name, text in values.items()}


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def listed(texts: Iterable[str]) -> str:
    """A TOML list of strings."""
    return f"[{', '.join(map(quoted, texts))}]"
