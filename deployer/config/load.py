"""``deploy.toml`` → :class:`Config`. All problems of the file are found at once and told in plain words."""

from __future__ import annotations

import copy
import importlib
import math
import sys
from pathlib import Path
from typing import Any

from deployer.config import problems
from deployer.config.problems import Problem
from deployer.config.schema import Config
from deployer.config.where import key_lines, line_of
from deployer.errors import ConfigError
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass

tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Raw = dict[str, Any]
FILE = "deploy.toml"
"""What ``deployer init`` writes."""
CALLABLES = ("wsgi", "asgi", "command")


def load(path: Path, *, environment: str | None = None) -> Config:
    """The configuration of one environment (None: the file without any ``[environments.…]``).

    All environments are checked, whichever is asked for. Raises ConfigError naming the file, the line, the
    key and what is wrong.
    """
    text = read(path)
    config, found = convert(parse(text, path))
    if found:
        raise error(path, text, found)
    return choose(config, environment, path)


def read(path: Path) -> str:
    """The file's text. Raises ConfigError when there is none, or it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        where = path.absolute().parent
        usual = do("change to the project's directory") + run("deployer init", "in a project that has none yet")
        then = usual if path.name == FILE else do("correct what --config names")
        raise ConfigError(message=f"{path.name} not found in {where}", next=then) from None
    except UnicodeDecodeError as wrong:
        raise ConfigError(message=f"{path}: not UTF-8 text (byte {wrong.start})") from None
    except OSError as wrong:
        raise ConfigError(message=f"{path}: cannot be read: {wrong.strerror}") from None


def parse(text: str, path: Path) -> Raw:
    """The file's tables, as written. Raises ConfigError with the line for what is not TOML."""
    try:
        raw: Raw = tomllib.loads(text, parse_float=_number)
        return raw
    except tomllib.TOMLDecodeError as wrong:
        what, _, place = str(wrong).partition(" (at ")
        if place.startswith("line "):
            line, _, column = place.removeprefix("line ").rstrip(")").partition(", ")
        else:
            line, column = str(len(text.splitlines())), "at the end of the file"
        raise ConfigError(message=f"{path}:{line}: this is not TOML: {what} ({column})") from None


@dataclass(frozen=True)
class _NotFinite:
    """``nan`` and ``inf``, which TOML has: no key accepts them, and neither does JSON."""

    text: str

    def __str__(self) -> str:
        return self.text


def _number(text: str) -> float | _NotFinite:
    number = float(text)
    return number if math.isfinite(number) else _NotFinite(text)


def convert(raw: Raw) -> tuple[dict[str | None, Config], list[Problem]]:
    """The configuration of each environment (None: of none), and all that is wrong with the file."""
    raw, environments, found = split(raw)
    base, wrong = normalise(raw), list[Problem]()
    config = problems.understood(base, Config)
    if config is None:
        base, bad = problems.unknown_keys(base, Config)
        config, base, wrong = problems.convert(base, Config)
        found += bad + wrong
    configs: dict[str | None, Config] = {} if config is None else {None: config}
    above = {problem.path for problem in wrong}
    for name, override in environments.items():
        over, bad = problems.unknown_keys(normalise(override), Config)
        config, _, wrong = problems.convert(merge(base, over), Config)
        wrong = [one for one in wrong if one.path not in above or problems.at(over, one.path) is not None]
        found += [problem.below("environments", name) for problem in bad + wrong]
        if config is not None:
            configs[name] = config
    return configs, found or misplaced(configs)


def misplaced(configs: dict[str | None, Config]) -> list[Problem]:
    """What is wrong with who runs what. Looked for when all else is right, or it would be told of what is left out.

    An environment's own: it has those of the file from there.
    """
    found = {
        name: [Problem(why.path, why.message) for why in config.roles.mistakes()] for name, config in configs.items()
    }
    base = found.pop(None)
    base = base or [Problem(why.path, why.message) for why in configs[None].roles.idle()]
    own = [one.below("environments", str(name)) for name, all in found.items() for one in all if one not in base]
    return base + own


