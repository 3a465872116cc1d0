"""The admin's settings for pip on this host (``/etc/pip.conf``), translated for uv, which builds use."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from deployer.wire.lazyre import pattern

FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf")
"""pip's files for the whole host; the later one wins."""
_VARIABLES = {
    "cert": ("SSL_CERT_FILE",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "trusted-host": ("UV_INSECURE_HOST",),
}
_INDEXES = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "find-links": ("UV_FIND_LINKS",),
}
_OWN_INDEX = pattern(
    rb"^\s*(?:-i\b|--index-url\b|--extra-index-url\b|--no-index\b)"  # a requirements file
    rb"|^\s*\[\[?(?:tool\.uv\.)?index\]|^\s*(?:default-)?index(?:-url)?\s*=|^\s*extra-index-url\s*=",  # uv's settings
    re.MULTILINE,
)


def variables(*, indexes: bool) -> dict[str, str]:
    """This host's pip settings as variables for uv. A variable that ``/etc/environment`` sets is left alone."""
    options: dict[str, str] = {}
    for path in FILES:
        options.update(parse(_public(path)))
    taken = set(re.findall(r"^\s*(?:export\s+)?(\w+)=", _public("/etc/environment"), re.MULTILINE))
    return {name: value for name, value in translated(options, indexes=indexes).items() if name not in taken}


def _public(path: str) -> str:
    """The text of a file that everybody may read; empty for any other: what only root can read has a password."""
    try:
        return Path(path).read_bytes().decode("utf-8", "replace") if os.stat(path).st_mode & stat.S_IROTH else ""
    except OSError:
        return ""


def parse(text: str) -> dict[str, str]:
    """The options in a file by name; those for ``pip install`` win. Empty when it cannot be read."""
    import configparser

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {
        name.replace("_", "-"): value
        for section in ("global", "install")
        if parser.has_section(section)
        for name, value in parser.items(section)
    }


def names_index(contents: Iterable[bytes]) -> bool:
    """Whether one of the project's files (requirements, pyproject.toml, uv.toml) names a package index."""
    return any(_OWN_INDEX.search(content) for content in contents)


def translated(options: Mapping[str, str], *, indexes: bool) -> dict[str, str]:
    """pip's options as variables for uv. Without ``indexes`` the project's own indexes are used."""
    wanted = {**_VARIABLES, **(_INDEXES if indexes else {})}
    found: dict[str, str] = {}
    for option, names in wanted.items():
        value = " ".join(options.get(option, "").split())
        if option == "timeout":  # uv takes whole seconds
            value = value.partition(".")[0] if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value) else ""
        if option == "find-links":
            value = ",".join(value.split())
        found.update(dict.fromkeys(names, value) if value else {})
    return found
