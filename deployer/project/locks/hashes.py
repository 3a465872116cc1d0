"""Requirements with hashes: whether an installer is to refuse what has none, and which lines have none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployer.project.locks import requirements
from deployer.project.shipped import Shipped
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["Hashes", "hashes_of"]

_HASH = pattern(r"(?:\A|\s)--hash[=\s]")
_REQUIRE = "--require-hashes"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """``required``: nothing may be installed whose hash the file does not have. ``without`` are the lines of a file
    with hashes that have none, each as ``file:line: text``."""

    required: bool = False
    without: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """What is said of those lines; empty where there are none."""
        if not self.without or self.required:
            return ""
        more = f"; and {len(self.without) - _SHOWN} more" if len(self.without) > _SHOWN else ""
        return (
            f"some requirements have hashes, and these have none, so that what is installed for them is not checked: "
            f"{'; '.join(self.without[:_SHOWN])}{more}; uv pip compile --generate-hashes writes them for all"
        )


def hashes_of(shipped: Shipped, path: str) -> Hashes:
    """Those of a requirements file and all that it includes. As pip has it: where one line has a hash, all need one. uv
    would install what a file does not name unchecked, and passes over ``--require-hashes`` in a file.

    What is in the code, and a commit of git, has no hash: beside it none is required. Raises ConfigError for an
    included file that does not ship.
    """
    lines = list(requirements.lines(shipped, path))
    if any(line.text.startswith(_REQUIRE) for line in lines):
        return Hashes(required=True)
    wanted = [line for line in lines if not line.text.startswith("-") and not line.constraint]
    known = {_name(line, shipped) for line in lines if _HASH.search(line.text)} - {""}
    if not known and not any(_HASH.search(line.text) for line in wanted):
        return Hashes()
    bare = [line for line in wanted if not _HASH.search(line.text) and _name(line, shipped) not in known]
    own = [line for line in lines if _is_source(line, shipped)]
    without = tuple(f"{line.where}: {requirements.shown(line.text)}" for line in _except(bare, own))
    return Hashes(required=not without and not own, without=without)


def _name(line: requirements.Line, shipped: Shipped) -> str:
    return "" if line.text.startswith("-") else requirements.parse(line.text, shipped).name


def _is_source(line: requirements.Line, shipped: Shipped) -> bool:
    """Whether a line is for something that is built from source: of the code, or of a repository."""
    if line.text.startswith("-"):
        return line.text.startswith(("-e", "--editable"))
    text = line.text
    return bool(requirements.parse(text, shipped).place) or requirements.is_repository(text)


def _except(lines: Iterable[requirements.Line], others: Sequence[requirements.Line]) -> list[requirements.Line]:
    return [line for line in lines if line not in others]
