"""A database's URL, as django-environ, environs and dj-database-url read it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from deployer.project.django.evaluation.values import UNKNOWN, Value

__all__ = ["of_url"]

_ENGINES = {
    "sqlite": "sqlite3", "sqlite3": "sqlite3", "spatialite": "spatialite",
    "postgres": "postgresql", "postgresql": "postgresql", "psql": "postgresql", "pgsql": "postgresql",
    "timescale": "postgresql", "postgis": "postgis", "mysql": "mysql", "mysql2": "mysql", "mysqlgis": "mysql",
    "oracle": "oracle", "mssql": "mssql",
}  # fmt: skip


def of_url(url: Value) -> Value:
    """The table that a library makes of the URL."""
    if not isinstance(url.content, str):
        return Value(variables=url.variables)
    if not url.content:
        return Value(content={}, variables=url.variables)
    try:
        parts = urlsplit(url.content)
    except ValueError:
        return Value(variables=url.variables)
    engine = _ENGINES.get(parts.scheme, parts.scheme or "")
    name = unquote(parts.path.removeprefix("/"))
    if engine in ("sqlite3", "spatialite"):
        name = unquote(parts.path.removeprefix("/")) or ":memory:"
    table = {"ENGINE": f"django.db.backends.{engine}", "NAME": name, "HOST": parts.hostname or ""}
    content = {key: Value(content=text or ("" if key == "HOST" else UNKNOWN)) for key, text in table.items()}
    return Value(content=content, variables=url.variables)
