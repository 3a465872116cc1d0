"""Copies this machine's Python package index settings to a host: pip's here, pip's and uv's there."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployer.sandbox.contents.certificates import BUNDLE_VARIABLES, HOST_BUNDLE
from deployer.sandbox.contents.files import File

_LISTS = ("extra-index-url", "find-links", "trusted-host")
_PLAIN = ("index-url", "proxy", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Where packages come from. Lists keep their order; `own_certificates` says that this machine was
    told which authorities to trust, so that a host must be told too."""

    index_url: str = ""
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_host: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    own_certificates: bool = False


def parse_pip_config(listing: str) -> dict[str, str]:
    """The options in the output of `pip config list`, by bare name; the environment's win over files'."""
    found: dict[str, str] = {}
    for wanted in ("global", "install", ":env:"):
        for line in listing.splitlines():
            key, _, quoted = line.partition("=")
            section, _, option = key.rpartition(".")
            if section == wanted:
                found[option.removeprefix("default-")] = str(ast.literal_eval(quoted))
    return found


def index_from(options: Mapping[str, str], environment: Mapping[str, str]) -> Index:
    """What a host can use of `options`: local files and directories do not exist there and are left out."""
    lists = {name: tuple(filter(_is_remote, options.get(name, "").split())) for name in _LISTS}
    index_url = options.get("index-url", "")
    return Index(
        index_url=index_url if _is_remote(index_url) else "",
        extra_index_url=lists["extra-index-url"],
        find_links=lists["find-links"],
        trusted_host=tuple(options.get("trusted-host", "").split()),
        options={name: options[name] for name in _PLAIN[1:] if options.get(name)},
        own_certificates="cert" in options or any(environment.get(name) for name in BUNDLE_VARIABLES),
    )


def discover(environment: Mapping[str, str]) -> Index:
    """pip's settings on this machine, from its files and `environment`; empty when there is no pip."""
    listing = _pip_config_list(tuple(sorted(environment.items())))
    from_environment = {
        name: environment[variable]
        for name in (*_LISTS, *_PLAIN)
        if environment.get(variable := "PIP_" + name.upper().replace("-", "_"))
    }
    return index_from({**parse_pip_config(listing), **from_environment}, environment)


@functools.lru_cache(maxsize=1)
def _pip_config_list(environment: tuple[tuple[str, str], ...]) -> str:
    """What ``pip config list`` prints: asked once, for pip takes a third of the time in which a host boots."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    try:
        return subprocess.run(
            command,
            env={**os.environ, **dict(environment)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def index_files(index: Index) -> tuple[File, ...]:
    """The files that tell a host's pip, uv and login sessions; none when there is nothing to tell."""
    files = [("/etc/pip.conf", pip_conf(index)), ("/etc/uv/uv.toml", uv_toml(index))]
    if index.own_certificates:
        files += [
            ("/etc/environment", f"SSL_CERT_FILE={HOST_BUNDLE}\n"),
            # Builds run in units, which do not read /etc/environment.
            (
                "/etc/systemd/system.conf.d/certificates.conf",
                f"[Manager]\nDefaultEnvironment=SSL_CERT_FILE={HOST_BUNDLE}\n",
            ),
        ]
    return tuple(File(path=path, content=text.encode()) for path, text in files if text)


def pip_conf(index: Index) -> str:
    """The text of pip.conf; empty when the defaults will do."""
    settings: dict[str, str] = {}
    if index.index_url:
        settings["index-url"] = index.index_url
    for name, values in (
        ("extra-index-url", index.extra_index_url),
        ("find-links", index.find_links),
        ("trusted-host", index.trusted_host),
    ):
        if values:
            settings[name] = "".join(f"\n    {value}" for value in values)
    settings.update(index.options)
    if index.own_certificates:
        settings["cert"] = HOST_BUNDLE
    lines = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def uv_toml(index: Index) -> str:
    """The text of uv.toml; empty when the index is the default one."""
    tables = [f'[[index]]\nurl = "{url}"\n' for url in index.extra_index_url]
    if index.index_url:
        tables.append(f'[[index]]\nurl = "{index.index_url}"\ndefault = true\n')
    head = ""
    for key, values in (("find-links", index.find_links), ("allow-insecure-host", index.trusted_host)):
        if values:
            head += f"{key} = [{', '.join(_toml(value) for value in values)}]\n"
    return head + "".join(tables)


def _toml(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_remote(location: str) -> bool:
    return location.startswith(("http://", "https://"))
