"""What settings would break on a host: answered with a variable where one decides, else with the line to change."""

from __future__ import annotations

import functools
import json
import posixpath
import re
from typing import Any

from deployer.project.django.evaluation.reader import Settings
from deployer.project.django.evaluation.values import CODE, STATE, UNKNOWN, Symbol, Value, plain, truth
from deployer.project.django.reading import Reading, in_project

__all__ = [
    "databases",
    "debug",
    "hosts",
    "hosts_variable",
    "is_host",
    "media",
    "migrates",
    "secret",
    "static",
    "texts",
    "unread",
    "url_prefix",
]

_FALSE = ("false", "False", "0", "")
_KEY = "SECRET_KEY"
_EXAMPLE = "shop.example.com"
INSECURE = "django-insecure-"
"""How the keys begin that ``startproject`` writes into the code."""


def is_host(name: str) -> bool:
    """Whether an entry of ALLOWED_HOSTS is a public host's name."""
    return name not in ("localhost", "testserver") and bool(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]+\Z", name))


def url_prefix(value: Value) -> str | None:
    """A setting such as STATIC_URL as a prefix with a slash at both ends; None when it is none, or another host's."""
    url = value.content
    if not isinstance(url, str) or "//" in url or not url.strip("/"):
        return None
    return f"/{url.strip('/')}/"


def debug(reading: Reading) -> None:
    value = reading.settings.get("DEBUG")
    if all(truth(one) is not True for one in value.alternatives):
        return
    if not reading.solve(value.variables, _FALSE, lambda found: truth(found.get("DEBUG")) is False):
        line = 'DEBUG = os.environ.get("DEBUG") == "1"'
        reading.doubt("DEBUG is on: every error page shows the settings and the code", line)


def hosts(reading: Reading, host: str) -> str:
    """The site's name: as said, else the first that the settings allow."""
    allowed = reading.settings.get("ALLOWED_HOSTS")
    found = host or next((name for name in map(_bare_host, texts(allowed)) if is_host(name)), "")
    if _allows(reading.settings, found):
        return found
    naming = [name for name in allowed.variables if _form(reading, name)]
    if found and reading.solve(naming, _forms(found), lambda settings: _allows(settings, found)):
        return found
    if allowed.known and (found or not naming):
        what = f"ALLOWED_HOSTS does not have {found or 'the name of the site'}"
        reading.doubt(f"{what}: every page answers 400", f'ALLOWED_HOSTS = ["{found or _EXAMPLE}"]')
    return found


def hosts_variable(reading: Reading, host: str) -> tuple[str, str]:
    """The variable that has to name the site, as long as nobody said how it is called, and how it names one; empty when
    there is none.

    It was seen to do so: not every variable that decides ALLOWED_HOSTS is one that names hosts.
    """
    if host or _allows(reading.settings, ""):
        return "", ""
    variables = reading.settings.get("ALLOWED_HOSTS").variables
    return next(((name, form) for name in variables if (form := _form(reading, name))), ("", ""))


def _form(reading: Reading, variable: str) -> str:
    """What a variable has to be for one host to be allowed; empty where it names none."""
    for form in _forms(_EXAMPLE):
        if _EXAMPLE in texts(reading.read({variable: form}).get("ALLOWED_HOSTS")):
            return form
    return ""


def _forms(host: str) -> tuple[str, str]:
    """A list of one as most libraries read it, and as JSON, which pydantic wants."""
    return host, json.dumps([host])


def unread(settings: Settings) -> list[str]:
    """The settings that decide what visitors get, and of which reading tells nothing."""
    seen = all(name in settings.names for name in ("INSTALLED_APPS", "ROOT_URLCONF")) and not settings.unseen
    return [name for name in _DECIDING if _is_unread(settings, name, seen=seen)]


_DECIDING = ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "DATABASES", "STATIC_ROOT", "MEDIA_ROOT")


def _is_unread(settings: Settings, name: str, *, seen: bool) -> bool:
    value = settings.names.get(name)
    if value is None:
        return not seen
    is_text = not isinstance(value.content, Symbol)
    return not value.variables and not value.others and not (value.known and is_text)


def _bare_host(name: str) -> str:
    return name.removeprefix(".").lower()


def _allows(settings: Settings, host: str) -> bool:
    """Whether ALLOWED_HOSTS accepts the name, or (no name) anything at all."""
    value = settings.get("ALLOWED_HOSTS")
    names = [name.lower() for name in texts(value)]
    fits = any(name == "*" or name == host or (name[:1] == "." and f".{host}".endswith(name)) for name in names)
    return fits or (not host and any(map(is_host, names))) or value.partial


def databases(reading: Reading) -> None:
    """SQLite in the code: a host cannot write there, unless that file is kept outside."""
    for alias in _inside(reading.settings):
        table = _table(reading.settings, alias)
        name = posixpath.basename(str(_part(table, "NAME"))) or "db.sqlite3"
        path = f"{STATE}/{name}"
        variables = (*table.variables, *reading.settings.get("DATABASES").variables)
        solved = reading.solve(variables, (f"sqlite:///{path}", path), functools.partial(_lies_at, alias, path))
        if not solved and not reading.share(str(_part(table, "NAME")), name):
            line = f'"NAME": os.path.join(os.environ.get("STATE_DIRECTORY", BASE_DIR), "{name}")'
            reading.doubt("the SQLite database lies in the code, which is read-only on a host", line)


