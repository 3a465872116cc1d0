"""Paths of the code that lie in the app's state directory instead, so that they outlive releases: their rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.reader import Reader

PLAIN_PATH = pattern(r"(?!.*(?:^|/)\.\.?(?:/|\Z))[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*\Z")
"""A relative path without ``.`` and ``..``."""
PLAIN_LENGTH = 1024
MOST_SHARED = 64
SEEDS = ".deployer-shared"
"""The directory of a code tree that keeps what was committed at such paths."""
_NAME_LENGTH = 255


@dataclass(frozen=True)
class Shared:
    """``path`` of the code is a link to ``target``, relative to the app's state directory: a directory, or a file."""

    path: str
    target: str
    directory: bool

    @property
    def key(self) -> str:
        """The path as deploy.toml has it: that of a directory ends with a slash."""
        return f"{self.path}/" if self.directory else self.path

    def holds(self, path: str) -> bool:
        """Whether a path of the code is this one, or lies in it."""
        return path == self.path or path.startswith(f"{self.path}/")

    @classmethod
    def parse(cls, value: Any) -> Shared:
        read = Reader(value, "shared")
        shared = cls(
            path=read.text("path", PLAIN_PATH, PLAIN_LENGTH),
            target=read.text("target", PLAIN_PATH, PLAIN_LENGTH),
            directory=read.boolean("directory"),
        )
        read.done()
        return shared


def shared_of(table: Mapping[str, str]) -> tuple[Shared, ...]:
    """Paths of the code with their places, as deploy.toml has them: that of a directory ends with a slash."""
    pairs = sorted(table.items())
    return tuple(Shared(path.rstrip("/"), place.rstrip("/"), directory=path.endswith("/")) for path, place in pairs)


def parse_shared(value: Any) -> tuple[Shared, ...]:
    """The list in a request. Raises ValueError for what no laptop sends."""
    if not isinstance(value, list) or len(value) > MOST_SHARED:
        raise ValueError(f"spec.shared: must be a list of at most {MOST_SHARED}")
    shared = tuple(Shared.parse(one) for one in value)
    problem = shared_problem(shared)
    if problem:
        raise ValueError(f"spec.shared: {problem[0]} {problem[1]}")
    return shared


def shared_problem(shared: Sequence[Shared]) -> Optional[tuple[str, str]]:  # noqa: UP045  (Python 3.9)
    """The first path that cannot be shared, as written, and what is wrong with it; None when all can."""
    for one in shared:
        if any(len(name) > _NAME_LENGTH for name in (*one.path.split("/"), *one.target.split("/"))):
            return one.key, f"has a name of more than {_NAME_LENGTH} characters"
        if one.path.split("/")[0] in (SEEDS, ".git"):
            return one.key, "is a name that has another use"
    for index, one in enumerate(shared):
        for other in (*shared[:index], *shared[index + 1 :]):
            if one.holds(other.path):
                return other.key, f"lies in {one.key}, which is shared, too"
            if f"{other.target}/".startswith(f"{one.target}/"):
                return other.key, f"would have its place, {other.target}, in that of {one.key}"
    return None