def split(raw: Raw) -> tuple[Raw, dict[str, Raw], list[Problem]]:
    """The file's own keys, its environments, and the problems of what should be one and is not."""
    raw = copy.deepcopy(raw)
    environments = raw.pop("environments", {})
    if not isinstance(environments, dict):
        return raw, {}, [Problem(("environments",), "must be tables such as [environments.staging]")]
    wrong = [name for name, table in environments.items() if not isinstance(table, dict)]
    found = [Problem(("environments", name), "must be a table of the keys it changes") for name in wrong]
    return raw, {name: table for name, table in environments.items() if name not in wrong}, found


def normalise(raw: Raw) -> Raw:
    """The same with every short form written in full: ``proxy = "nginx"``, one string instead of a list."""
    raw = copy.deepcopy(raw)
    fleet = raw.get("fleet")
    if isinstance(fleet, dict) and type(fleet.get("batch")) is int:
        fleet["batch"] = str(fleet["batch"])
    env = raw.get("env")
    if isinstance(env, dict) and isinstance(env.get("required"), list) and "env_required" not in raw:
        raw["env_required"] = env.pop("required")
    if isinstance(raw.get("proxy"), str):
        raw["proxy"] = {"kind": raw["proxy"]}
    if isinstance(raw.get("proxy"), dict) and isinstance(raw["proxy"].get("tls"), str):
        raw["proxy"]["tls"] = {"mode": raw["proxy"]["tls"]}
    if isinstance(raw.get("directory"), str):
        raw["directory"] = raw["directory"].removesuffix("/")
    if isinstance(raw.get("dependencies"), str):
        raw["dependencies"] = {"file": raw["dependencies"]}
    listed(raw, ("dependencies",), "groups")
    listed(raw, ("dependencies",), "extras")
    listed(raw, ("web", "health"), "status")
    listed(raw, ("proxy",), "domains")
    listed(raw, ("proxy",), "listen")
    listed(raw, ("proxy",), "listen_tls")
    listed(raw, ("proxy",), "trusted")
    return raw


def listed(raw: Raw, tables: tuple[str, ...], key: str) -> None:
    """Make the value of ``key`` a list of strings where it is one string, or holds whole numbers."""
    table: Any = raw
    for name in tables:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict) or key not in table:
        return
    value = table[key]
    items = value if isinstance(value, list) else [value]
    table[key] = [str(item) if type(item) is int else item for item in items]


def merge(base: Raw, over: Raw) -> Raw:
    """``base`` with the keys of ``over``: tables are merged, all else is replaced.

    One of wsgi, asgi and command replaces the other two, and the server that ran them. ``hosts`` are replaced as a
    whole, in whichever form: no host of one environment may be in another because both are tables.
    """
    merged = copy.deepcopy(base)
    if "hosts" in over:
        merged.pop("hosts", None)
    if any(key in over for key in CALLABLES):
        for key in (*CALLABLES, "server"):
            merged.pop(key, None)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def choose(configs: dict[str | None, Config], environment: str | None, path: Path) -> Config:
    """The environment's configuration. Raises ConfigError naming those that exist."""
    if environment in configs:
        return configs[environment]
    names = sorted(name for name in configs if name)
    hint = problems.suggestion(str(environment), names, "environments") if names else "it has no [environments.NAME]"
    raise ConfigError(message=f"{path}: there is no environment {environment!r}; {hint}")


def error(path: Path, text: str, found: list[Problem]) -> ConfigError:
    """One error that tells all problems, each with its line."""
    placed = sorted((line_of(text, problem.path) or 1, str(problem)) for problem in found)
    lines = dict.fromkeys(f"{path}:{line}: {told}" for line, told in placed)
    return ConfigError(message="\n".join(lines), state="nothing was touched")


def refusal(path: Path, environment: str | None, key: tuple[str, ...], message: str) -> ConfigError:
    """The error for a value that proved wrong after the file was read, where that environment has it from."""
    text = read(path)
    problem = Problem(key, message)
    if environment is not None and ("environments", environment, key[0]) in key_lines(text):
        problem = problem.below("environments", environment)
    return error(path, text, [problem])