def _inside(settings: Settings) -> list[str]:
    content = settings.get("DATABASES").content
    return [alias for alias in (content if isinstance(content, dict) else ()) if _is_inside(_table(settings, alias))]


def _lies_at(alias: str, path: str, settings: Settings) -> bool:
    table = _table(settings, alias)
    return _part(table, "NAME") == path and str(_part(table, "ENGINE")).endswith("sqlite3")


def _is_inside(table: Value) -> bool:
    name = _part(table, "NAME")
    sqlite = str(_part(table, "ENGINE")).endswith(("sqlite3", "spatialite"))
    return sqlite and isinstance(name, str) and name != ":memory:" and not _outside_code(name)


def _table(settings: Settings, alias: str) -> Value:
    content = settings.get("DATABASES").content
    found = content.get(alias) if isinstance(content, dict) else None
    return found if isinstance(found, Value) else Value()


def _part(table: Value, name: str) -> Any:
    part = table.content.get(name) if isinstance(table.content, dict) else None
    return part.content if isinstance(part, Value) else UNKNOWN


def _outside_code(path: str) -> bool:
    return path.startswith("/") and not path.startswith(f"{CODE}/") and path != CODE


def secret(reading: Reading) -> str:
    """The variable of SECRET_KEY; empty when the code alone decides it."""
    key = reading.settings.get(_KEY)
    if key.variables:
        return next((name for name in key.variables if "SECRET" in name or "KEY" in name), key.variables[0])
    if isinstance(key.content, str) and key.content.startswith(INSECURE):
        line = 'SECRET_KEY = os.environ["SECRET_KEY"]'
        reading.doubt("SECRET_KEY is in the code: whoever can read that can forge logins", line)
    return ""


def migrates(settings: Settings) -> bool:
    """Whether there is a database, as far as is known."""
    databases = settings.get("DATABASES")
    return any(
        one.variables or one.partial or bool(one.content) for one in databases.alternatives if one.known
    ) or bool(not databases.known and (databases.variables or "DATABASES" in settings.names))


def static(reading: Reading) -> str | None:
    """STATIC_ROOT relative to the project, empty when it is elsewhere; None when nothing can be collected."""
    settings = reading.settings
    apps = settings.get("INSTALLED_APPS")
    uses = "django.contrib.staticfiles" in texts(apps) or not apps.known or apps.partial
    root = settings.get("STATIC_ROOT")
    if not uses:
        return None
    if root.content is UNKNOWN and not root.variables and "STATIC_ROOT" not in settings.names:
        reading.doubt("STATIC_ROOT is not set: no style sheet is served", 'STATIC_ROOT = BASE_DIR / "staticfiles"')
        return None
    if not isinstance(root.content, str) or not root.content:
        return "" if root.variables or not root.known else None
    if not _outside_code(root.content):
        inside = in_project(root.content, reading.directory)
        return "" if inside == "." else inside  # nobody is shown all of the code
    wanted = lambda found: found.get("STATIC_ROOT").content == "staticfiles"  # noqa: E731
    if reading.solve(root.variables, ["staticfiles"], wanted):
        return in_project("staticfiles", reading.directory)
    what = f"STATIC_ROOT is {_shown(root.content)}, where a build may not write"
    reading.doubt(what, 'STATIC_ROOT = BASE_DIR / "staticfiles"')
    return None


def _shown(path: str) -> str:
    return path.replace(STATE, "below STATE_DIRECTORY")


def media(reading: Reading) -> str | None:
    """MEDIA_ROOT relative to the directory that the app may write; None when it is elsewhere. One in the code is kept
    outside it."""
    root = reading.settings.get("MEDIA_ROOT")
    if not isinstance(root.content, str) or not root.content:
        return None
    if root.content.startswith(f"{STATE}/"):
        return posixpath.normpath(root.content).removeprefix(f"{STATE}/")
    if _outside_code(root.content):
        return None
    path = f"{STATE}/media"
    if reading.solve(root.variables, [path], lambda found: found.get("MEDIA_ROOT").content == path):
        return "media"
    served = reading.settings.get("STATIC_ROOT").content
    inside, below = (in_project(one, reading.directory) for one in (root.content, str(served)))
    within = isinstance(served, str) and f"{inside}/".startswith(f"{below}/")
    if not within and reading.share(root.content, "media", directory=True):
        return "media"
    line = 'MEDIA_ROOT = os.path.join(os.environ.get("STATE_DIRECTORY", BASE_DIR), "media")'
    reading.doubt("MEDIA_ROOT lies in the code, which is read-only on a host: uploads answer 500", line)
    return None


def texts(value: Value) -> list[str]:
    """The strings of a list, as far as they are known."""
    content = plain(value)
    return [one for one in (content if isinstance(content, list) else []) if isinstance(one, str)]
