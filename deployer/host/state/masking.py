"""Replaces secrets in what an app or a build prints, before a line becomes an event.

Only variables that the laptop named as secret are considered; :mod:`deployer.host.state.secrecy` decides which of their
values are. All masking happens here: no secret of a host ever reaches the laptop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from deployer.host.errors import Damaged
from deployer.host.state import secrecy
from deployer.host.state.paths import AppPaths
from deployer.host.system import files
from deployer.wire.protocol import RELEASE

MASK = "****"


def secret_values(environment: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """The texts to replace, the longest first: otherwise the rest of a longer one would remain."""
    return _longest_first({part for name in names for part in secrecy.parts(name, environment.get(name, ""))})


def _longest_first(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def masked(emit: Callable[..., None], values: tuple[str, ...]) -> Callable[..., None]:
    """``emit`` with every secret replaced in all text that it is given."""
    if not values:
        return emit

    def hear(name: str, **fields: Any) -> None:
        emit(name, **{key: clean(value, values) for key, value in fields.items()})

    return hear


class Secrets:
    """The secret values of all releases on the host: what runs and what is in the journal may be of any of them.

    They are read again when a release is added.
    """

    def __init__(self, paths: AppPaths) -> None:
        self._paths = paths
        self._read: list[int] = []
        self._values: tuple[str, ...] = ()

    def values(self) -> tuple[str, ...]:
        """All secret values, the longest first. A release's own are there before anything of it runs."""
        names = [path.parent.name for path in self._paths.releases.glob("v[1-9]*/secret.json")]
        found = sorted(int(name[1:]) for name in names if RELEASE.fullmatch(name))
        if found != self._read:
            values: set[str] = set()
            for number in found:
                with contextlib.suppress(Damaged):
                    values.update(stored_values(self._paths, number))
            self._read, self._values = found, _longest_first(values)
        return self._values


def clean(value: Any, values: tuple[str, ...]) -> Any:
    """``value`` with every secret in its text replaced."""
    if isinstance(value, str):
        for secret in values:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {key: clean(item, values) for key, item in value.items()}
    return [clean(item, values) for item in value] if isinstance(value, (list, tuple)) else value


def stored_names(paths: AppPaths, number: int) -> tuple[str, ...]:
    """The names of a release's secret variables. Raises Damaged."""
    path = paths.release(number) / "secret.json"
    names = files.read_json(path) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Damaged(path)
    return tuple(names)


def stored_values(paths: AppPaths, number: int) -> tuple[str, ...]:
    """The secret values of a release. Raises Damaged."""
    environment = files.read_object(paths.release(number) / "env.json") or {}
    return secret_values(environment, stored_names(paths, number))


class StreamMask:
    """Replaces secrets in bytes that come in pieces, wherever the pieces end. ``count`` is how many it has replaced.

    The end of a piece that may be the beginning of a secret is kept back, until more comes or :meth:`rest` is called.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = [value.encode("utf-8", "surrogateescape") for value in values]
        self._kept = b""
        self.count = 0

    def feed(self, data: bytes) -> bytes:
        """What may be shown of ``data`` and of what was kept back before."""
        data, self._kept = self._kept + data, b""
        if not self._values:
            return data
        end = self._end(data)
        self._kept = data[end:]
        return self._replaced(data[:end])

    def rest(self) -> bytes:
        """What was kept back: nothing more comes, or not for a while."""
        data, self._kept = self._kept, b""
        return self._replaced(data)

    def _replaced(self, data: bytes) -> bytes:
        for value in self._values:
            found = data.count(value)
            if found:
                self.count += found
                data = data.replace(value, MASK.encode())
        return data

    def _end(self, data: bytes) -> int:
        """Where that begins which may be the beginning of a secret; no whole one lies across it."""
        start = 0
        while True:
            end = min((_beginning(value, data, start) for value in self._values), default=len(data))
            across = max((_across(value, data, start, end) for value in self._values), default=0)
            if not across:
                return end
            start = across


_ALIKE = 8
"""Bytes of a secret that are searched for before it is compared."""


def _beginning(value: bytes, data: bytes, start: int) -> int:
    """Where the end of ``data``, from ``start`` on, first is a beginning of ``value``, and not all of it."""
    first = max(start, len(data) - len(value) + 1)
    at = data.find(value[:_ALIKE], first)
    while at >= 0:
        if value.startswith(data[at:]):
            return at
        at = data.find(value[:_ALIKE], at + 1)
    for at in range(max(first, len(data) - _ALIKE + 1), len(data)):
        if value.startswith(data[at:]):
            return at
    return len(data)


def _across(value: bytes, data: bytes, start: int, end: int) -> int:
    """The end of the first ``value`` that begins before ``end`` and goes beyond it; 0 when none does."""
    at = data.find(value, max(start, end - len(value) + 1), end + len(value) - 1)
    return at + len(value) if 0 <= at < end else 0
