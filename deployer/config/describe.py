"""The reference page of ``deploy.toml``, from the schema (``python -m deployer.config.describe FILE``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from deployer.config.declare import Key, keys_of
from deployer.config.schema import Config

INTRODUCTION = """\
# deploy.toml

This page is made from the declaration that checks the file (`python -m deployer.config.describe FILE`).

The smallest `deploy.toml` is one line: `app = "shop"`. A key that does not exist here is refused, with the
nearest one that does. All environments are checked each time the file is read.
"""
ENVIRONMENTS = """\
## [environments.NAME]

Any key above, for one environment. Tables are merged with those above; every other value replaces the one
above. One of `wsgi`, `asgi` and `command` replaces the other two, and `server`. `hosts` is replaced as a whole,
whichever form it has: an environment with `hosts` of its own has these and no others, with no settings from above.

```toml
[environments.staging]
hosts = ["deploy@staging.example.com"]

[environments.staging.web]
workers = 1
```
"""


def markdown() -> str:
    """The whole page."""
    sections = [INTRODUCTION, *section((), "The keys at the top of the file.", Config), ENVIRONMENTS]
    return "\n".join(sections)


def section(path: tuple[str, ...], description: str, table: type[Struct]) -> Iterator[str]:
    """A table's section, then one for each table in it."""
    keys = keys_of(table).values()
    title = f"[{'.'.join(path)}]" if path else "Top level"
    rows = [row(key) for key in keys if key.table is None]
    head = ["| key | default | what it is |", "| --- | --- | --- |"]
    yield "\n".join([f"## {title}", "", " ".join(description.split()), "", *head, *rows, ""])
    for key in keys:
        for name, below in (((), key.table), ((), key.beside), (("NAME",), key.each)):
            if below is not None:
                yield from section((*path, key.name, *name), below.__doc__ or "", below)


def row(key: Key) -> str:
    """A key's line in the table."""
    default = "**required**" if key.required else written(key.default)
    what = f"{key.description} Expects {key.expects}.".replace("|", "\\|")
    return f"| `{key.name}` | {default} | {what} |"


def written(value: Any) -> str:
    """A default as TOML writes it."""
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{json.dumps(value)}`"


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(markdown(), encoding="utf-8")
    else:
        sys.stdout.write(markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
