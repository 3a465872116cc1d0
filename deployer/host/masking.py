"""Secrets in what an app or a build prints: replaced before a line becomes an event.

Only values that the laptop named as secret are looked for. A value shorter than SHORTEST characters is left alone: to
replace every ``on`` or ``5432`` would hide nothing and spoil every line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from deployer.host import files
from deployer.host.errors import Damaged
from deployer.host.paths import AppPaths

MASK = "****"
SHORTEST = 6


def secret_values(environment: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """What to look for, the longest first; of a value with several lines each line too, as logs are made of lines."""
    found = {part for name in names for part in (environment.get(name, ""), *environment.get(name, "").splitlines())}
    return tuple(sorted((part for part in found if len(part.strip()) >= SHORTEST), key=len, reverse=True))


def masked(emit: Callable[..., None], values: tuple[str, ...]) -> Callable[..., None]:
    """``emit``, with every secret value replaced in all text that passes."""
    if not values:
        return emit

    def hear(name: str, **fields: Any) -> None:
        emit(name, **{key: clean(value, values) for key, value in fields.items()})

    return hear


class Secrets:
    """The secret values of all releases that are on the host: what runs, and what is in the journal, is of any of them.

    Asked again and again, they are read anew when a release has come.
    """

    def __init__(self, paths: AppPaths) -> None:
        self._paths = paths
        self._read: list[int] = []
        self._values: tuple[str, ...] = ()

    def values(self) -> tuple[str, ...]:
        """The longest first. A release's own are there before anything of it runs."""
        found = sorted(int(path.parent.name[1:]) for path in self._paths.releases.glob("v[1-9]*/secret.json"))
        if found != self._read:
            values: set[str] = set()
            for number in found:
                with contextlib.suppress(Damaged):
                    values.update(stored_values(self._paths, number))
            self._read, self._values = found, tuple(sorted(values, key=len, reverse=True))
        return self._values


def clean(value: Any, values: tuple[str, ...]) -> Any:
    """``value`` with every secret in its text replaced."""
    if isinstance(value, str):
        for secret in values:
            value = value.replace(secret, MASK)
        return value
    return [clean(item, values) for item in value] if isinstance(value, (list, tuple)) else value


def stored_names(paths: AppPaths, number: int) -> tuple[str, ...]:
    """The names of a release's secret variables."""
    return tuple(files.read_json(paths.release(number) / "secret.json") or ())


def stored_values(paths: AppPaths, number: int) -> tuple[str, ...]:
    """The secret values of a release, to be looked for."""
    environment = files.read_json(paths.release(number) / "env.json") or {}
    return secret_values(environment, stored_names(paths, number))
