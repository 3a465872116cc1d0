"""``[dependencies]``: which file pins them, and which groups and extras of it are installed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from deployer.config import check
from deployer.config.declare import key, text
from deployer.wire.release.source import MOST_PARTS, PART, PART_LENGTH

Part = Annotated[str, text(PART.pattern, PART_LENGTH)]


# fmt: off
class DependenciesConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is installed on the hosts. Left out: all that the lock file installs without being asked for more."""

    file: Annotated[str | None, key(
        "The file that pins the dependencies, relative to the project. Left out: the first of uv.lock, pylock.toml and "
        "requirements.txt in `directory`, else in a directory above it, up to the project's.",
        'the path of a lock file such as "requirements/production.txt"')] = None
    groups: Annotated[tuple[Part, ...], key(
        "Dependency groups that are installed as well, of uv.lock or pylock.toml. `dev` never is unless it is named.",
        'a list of names such as ["prod"]', max_length=MOST_PARTS)] = ()
    extras: Annotated[tuple[Part, ...], key(
        "Extras of the project that are installed as well, of uv.lock or pylock.toml.",
        'a list of names such as ["postgres"]', max_length=MOST_PARTS)] = ()

    def __post_init__(self) -> None:
        if self.file is not None:
            check.relative("file", self.file)
# fmt: on
